"""What can be recovered by the name people have for it, as the upper apps tell it (settings).

ops knows neither accounts nor customers. What it needs to know of them is which table they are in,
how one is found, and which rows belong together without a foreign key that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string


@dataclass(frozen=True)
class Subject:
    """Something that is recovered with everything that belongs to it."""

    name: str  # of the option: --account
    title: str  # on pages: Account
    asks_for: str  # what one types: "e-mail address of its owner"
    table: str  # public.accounts
    # From what was typed to the primary keys of rows of `table`; %(text)s is what was typed.
    find: str
    # The account that a row of `table` belongs to, as SQL on the alias r; "" where there is none.
    account: str = ""


@dataclass(frozen=True)
class Link:
    """A reference that no foreign key declares: of a history table, of a generic relation."""

    table: str  # public.customers_history
    columns: tuple[str, ...]  # ("pgh_obj_id",)
    to_table: str  # public.customers
    to_columns: tuple[str, ...]  # ("id",)
    is_history: bool = False  # its rows tell what happened; they come along, and are never changed
    condition: str = ""  # SQL on the alias r: which rows refer to that table (content_type_id = …)


def subjects() -> list[Subject]:
    """Return what settings.RECOVERY_SUBJECTS lists, in its order."""
    return [import_string(path) for path in settings.RECOVERY_SUBJECTS]


def subject(name: str) -> Subject:
    """Return one by its name. Raises KeyError."""
    return {each.name: each for each in subjects()}[name]


def links() -> list[Link]:
    """Return what the functions of settings.RECOVERY_LINKS tell."""
    found: list[Link] = []
    for path in settings.RECOVERY_LINKS:
        more: Sequence[Link] = import_string(path)()
        found += more
    return found
