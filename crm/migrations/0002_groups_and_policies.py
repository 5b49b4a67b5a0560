"""The four groups with their permissions, and row policies for tables of other packages."""

from typing import Any

from django.db import migrations

from crm.permissions import ALL, VIEW, WORK, Rights, grant
from ops.rls.policies import (
    ADMIN,
    APP,
    MEMBER,
    drop_policy_sql,
    policy_sql,
)

_HISTORY: Rights = {
    f"{model}historyevent": VIEW
    for model in (
        "account",
        "customer",
        "servicesite",
        "product",
        "job",
        "quote",
        "quoteline",
        "invoice",
        "invoiceline",
        "payment",
        "paymentallocation",
    )
}
_OFFICE: Rights = {
    "account": VIEW,
    "customer": ALL,
    "servicesite": ALL,
    "product": ALL,
    "job": ALL,
    "quote": ALL,
    "quoteline": ALL,
    "invoice": ALL,
    "invoiceline": ALL,
    "payment": WORK,
    "paymentallocation": ("view", "add"),
    "importrun": WORK,
    "user": VIEW,
    **_HISTORY,
}
GROUPS: dict[str, Rights] = {
    "Owner": {**_OFFICE, "account": ("view", "change"), "user": WORK},
    "Office": _OFFICE,
    # Sees the work and where it is, not what it costs.
    "Technician": {
        "customer": VIEW,
        "servicesite": ("view", "change"),
        "job": ("view", "change"),
        "jobhistoryevent": VIEW,
    },
    "Platform administrator": {
        **_OFFICE,
        "account": WORK,
        "user": WORK,
        "documentcounter": VIEW,
    },
}

# A member's statements may touch what belongs to people the member can see (users has its own
# policy), and never make anybody a platform administrator.
_OWN_PEOPLE = "user_id IN (SELECT id FROM users)"
_NO_ESCALATION = (
    _OWN_PEOPLE
    + " AND group_id <> (SELECT id FROM auth_group WHERE name = 'Platform administrator')"
)
_POLICIES: list[tuple[str, str, dict[str, Any]]] = [
    ("users_groups", "users_groups_login", {"role": APP, "commands": ("SELECT",)}),
    (
        "users_groups",
        "users_groups_member",
        {"role": MEMBER, "using": _OWN_PEOPLE, "check": _NO_ESCALATION},
    ),
    ("users_groups", "users_groups_admin", {"role": ADMIN}),
    ("users_user_permissions", "users_permissions_login", {"role": APP, "commands": ("SELECT",)}),
    (
        "users_user_permissions",
        "users_permissions_member",
        {"role": MEMBER, "using": _OWN_PEOPLE, "commands": ("SELECT",)},
    ),
    ("users_user_permissions", "users_permissions_admin", {"role": ADMIN}),
    (
        "django_admin_log",
        "admin_log_member",
        {"role": MEMBER, "using": _OWN_PEOPLE, "commands": ("SELECT", "INSERT")},
    ),
    ("django_admin_log", "admin_log_admin", {"role": ADMIN, "commands": ("SELECT", "INSERT")}),
]


def make_groups(apps: Any, schema_editor: Any) -> None:
    for name, rights in GROUPS.items():
        grant(apps, schema_editor.connection.alias, name, "crm", rights)


def drop_groups(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group")
    group.objects.using(schema_editor.connection.alias).filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("crm", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(make_groups, drop_groups),
        *(
            migrations.RunSQL(
                policy_sql(table, name, **options),
                drop_policy_sql(table, name, role=options["role"]),
            )
            for table, name, options in _POLICIES
        ),
    ]
