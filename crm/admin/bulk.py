"""Actions on many rows: each is checked by itself, and told by itself when it is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest

from crm.admin.refusals import sentence_of
from crm.errors import CrmError

# More than this in one request would keep the page, and locks on rows, for minutes.
MOST_ROWS = 500


def bulk_action(
    *, description: str, done: str, permission: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a method `(self, request, row)` an action on the selected rows.

    It runs for each row in a savepoint of its own, for rows the user may work on, and the page
    then says how many were `done` and why the others were not. `permission` is asked besides.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        def action(self: Any, request: HttpRequest, rows: models.QuerySet[Any]) -> None:
            chosen = list(rows.order_by("pk")[: MOST_ROWS + 1])
            if len(chosen) > MOST_ROWS:
                messages.error(
                    request, f"Choose at most {MOST_ROWS} at a time. Nothing was changed."
                )
                return
            succeeded, reasons = 0, Counter[str]()
            for row in chosen:
                reason = _run(self, request, row, function, permission, description)
                if reason is None:
                    succeeded += 1
                else:
                    reasons[reason] += 1
            _report(request, succeeded, reasons, done)

        action.__name__ = function.__name__
        action.__doc__ = function.__doc__
        return admin.action(description=description, permissions=["work"])(action)

    return decorate


def _run(
    self: Any,
    request: HttpRequest,
    row: models.Model,
    function: Callable[..., Any],
    permission: str,
    description: str,
) -> str | None:
    if not self.has_work_permission(request, row) or (
        permission and not request.user.has_perm(permission)
    ):
        return "You may not do that."
    try:
        with transaction.atomic():
            function(self, request, row)
            self.log_change(request, row, description)
    except (IntegrityError, CrmError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        return sentence.replace(" Nothing was changed.", "")
    return None


def _report(request: HttpRequest, succeeded: int, reasons: Counter[str], done: str) -> None:
    if succeeded:
        messages.success(request, f"{succeeded} {done}.")
    for reason, times in reasons.most_common(5):
        messages.warning(request, f"{times} not {done}: {reason}")
    if len(reasons) > 5:
        left = sum(reasons.values()) - sum(times for _, times in reasons.most_common(5))
        messages.warning(request, f"{left} not {done} for other reasons.")
