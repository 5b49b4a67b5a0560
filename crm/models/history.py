"""History: every insert, update and delete of a tracked table, recorded by trigger.

Who changed a row comes from the transaction's own settings (ops/rls/session.py) as defaults of the
history table's columns, so a change by raw SQL is recorded like any other and no context table is
shared between accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pghistory
import pghistory.models
import pgtrigger
from django.db import models
from django.db.models import Value
from django.db.models.functions import Cast, Coalesce, NullIf

from ops.rls.policies import history_policies


def _setting(name: str) -> models.Func:
    return models.Func(
        Value(name), Value(True), function="current_setting", output_field=models.TextField()
    )


class HistoryEvent(pghistory.models.Event):
    """One recorded change: what the row was afterwards (before, for a delete), who and how."""

    changed_by_id = models.BigIntegerField(
        null=True,
        db_default=Cast(NullIf(_setting("app.user_id"), Value("")), models.BigIntegerField()),
        db_comment="The user who made the change; null for operators and raw SQL.",
    )
    changed_role = models.TextField(
        db_default=models.Func(template="CURRENT_USER", output_field=models.TextField()),
        db_comment="The database role that made the change.",
    )
    changed_via = models.TextField(
        db_default=Coalesce(_setting("app.via"), Value("")),
        db_comment="What caused the change: a request's method and path, a command's name.",
    )

    class Meta:
        abstract = True


def track_history[Model: models.Model](
    *, exclude: tuple[str, ...] = (), account_field: str = "account"
) -> Callable[[type[Model]], type[Model]]:
    """Record every change of a model in `<table>_history`, under the policies of its account."""

    def decorate(model: type[Model]) -> type[Model]:
        table = f"{model._meta.db_table}_history"
        meta: dict[str, Any] = {
            "db_table": table,
            "db_table_comment": f"Every change of {model._meta.db_table}, recorded by trigger.",
            "constraints": history_policies(table),
            "indexes": [
                models.Index(fields=[account_field, "pgh_obj"], name=f"{table[:22]}_object")
            ],
        }
        tracked: type[Model] = pghistory.track(
            pghistory.InsertEvent(),
            # Saving a form without changing anything moves updated_at only: no history of that.
            pghistory.UpdateEvent(condition=pghistory.AnyChange(exclude=["updated_at"])),
            pghistory.DeleteEvent(),
            base_model=HistoryEvent,
            context_field=cast("Any", None),
            obj_field=pghistory.ObjForeignKey(related_name="history", db_index=False),
            exclude=[*exclude],
            meta=meta,
            # One history statement per statement, not per row: bulk writes stay bulk.
            level=pgtrigger.Statement,
        )(model)
        return tracked

    return decorate
