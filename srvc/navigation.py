"""The sidebar, the search over everything, and the label of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy

Permission = Callable[[HttpRequest], bool]


def _may(permission: str) -> Permission:
    def allowed(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(permission))

    return allowed


def _platform(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_platform_administrator", False))


def _page(
    title: str, icon: str, model: str, permission: Permission | None = None
) -> dict[str, Any]:
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": permission or _may(f"{app}.view_{name}"),
    }


def _operations(permission: str) -> Permission:
    def allowed(request: HttpRequest) -> bool:
        looks = _platform(request) or getattr(request.user, "is_auditor", False)
        return bool(looks) and _may(permission)(request)

    return allowed


def _own_business(request: HttpRequest) -> bool:
    return not _platform(request) and _may("crm.view_account")(request)


# What a group's permissions do not open is not shown; a heading without pages neither.
SIDEBAR: dict[str, Any] = {
    "show_search": True,
    "navigation": [
        {
            "items": [
                {"title": "Dashboard", "icon": "dashboard", "link": reverse_lazy("admin:index")}
            ],
        },
        {
            "title": "Work",
            "items": [
                _page("Customers", "groups", "crm.customer"),
                _page("Sites", "location_on", "crm.servicesite"),
                _page("Jobs", "build", "crm.job"),
                _page("Quotes", "request_quote", "crm.quote"),
            ],
        },
        {
            "title": "Money",
            "items": [
                _page("Invoices", "receipt_long", "crm.invoice"),
                _page("Payments", "payments", "crm.payment"),
                _page("Products", "inventory_2", "crm.product"),
            ],
        },
        {
            "title": "Business",
            "items": [
                _page("Settings", "storefront", "crm.account", _own_business),
                _page("Businesses", "storefront", "crm.account", _platform),
                _page("Staff", "badge", "crm.user"),
                _page("Imports", "upload_file", "crm.importrun"),
                _page("Subscription", "card_membership", "billing.usersubscription"),
                _page("Plans", "sell", "billing.subscriptionplan"),
            ],
        },
        {
            "title": "Platform",
            "items": [
                _page("Groups", "group_work", "auth.group", _platform),
                _page("Numbers", "tag", "crm.documentcounter"),
            ],
        },
        {
            "title": "Operations",
            "items": [
                _page("Health", "monitor_heart", "ops.finding", _operations("ops.view_finding")),
                _page("Backups", "backup", "ops.backup", _operations("ops.view_backup")),
                _page(
                    "Restore",
                    "settings_backup_restore",
                    "ops.restore",
                    _operations("ops.view_restore"),
                ),
                _page("Drills", "fire_extinguisher", "ops.drill", _operations("ops.view_drill")),
                _page("Runs", "manage_history", "ops.run", _operations("ops.view_run")),
            ],
        },
    ],
}

_COLOURS = {"development": "info", "staging": "warning", "production": "danger"}


def environment_label(request: HttpRequest) -> list[str]:
    """Name and colour of the environment, so that nobody takes production for a trial."""
    from django.conf import settings

    name = str(settings.ENVIRONMENT)
    return [name.capitalize(), _COLOURS.get(name, "primary")]
