"""Auditors: the platform's people who look at operations and change nothing."""

from typing import Any

from django.db import migrations

from crm.permissions import VIEW, Rights, grant

GROUP = "Auditor"
# All that operations keep; nothing of the businesses.
RIGHTS: Rights = dict.fromkeys(
    (
        "backup",
        "backupcopy",
        "walsegment",
        "run",
        "restore",
        "restorepoint",
        "recovery",
        "drill",
        "finding",
        "findingevent",
        "checkresult",
        "sample",
        "statement",
        "statementsample",
        "notice",
    ),
    VIEW,
)


def make_group(apps: Any, schema_editor: Any) -> None:
    grant(apps, schema_editor.connection.alias, GROUP, "ops", RIGHTS)


def remove_group(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    apps.get_model("auth", "Group").objects.using(using).filter(name=GROUP).delete()


class Migration(migrations.Migration):
    dependencies = [("crm", "0005_rights_on_health"), ("ops", "0004_sessions")]

    operations = [migrations.RunPython(make_group, remove_group)]
