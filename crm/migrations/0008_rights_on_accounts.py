"""Platform administrators export and import accounts on pages; by command they always could."""

from typing import Any

from django.db import migrations

from crm.permissions import Rights, grant

GROUP = "Platform administrator"
RIGHTS: Rights = {"account": ("export", "import")}


def give_rights(apps: Any, schema_editor: Any) -> None:
    grant(apps, schema_editor.connection.alias, GROUP, "ops", RIGHTS)


class Migration(migrations.Migration):
    dependencies = [("crm", "0007_imports_of_user"), ("ops", "0005_account_archives")]

    operations = [migrations.RunPython(give_rights, migrations.RunPython.noop)]
