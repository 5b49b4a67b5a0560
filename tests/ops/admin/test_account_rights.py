"""Who may export, download and import accounts on pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission

from crm.models import AUDITOR_GROUP, PLATFORM_ADMINISTRATOR_GROUP, User
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_admin
from tests.factories import make_business
from tests.ops.admin.account_pages import (
    ADA,
    EXPORT,
    NEW,
    UPLOAD,
    account,
    archive,
    button,
    exported,
    files,
    looked_at,
    offered,
    runs,
    upload,
)
from tests.ops.admin.rows import (
    PASSWORD,
    Browser,
    browser_of,
    by_default_login,
    platform_administrator,
)
from tests.ops.backups.conftest import Backups

__all__ = ["account", "archive"]


def auditor() -> User:
    """Return an auditor whom somebody gave both rights by mistake."""
    with by_default_login(), acting_as_admin():
        user = User.objects.create_user("auditor@platform.example", PASSWORD)
        user.groups.add(Group.objects.get(name=AUDITOR_GROUP))
        user.user_permissions.add(*Permission.objects.filter(codename__endswith="port_account"))
        return user


def owner() -> User:
    """Return a business's owner with both rights by mistake."""
    with by_default_login():
        user = make_business("Pipes", email="pipes@business.example")
    with by_default_login(), acting_as_admin():
        user.user_permissions.add(*Permission.objects.filter(codename__endswith="port_account"))
    return user


def administrator_without(*codenames: str) -> User:
    person = platform_administrator("some@platform.example", superuser=False)
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        taken = group.permissions.filter(codename__in=codenames)
        assert taken.count() == len(codenames)
        group.permissions.remove(*taken)
    return person


def administrator_without_both() -> User:
    return administrator_without("export_account", "import_account")


@pytest.mark.parametrize("who", [auditor, owner, administrator_without_both])
def test_others_export_download_and_import_nothing(
    who: Callable[[], User], browser: Browser, backups: Backups, archive: Path
) -> None:
    made = exported(browser, ADA)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    kept_files, number = files(backups), (len(runs("export")), len(runs("import")))
    other = browser_of(who())
    urls = [
        EXPORT,
        UPLOAD,
        "/admin/ops/restore/import-account/",
        button(made, "download_archive"),
        *(button(look, name) for name in ("import_account", "look_again", "discard_upload")),
    ]
    for url in urls:
        # A right without being a platform administrator opens the door to nothing behind it.
        opened = 302 if (who, url) == (auditor, urls[2]) else 403
        assert other.get(url).status_code == opened, url
        assert other.post(url, {"account": ADA, "email": NEW}).status_code == opened, url
    assert upload(other, archive.read_bytes()).status_code == 403
    assert files(backups) == kept_files
    assert (len(runs("export")), len(runs("import"))) == number
    assert runs("download") == []


def test_each_right_opens_its_own_part(browser: Browser, archive: Path) -> None:
    made = exported(browser, ADA)
    look = looked_at(browser, archive.read_bytes(), as_login=NEW)
    exporter = browser_of(administrator_without("import_account"))
    listed = exporter.get("/admin/ops/restore/")
    assert [each["title"] for each in listed.context["actions_list"]] == [
        "Restore…",
        "Export account…",
    ]
    assert (offered(exporter, made), offered(exporter, look)) == (["Download"], [])
    assert exporter.get(UPLOAD).status_code == 403
    with as_owner_by_default():
        group = Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP)
        rights = Permission.objects.filter(content_type__app_label="ops")
        group.permissions.remove(rights.get(codename="export_account"))
        group.permissions.add(rights.get(codename="import_account"))
    assert exporter.get(EXPORT).status_code == 403
    assert exporter.get(UPLOAD).status_code == 200
    # By the group, not as superuser: the right is asked for before the request's role is taken.
    assert upload(exporter, archive.read_bytes()).status_code == 302
    assert runs("import")[-1].asked_by == "some@platform.example"
    assert offered(exporter, made) == []
    assert offered(exporter, look) == ["Import…", "Another address…", "Discard"]
