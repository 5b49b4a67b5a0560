"""Platform administrators look at health, run checks, and say what becomes of findings."""

from typing import Any

from django.db import migrations

from crm.permissions import VIEW, Rights, grant

GROUP = "Platform administrator"
RIGHTS: Rights = {
    "finding": ("view", "manage"),
    "findingevent": VIEW,
    "checkresult": VIEW,
    "sample": VIEW,
    "statement": VIEW,
    "statementsample": VIEW,
    "notice": VIEW,
}
# Permissions that are not named after their model.
MORE = ("run_health", "signal_session")


def give_rights(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    grant(apps, using, GROUP, "ops", RIGHTS)
    group = apps.get_model("auth", "Group").objects.using(using).get(name=GROUP)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    group.permissions.add(*permissions.filter(content_type__app_label="ops", codename__in=MORE))


class Migration(migrations.Migration):
    dependencies = [("crm", "0004_rights_on_restores"), ("ops", "0003_health")]

    operations = [migrations.RunPython(give_rights, migrations.RunPython.noop)]
