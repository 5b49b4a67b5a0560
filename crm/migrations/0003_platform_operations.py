"""Platform administrators look after the backups."""

from typing import Any

from django.db import migrations

from crm.permissions import VIEW, Rights, grant

GROUP = "Platform administrator"
RIGHTS: Rights = {
    "backup": ("view", "delete", "take", "verify", "pin", "download"),
    "backupcopy": VIEW,
    "walsegment": VIEW,
    "run": VIEW,
}


def give_rights(apps: Any, schema_editor: Any) -> None:
    grant(apps, schema_editor.connection.alias, GROUP, "ops", RIGHTS)


def take_rights(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    for row in group.filter(name=GROUP):
        row.permissions.remove(*row.permissions.filter(content_type__app_label="ops"))


class Migration(migrations.Migration):
    dependencies = [("crm", "0002_groups_and_policies"), ("ops", "0001_backups")]

    operations = [migrations.RunPython(give_rights, take_rights)]
