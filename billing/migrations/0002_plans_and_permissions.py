"""The three plans, and who may see and change them."""

from decimal import Decimal
from typing import Any

from django.db import migrations

from crm.permissions import VIEW, WORK, Rights, grant

PLANS = [
    {
        "code": "starter",
        "name": "Starter",
        "description": "For one person and a van.",
        "price": Decimal(29),
        "max_customers": 100,
        "max_invoices": 50,
        "max_storage_gb": 1,
        "features": ["Customers and jobs", "Quotes and invoices", "Payments"],
    },
    {
        "code": "professional",
        "name": "Professional",
        "description": "For a team with an office.",
        "price": Decimal(49),
        "max_customers": 1000,
        "max_invoices": 500,
        "max_storage_gb": 10,
        "features": ["Everything in Starter", "Staff with their own rights", "Imports"],
    },
    {
        "code": "enterprise",
        "name": "Enterprise",
        "description": "Without limits.",
        "price": Decimal(99),
        "max_customers": None,
        "max_invoices": None,
        "max_storage_gb": 100,
        "features": ["Everything in Professional", "No limit on customers or invoices"],
    },
]
_MEMBERS: Rights = {
    "subscriptionplan": VIEW,
    "usersubscription": VIEW,
    "usersubscriptionhistoryevent": VIEW,
}
GROUPS: dict[str, Rights] = {
    "Owner": _MEMBERS,
    "Platform administrator": {
        "subscriptionplan": WORK,
        "usersubscription": WORK,
        "usersubscriptionhistoryevent": VIEW,
    },
}


def make(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    plans = apps.get_model("billing", "SubscriptionPlan").objects.using(using)
    for plan in PLANS:
        plans.get_or_create(code=plan["code"], defaults=plan)
    for name, rights in GROUPS.items():
        grant(apps, using, name, "billing", rights)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("crm", "0002_groups_and_policies")]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
