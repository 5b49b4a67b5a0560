"""No role of a request reads or changes the hash of a password (docs/adr/0023)."""

from django.db import migrations

from ops.rls.policies import ADMIN, CURRENT_ACCOUNT, MEMBER, RowPolicy

_OWN = f"account_id = {CURRENT_ACCOUNT}"


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("crm", "0008_rights_on_accounts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="user", options={"base_manager_name": "objects", "ordering": ("email",)}
        ),
        migrations.RemoveConstraint(model_name="user", name="user_member"),
        migrations.RemoveConstraint(model_name="user", name="user_admin"),
        migrations.AddConstraint(
            model_name="user",
            constraint=RowPolicy(
                name="user_member",
                role=MEMBER,
                using=_OWN,
                check=f"{_OWN} AND NOT is_superuser",
                hidden=("password",),
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=RowPolicy(name="user_admin", role=ADMIN, hidden=("password",)),
        ),
    ]
