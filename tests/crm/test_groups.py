"""The groups that migrations make, permission by permission."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group

from ops.rls.session import acting_as_admin

pytestmark = pytest.mark.django_db


def rights_of(name: str) -> set[str]:
    with acting_as_admin():
        permissions = Group.objects.get(name=name).permissions.select_related("content_type")
        return {f"{p.content_type.app_label}.{p.codename}" for p in permissions}


def test_a_technician_sees_the_work_and_not_what_it_costs() -> None:
    assert rights_of("Technician") == {
        "crm.view_customer",
        "crm.view_servicesite",
        "crm.change_servicesite",
        "crm.view_job",
        "crm.change_job",
        "crm.view_jobhistoryevent",
    }


def test_the_office_does_all_the_work_but_owns_nothing() -> None:
    office = rights_of("Office")
    for model in ("customer", "servicesite", "product", "job", "quote", "invoice", "invoiceline"):
        assert {f"crm.{verb}_{model}" for verb in ("view", "add", "change", "delete")} <= office
    assert "crm.add_payment" in office
    assert "crm.delete_payment" not in office
    assert "crm.change_paymentallocation" not in office
    assert "crm.add_user" not in office
    assert not any(right.startswith("billing.") for right in office)


def test_the_owner_has_the_offices_rights_and_the_business() -> None:
    assert rights_of("Owner") - rights_of("Office") == {
        "crm.change_account",
        "crm.add_user",
        "crm.change_user",
        "billing.view_subscriptionplan",
        "billing.view_usersubscription",
        "billing.view_usersubscriptionhistoryevent",
    }


def test_platform_administrators_keep_accounts_plans_and_subscriptions() -> None:
    rights = rights_of("Platform administrator")
    assert {
        "crm.add_account",
        "billing.change_subscriptionplan",
        "billing.add_usersubscription",
        "crm.view_documentcounter",
    } <= rights
    assert "crm.change_documentcounter" not in rights
    assert "crm.delete_account" not in rights


def test_auditors_see_operations_and_nothing_else() -> None:
    rights = rights_of("Auditor")
    assert {right.partition("_")[0] for right in rights} == {"ops.view"}
    tables = {right.removeprefix("ops.view_") for right in rights}
    # Rows of every account, as they were, are no auditor's.
    assert tables == {
        model._meta.model_name for model in apps.get_app_config("ops").get_models()
    } - {"recoveryrow"}


def test_there_are_five_groups() -> None:
    with acting_as_admin():
        names = set(Group.objects.values_list("name", flat=True))
    assert names == {"Owner", "Office", "Technician", "Platform administrator", "Auditor"}
