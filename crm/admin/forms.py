"""The form of a row that belongs to an account: whose it is, before anything is validated."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from crm.admin.refusals import refusal_of
from crm.models import Account


class RefusableForm(forms.ModelForm[Any]):
    """A form that tells why the database refused what the form had accepted."""

    # Bound by the page to the request that asks.
    request: ClassVar[HttpRequest]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        # Inline forms have no request of their own: the main form tells for all.
        refusal = refusal_of(getattr(self, "request", None))
        if refusal is not None:
            raise ValidationError(refusal)
        return data


class AccountModelForm(RefusableForm):
    """Gives the row its account, then checks the account's rules (unique numbers and ids).

    A member's row takes the account from the context; a platform administrator's from its parent
    or, on a row without one, from the field `account` that only administrators see.
    """

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        self._take_account(data)
        if self.instance.account_id is not None:
            self._refuse_strangers(data)
        return data

    def _take_account(self, data: dict[str, Any]) -> None:
        row = self.instance
        if row.account_id is None and isinstance(data.get("account"), Account):
            row.account = data["account"]
        for name in row.account_parents:
            parent = data.get(name)
            if row.account_id is None and parent is not None:
                row.account_id = parent.account_id
        row.inherit_account()
        # Without an account there is an error on the field or parent that would lend one.

    def _refuse_strangers(self, data: dict[str, Any]) -> None:
        """Row security shows administrators every account; a row still refers to its own only."""
        for name, value in list(data.items()):
            account_id = getattr(value, "account_id", None)
            if (
                isinstance(value, models.Model)
                and name in self.fields
                and name != "account"
                and account_id not in (None, self.instance.account_id)
            ):
                self.add_error(name, "This belongs to another account.")

    def _get_validation_exclusions(self) -> set[str]:
        # Django leaves out constraints on fields a form does not show, and no form shows this one.
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        if self.instance.account_id is not None:
            excluded.discard("account")
        return excluded


class CustomersWorkForm(AccountModelForm):
    """A row about a customer's work: site, quote and job have to be that customer's."""

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        customer = data.get("customer") or getattr(self.instance, "customer", None)
        for name in ("site", "quote", "job"):
            row = data.get(name)
            if row is not None and customer is not None and row.customer_id != customer.pk:
                self.add_error(name, "This belongs to another customer.")
        return data


class LineForm(AccountModelForm):
    """A line of a document: what is left empty comes from the product."""

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        line = self.instance
        if "product" in self.errors:
            return data
        for name in ("product", "description", "unit", "unit_price", "tax_name", "tax_rate"):
            if name in data:
                setattr(line, name, data[name])
        line.copy_product()
        data |= {
            "description": line.description,
            "unit": line.unit,
            "unit_price": line.unit_price,
            "tax_name": line.tax_name,
            "tax_rate": line.tax_rate if line.tax_rate is not None else Decimal(0),
        }
        if not line.description and "description" not in self.errors:
            self.add_error("description", "Describe the line, or choose a product.")
        if line.unit_price is None and "unit_price" not in self.errors:
            self.add_error("unit_price", "Give a price, or choose a product.")
        return data

    def _get_validation_exclusions(self) -> set[str]:
        excluded = super()._get_validation_exclusions()
        if "product" in self.errors:
            # What an impossible product would have filled in is not missing as well.
            excluded |= {"description", "unit_price"}
        return excluded
