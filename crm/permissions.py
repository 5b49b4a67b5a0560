"""What each group may do. The migrations that make the groups read these lists as they were then;
later changes need a migration of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Rights = dict[str, Iterable[str]]

VIEW = ("view",)
WORK = ("view", "add", "change")
ALL = ("view", "add", "change", "delete")


def grant(apps: Any, using: str, group_name: str, app_label: str, rights: Rights) -> None:
    """Give a group rights on an app's models, from within a migration.

    Permissions are made by `post_migrate` otherwise, too late for a migration to use them.
    """
    from django.contrib.auth.management import create_permissions

    app_config = apps.get_app_config(app_label)
    app_config.models_module = True  # a historical app has none, and would be skipped
    create_permissions(app_config, verbosity=0, using=using, apps=apps)
    app_config.models_module = None
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    group, _ = Group.objects.using(using).get_or_create(name=group_name)
    codenames = [f"{verb}_{model}" for model, verbs in rights.items() for verb in verbs]
    permissions = Permission.objects.using(using).filter(
        content_type__app_label=app_label, codename__in=codenames
    )
    missing = set(codenames) - {permission.codename for permission in permissions}
    if missing:
        raise LookupError(f"no such permissions in {app_label}: {', '.join(sorted(missing))}")
    group.permissions.add(*permissions)
