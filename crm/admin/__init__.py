"""The admin's pages, one file each. Importing this package registers them."""

from crm.admin import (
    accounts,
    counters,
    customers,
    groups,
    imports,
    invoices,
    jobs,
    payments,
    products,
    quotes,
    sites,
    staff,
)

__all__ = [
    "accounts",
    "counters",
    "customers",
    "groups",
    "imports",
    "invoices",
    "jobs",
    "payments",
    "products",
    "quotes",
    "sites",
    "staff",
]
