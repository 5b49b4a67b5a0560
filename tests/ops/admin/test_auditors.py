"""An auditor sees all of operations, no business's data, and changes nothing."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from crm.models import AUDITOR_GROUP, User
from ops.models import Backup, Run
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from ops.runs import Asker, ask
from tests.factories import make_business
from tests.ops.admin.rows import (
    PASSWORD,
    Browser,
    browser_of,
    by_default_login,
    make_backup,
    platform_administrator,
)
from tests.ops.admin.test_who_may import actions, pages, restoring_actions, restoring_pages
from tests.srvc.test_two_factor import ENROL, enrol, sign_in

pytestmark = pytest.mark.usefixtures("fresh_database")


def auditor() -> User:
    """Return somebody who may look at operations."""
    with by_default_login(), acting_as_admin():
        user = User.objects.create_user("auditor@platform.example", PASSWORD)
        user.groups.add(Group.objects.get(name=AUDITOR_GROUP))
        return user


@pytest.fixture
def rows() -> tuple[Backup, Run]:
    with as_owner_by_default():
        backup = make_backup(timezone.now() - timedelta(hours=1))
        run = ask("verify", backup.name, by=Asker("ada", "test"), backup=backup)
    return backup, run


def test_an_auditor_sees_every_page_and_no_button(rows: tuple[Backup, Run]) -> None:
    browser = browser_of(auditor())
    listed, backup, _, runs, run, status = pages(*rows)
    for url in (listed, backup, runs, run, status):
        assert browser.get(url).status_code == 200, url
    for url in restoring_pages():
        is_wizard = "/new/" in url
        assert browser.get(url).status_code == (403 if is_wizard else 200), url
    for url in (backup, run):
        assert browser.get(url).context["actions_detail"] == []
    for url in (listed, *restoring_pages()[:3]):
        assert not browser.get(url).context.get("actions_list"), url
    before = Run.objects.using("owner").count()
    for url in [*actions(*rows), *restoring_actions(rows[0])]:
        assert browser.get(url).status_code == 403, url
        assert browser.post(url, {"kind": "full", "name": "srvc"}).status_code == 403, url
    assert Run.objects.using("owner").count() >= before
    assert not Run.objects.using("owner").filter(cancel_asked_at__isnull=False).exists()


def test_the_menu_and_the_dashboard_have_operations_and_nothing_of_businesses() -> None:
    make_business("Pipes")
    browser = browser_of(auditor())
    page = browser.get("/admin/")
    assert page.status_code == 200
    text = page.content.decode()
    for name in ("backup", "restore", "drill", "run"):
        assert reverse(f"admin:ops_{name}_changelist") in text
    assert "/admin/crm/" not in text
    assert "/admin/billing/" not in text
    for url in ("/admin/crm/customer/", "/admin/crm/account/", "/admin/auth/group/"):
        assert browser.get(url).status_code == 403, url


def test_the_database_takes_no_write_of_theirs() -> None:
    user = auditor()
    with as_owner_by_default():
        ask("verify", "one", by=Asker("ada", "test"))
    statements = (
        "UPDATE ops_run SET cancel_asked_by = 'me'",
        "INSERT INTO ops_findingevent (kind) VALUES ('acknowledged')",
        "UPDATE users SET is_superuser = true",
        "DELETE FROM customers",
    )
    for statement in statements:
        with acting_as(user), connection.cursor() as cursor:
            with pytest.raises(DatabaseError) as caught, transaction.atomic():
                cursor.execute(statement)
            assert isinstance(caught.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
    with acting_as(user), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ops_run")
        with pytest.raises(DatabaseError, match="read-write mode") as caught, transaction.atomic():
            cursor.execute("SET TRANSACTION READ WRITE")
    # What comes after in the same transaction writes again: the limit is the auditor's alone.
    with acting_as_admin():
        with acting_as(user):
            pass
        Run.objects.update(cancel_asked_by="ada")


def test_an_account_or_another_group_makes_no_auditor() -> None:
    owner = make_business("Pipes")
    with acting_as_admin():
        group = Group.objects.get(name=AUDITOR_GROUP)
        owner.groups.add(group)
        both = User.objects.get(pk=platform_administrator().pk)
        both.groups.add(group)
        known = User.objects.get(pk=owner.pk)
        assert not known.is_auditor
        assert not both.is_auditor
        assert both.is_platform_administrator
    assert browser_of(owner).get("/admin/ops/backup/").status_code == 403
    person = auditor()
    with acting_as_admin():
        User.objects.filter(pk=person.pk).update(is_active=False)
        assert not User.objects.get(pk=person.pk).is_auditor


def test_they_sign_in_with_two_factors_and_change_their_password(settings: Settings) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    client = sign_in(auditor(), then="/admin/")
    assert client.get("/admin/")["Location"].startswith(ENROL)
    enrol(client)
    assert client.get("/admin/ops/run/").status_code == 200
    answer = client.post(
        "/admin/password_change/",
        {
            "old_password": PASSWORD,
            "new_password1": "another long phrase",
            "new_password2": "another long phrase",
        },
    )
    assert answer.status_code == 302
    with acting_as_login():
        assert User.objects.get(email="auditor@platform.example").check_password(
            "another long phrase"
        )
    assert client.post(reverse("admin:logout")).status_code == 200


def test_a_platform_administrator_makes_one_and_a_business_none() -> None:
    browser = browser_of(platform_administrator())
    with acting_as_admin():
        group = Group.objects.get(name=AUDITOR_GROUP)
    data = {"email": "eve@platform.example", "group": group.pk, "password": PASSWORD}
    answer = browser.post("/admin/crm/user/add/", data)
    assert answer.status_code == 302
    with acting_as_admin():
        assert User.objects.get(email="eve@platform.example").is_auditor
    owner: Browser = browser_of(make_business("Pipes"))
    form = owner.get("/admin/crm/user/add/").context["adminform"].form
    assert AUDITOR_GROUP not in [name for _, name in form.fields["group"].choices]
