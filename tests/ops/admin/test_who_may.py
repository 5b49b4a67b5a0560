"""Nobody but platform administrators with the permission sees or does anything of operations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from crm.models import PLATFORM_ADMINISTRATOR_GROUP, User
from ops.admin.restore_wizard import STEPS
from ops.models import Backup, Run
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as, acting_as_admin
from ops.runs import Asker, ask
from tests.factories import make_business
from tests.ops.admin.restore_rows import make_drill, make_recovery, make_restore
from tests.ops.admin.rows import (
    Browser,
    browser_of,
    by_default_login,
    make_backup,
    platform_administrator,
    work,
)

pytestmark = pytest.mark.usefixtures("fresh_database")
BUTTONS = ("verify", "prove", "pin", "unpin", "copy_off_site", "download", "delete_it")


@pytest.fixture
def rows() -> tuple[Backup, Run]:
    with as_owner_by_default():
        backup = make_backup(timezone.now() - timedelta(hours=1))
        run = ask("verify", backup.name, by=Asker("ada", "test"), backup=backup)
    return backup, run


def restoring_pages() -> list[str]:
    """Restores, recoveries, drills, and every step of the wizard."""
    now = timezone.now()
    restore, recovery, drill = make_restore(now), make_recovery(), make_drill(now)
    return [
        *(reverse(f"admin:ops_{name}_changelist") for name in ("restore", "recovery", "drill")),
        reverse("admin:ops_restore_change", args=[restore.pk]),
        reverse("admin:ops_recovery_change", args=[recovery.pk]),
        reverse("admin:ops_drill_change", args=[drill.pk]),
        *(reverse("admin:ops_restore_wizard", args=[step]) for step in STEPS),
    ]


def restoring_actions(backup: Backup) -> list[str]:
    """What changes something, or leads there."""
    restore, recovery = make_restore(timezone.now()), make_recovery()
    applied = make_recovery(state="applied")
    query = f"?what=customer&source=backup:{backup.name}&keys=7&mode=all"
    everything = f"?what=everything&source=backup:{backup.name}"
    return [
        reverse("admin:ops_restore_begin"),
        reverse("admin:ops_restore_undo", args=[restore.pk]),
        reverse("admin:ops_recovery_apply", args=[recovery.pk]),
        reverse("admin:ops_recovery_undo", args=[applied.pk]),
        reverse("admin:ops_drill_drill_now"),
        reverse("admin:ops_restore_wizard", args=["preview"]) + query,
        reverse("admin:ops_restore_wizard", args=["confirm"]) + everything,
    ]


def pages(backup: Backup, run: Run) -> list[str]:
    return [
        reverse("admin:ops_backup_changelist"),
        reverse("admin:ops_backup_change", args=[backup.pk]),
        reverse("admin:ops_backup_manifest", args=[backup.pk]),
        reverse("admin:ops_run_changelist"),
        reverse("admin:ops_run_change", args=[run.pk]),
        reverse("admin:ops_run_status", args=[run.pk]),
    ]


def actions(backup: Backup, run: Run) -> list[str]:
    return [
        reverse("admin:ops_backup_take"),
        *(reverse(f"admin:ops_backup_{name}", args=[backup.pk]) for name in BUTTONS),
        reverse("admin:ops_run_cancel", args=[run.pk]),
    ]


def member() -> Browser:
    owner = make_business("Pipes")
    # Even a permission given by mistake opens nothing: the tables are not theirs.
    with acting_as_admin():
        owner.user_permissions.add(*Permission.objects.filter(content_type__app_label="ops"))
    return browser_of(owner)


def staff() -> Browser:
    with acting_as_admin():
        person = User.objects.create_user("staff@platform.example", "a long pass phrase")
        person.user_permissions.add(*Permission.objects.filter(content_type__app_label="ops"))
    return browser_of(person)


def administrator_without_the_permission() -> Browser:
    person = platform_administrator(superuser=False)
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        group.permissions.remove(*group.permissions.filter(content_type__app_label="ops"))
    return browser_of(person)


@pytest.mark.parametrize("who", [member, staff, administrator_without_the_permission])
def test_others_see_nothing_and_do_nothing(
    who: Callable[[], Browser], rows: tuple[Backup, Run]
) -> None:
    browser = who()
    for url in pages(*rows):
        assert browser.get(url).status_code == 403, url
    for url in actions(*rows):
        assert browser.get(url).status_code == 403, url
        assert browser.post(url, {"kind": "full", "label": ""}).status_code == 403, url
    for url in restoring_pages():
        assert browser.get(url).status_code == 403, url
    for url in restoring_actions(rows[0]):
        number = Run.objects.using("owner").count()
        assert browser.get(url).status_code == 403, url
        answer = browser.post(url, {"name": "srvc", "which": "latest", "at": ""})
        assert answer.status_code == 403, url
        assert Run.objects.using("owner").count() == number
    menu = browser.get("/admin/").content.decode()
    assert not any(f"ops/{name}" in menu for name in ("backup", "restore", "recovery", "drill"))
    with as_owner_by_default():
        assert Run.objects.filter(kind="verify", cancel_asked_at__isnull=True).count() == 1


def test_whoever_is_not_signed_in_is_sent_to_sign_in(rows: tuple[Backup, Run]) -> None:
    restoring = [*restoring_pages(), *restoring_actions(rows[0])]
    for url in [*pages(*rows), *actions(*rows), *restoring]:
        for answer in (Client().get(url), Client().post(url)):
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(
    "table",
    [
        *("ops_backup", "ops_backupcopy", "ops_walsegment", "ops_run"),
        *("ops_restore", "ops_restorepoint", "ops_recovery", "ops_recoveryrow", "ops_drill"),
    ],
)
def test_a_member_reads_none_of_it_by_sql(table: str, rows: tuple[Backup, Run]) -> None:
    owner = make_business("Pipes")
    with pytest.raises(Exception, match="permission denied") as caught, acting_as(owner):
        connection.cursor().execute(f"SELECT * FROM {table}")
    assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)


def test_an_administrator_changes_no_row_of_a_backup_by_sql(rows: tuple[Backup, Run]) -> None:
    for statement in (
        "UPDATE ops_backup SET state = 'proven'",
        "DELETE FROM ops_backup",
        "UPDATE ops_run SET status = 'done'",
        "DELETE FROM ops_run",
        "UPDATE ops_restore SET state = 'undone'",
        "DELETE FROM ops_recovery",
        "SELECT before FROM ops_recoveryrow",  # rows of every account
    ):
        with pytest.raises(Exception, match="permission denied"), acting_as_admin():
            connection.cursor().execute(statement)


def test_the_group_opens_every_page_and_button(rows: tuple[Backup, Run]) -> None:
    browser = browser_of(platform_administrator(superuser=False))
    for url in (pages(*rows)[0], pages(*rows)[1], *pages(*rows)[3:]):
        assert browser.get(url).status_code == 200, url
    page = browser.get(pages(*rows)[1])
    offered = [button["title"] for button in page.context["actions_detail"]]
    assert offered == ["Verify", "Prove", "Pin", "Download", "Delete"]
    assert [button["title"] for button in page.context["uses"]] == ["Restore…", "Recover…", "Drill"]
    for url in restoring_pages():
        assert browser.get(url).status_code in {200, 302}, url  # 302: a step before it is missing
    menu = browser.get("/admin/").content.decode()
    for name in ("backup", "restore", "drill", "run"):
        assert reverse(f"admin:ops_{name}_changelist") in menu


def test_each_right_opens_its_part_of_the_wizard(rows: tuple[Backup, Run]) -> None:
    person = platform_administrator(superuser=False)
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        group.permissions.remove(*group.permissions.filter(codename="run_restore"))
    browser = browser_of(person)
    what = reverse("admin:ops_restore_wizard", args=["what"])
    offered = [name for name, _ in browser.get(what).context["form"].fields["what"].choices]
    assert offered == ["tables", "account", "customer"]
    assert browser.get(what, {"what": "everything", "go": "1"}).status_code == 403
    step = reverse("admin:ops_restore_wizard", args=["from"])
    assert browser.get(step, {"what": "everything"}).status_code == 403
    assert browser.get(step, {"what": "tables"}).status_code == 200
    undo = reverse("admin:ops_restore_undo", args=[make_restore(timezone.now()).pk])
    assert browser.get(undo).status_code == 403


def test_asking_changes_nothing_and_other_sites_get_nowhere(rows: tuple[Backup, Run]) -> None:
    browser = browser_of(platform_administrator(), strict=True)
    for url in actions(*rows):
        answer = browser.get(url)
        assert answer.status_code in {200, 302}, url  # 302: not offered for this row
        assert browser.post(url, {"kind": "full"}).status_code == 403
    for url in restoring_actions(rows[0]):
        number = Run.objects.using("owner").count()
        assert browser.get(url).status_code in {200, 302}, url
        assert browser.post(url, {"name": "srvc", "which": "latest"}).status_code == 403, url
        assert Run.objects.using("owner").count() == number
    with as_owner_by_default():
        assert Run.objects.filter(kind="verify").count() == 1


def test_a_right_that_was_lost_while_waiting_is_lost(rows: tuple[Backup, Run]) -> None:
    backup, _ = rows
    person = platform_administrator(superuser=False)
    url = reverse("admin:ops_backup_pin", args=[backup.pk])
    browser_of(person).post(url, {"reason": "mine"})
    with by_default_login(), acting_as_admin():
        User.objects.filter(pk=person.pk).update(is_active=False)
    work()
    with as_owner_by_default():
        run = Run.objects.newest_first()[0]
        assert (run.status, run.message) == (
            "failed",
            "root@platform.example may not do this any more. Nothing was done.",
        )
        assert Backup.objects.get().pinned_at is None
