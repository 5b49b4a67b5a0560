"""The Northwind data set, which lies beside the project and not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crm.imports.run import Summary
from crm.models import User
from tests.crm.imports.bring import bring

_PROJECT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("NORTHWIND_DATA", _PROJECT.parent / "shared/data/northwind"))
IMPORTS = (
    ("customers", "customers.csv"),
    ("products", "products.csv"),
    ("jobs", "orders.csv"),
    ("invoices", "orders.csv", "order_details.csv"),
)
needs_northwind = pytest.mark.skipif(
    not (DATA / "orders.csv").exists(),
    reason=f"the Northwind data set is not at {DATA} (NORTHWIND_DATA names another place)",
)


def import_all(owner: User) -> list[Summary]:
    """Import all of it into an owner's account."""
    return [bring(owner, kind, *(DATA / name for name in names)) for kind, *names in IMPORTS]
