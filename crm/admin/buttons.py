"""Buttons on the pages of an account's rows: what they ask, and how refusals are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db import IntegrityError, models
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from crm.admin.refusals import sentence_of
from crm.errors import CrmError
from crm.models import PaymentMethod
from ops.admin.buttons import ButtonsMixin as OpsButtonsMixin
from ops.admin.buttons import ConfirmForm, OptionalReasonForm, ReasonForm, button

if TYPE_CHECKING:
    from crm.admin.base import AccountModelAdmin


class ReceivedForm(ConfirmForm):
    """Asks when money moved, and by which reference."""

    received_on = forms.DateField(label="Date", widget=UnfoldAdminSingleDateWidget())
    reference = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget())


class PaymentForm(ReceivedForm):
    """Asks what was paid of an invoice."""

    amount = forms.DecimalField(
        max_digits=14, decimal_places=2, min_value=0, widget=UnfoldAdminDecimalFieldWidget()
    )
    method = forms.ChoiceField(
        choices=PaymentMethod.choices,
        initial=PaymentMethod.BANK_TRANSFER,
        widget=UnfoldAdminSelectWidget(),
    )
    field_order = ("amount", "received_on", "method", "reference")


class ButtonsMixin(OpsButtonsMixin):
    """Tells refusals of services and of the database, and keeps them in the admin's log."""

    refusals: ClassVar[tuple[type[Exception], ...]] = (IntegrityError, CrmError)

    def refusal(self, error: Exception) -> str | None:
        assert isinstance(error, IntegrityError | CrmError)
        return sentence_of(error)

    def may_press(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> bool:
        """Whether the user may press a button on this very row."""
        if pressed.permission:
            return bool(request.user.has_perm(pressed.permission))
        admin: AccountModelAdmin = self  # type: ignore[assignment]
        return admin.has_work_permission(request, row)

    def was_pressed(self, request: HttpRequest, pressed: Any, row: models.Model | None) -> None:
        """Keep a note of it, in the transaction of what was done."""
        self.log_change(request, row, pressed.short_description)


__all__ = [
    "ButtonsMixin",
    "ConfirmForm",
    "OptionalReasonForm",
    "PaymentForm",
    "ReasonForm",
    "ReceivedForm",
    "button",
]
