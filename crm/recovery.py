"""What a recovery has to know of accounts and customers, which ops itself knows nothing of.

Named in settings: RECOVERY_SUBJECTS, RECOVERY_LINKS, RECOVERY_MENTIONS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models
from pghistory.models import Event

from ops.restores.subjects import Link, Subject
from ops.rls.policies import SameAccountKey

# Text of digits alone is an id; anything else must not fail as one.
_AS_ID = "CASE WHEN %(text)s::text ~ '^[0-9]{1,18}$' THEN %(text)s::text::bigint END"

ACCOUNT = Subject(
    name="account",
    title="Account",
    asks_for="e-mail address of its owner, or its id",
    table="public.accounts",
    find=f"""
        SELECT a.user_id FROM public.accounts a JOIN public.users u ON u.id = a.user_id
        WHERE lower(u.email) = lower(btrim(%(text)s::text)) OR a.user_id = {_AS_ID}
    """,  # noqa: S608 (a constant)
    account="r.user_id",
)

# An id wins over another system's id, and that over a name; the latter two only where nobody else
# has them, for customers of other accounts are asked as well.
CUSTOMER = Subject(
    name="customer",
    title="Customer",
    asks_for="id, external id, or a name that no other customer has",
    table="public.customers",
    find=f"""
        SELECT found.id FROM (
            SELECT c.id, min(c.rank) OVER () AS best, c.rank, count(*) OVER (PARTITION BY c.rank)
            FROM (
                SELECT id, CASE WHEN id = {_AS_ID} THEN 1
                    WHEN external_id = btrim(%(text)s::text) THEN 2 ELSE 3 END AS rank
                FROM public.customers
                WHERE id = {_AS_ID} OR external_id = btrim(%(text)s::text)
                    OR lower(name) = lower(btrim(%(text)s::text))
            ) c
        ) found
        WHERE found.rank = found.best AND found.count = 1 AND btrim(%(text)s::text) <> ''
    """,  # noqa: S608 (a constant)
    account="r.user_id",
)


def links() -> list[Link]:
    """Return the references that no foreign key of the database declares."""
    return [*_histories(), *_undeclared()]


def mentions() -> list[Link]:
    """Return columns that name a row without needing it: who made a change."""
    users = _table(apps.get_model("crm", "User"))
    return [
        Link(_table(event), ("changed_by_id",), users, ("id",), is_history=True)
        for event in _events()
        if any(field.attname == "changed_by_id" for field in event._meta.concrete_fields)
    ]


def _events() -> Iterator[Any]:  # classes of events; mypy's plugin knows Event without its fields
    for model in apps.get_models():
        if issubclass(model, Event) and not model._meta.proxy and hasattr(model, "pgh_obj"):
            yield model


def _histories() -> Iterator[Link]:
    for event in _events():
        field = event._meta.get_field("pgh_obj")
        tracked = field.related_model
        yield Link(
            table=_table(event),
            columns=(field.column,),
            to_table=_table(tracked),
            to_columns=(tracked._meta.pk.column,),
            is_history=True,
        )


def _undeclared() -> Iterator[Link]:
    """Keys that neither Django nor a same-account key makes a constraint of."""
    for model in apps.get_models(include_auto_created=True):
        if issubclass(model, Event) or not model._meta.managed:
            continue
        declared = {
            each.field for each in model._meta.constraints if isinstance(each, SameAccountKey)
        }
        for field in model._meta.concrete_fields:
            key: Any = field
            if (
                isinstance(field, models.ForeignKey)
                and not key.db_constraint
                and field.name not in declared
            ):
                target = key.target_field
                yield Link(
                    table=_table(model),
                    columns=(field.column,),
                    to_table=_table(target.model),
                    to_columns=(target.column,),
                )


def _table(model: type[models.Model]) -> str:
    return f"public.{model._meta.db_table}"
