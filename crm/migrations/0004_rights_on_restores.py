"""Platform administrators restore, recover, approve and rehearse."""

from typing import Any

from django.db import migrations

from crm.permissions import VIEW, Rights, grant

GROUP = "Platform administrator"
RIGHTS: Rights = {
    "restore": ("view", "run", "approve"),
    "restorepoint": VIEW,
    "recovery": ("view", "run"),
    "drill": ("view", "run"),
}


def give_rights(apps: Any, schema_editor: Any) -> None:
    grant(apps, schema_editor.connection.alias, GROUP, "ops", RIGHTS)


class Migration(migrations.Migration):
    dependencies = [("crm", "0003_platform_operations"), ("ops", "0002_restores")]

    operations = [migrations.RunPython(give_rights, migrations.RunPython.noop)]
