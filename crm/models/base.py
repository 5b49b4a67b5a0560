"""What every business table has: an account, its row policies, times."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import pgtrigger
from django.db import models
from django.db.models.functions import Now

from ops.rls.policies import account_policies
from ops.rls.session import current_account_id


class TimestampedModel(models.Model):
    """Creation and change times, kept by the database so that raw SQL keeps them too."""

    created_at = models.DateTimeField(
        db_default=Now(), editable=False, db_comment="When the row was created."
    )
    updated_at = models.DateTimeField(
        db_default=Now(), editable=False, db_comment="When the row last changed."
    )

    class Meta:
        abstract = True
        triggers: ClassVar[list[pgtrigger.Trigger]] = [
            pgtrigger.Trigger(
                name="touch_updated_at",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                func="NEW.updated_at = now(); RETURN NEW;",
            )
        ]


class AccountModel(TimestampedModel):
    """A row of one account. The column is the guide's `user_id`: the account's owner."""

    # Foreign keys whose row lends its account to a new row, first one set wins: a platform
    # administrator has no account of their own.
    account_parents: ClassVar[tuple[str, ...]] = ()

    account = models.ForeignKey(
        "crm.Account",
        on_delete=models.PROTECT,
        db_column="user_id",
        db_index=False,  # every index of an account's table starts with it already
        editable=False,
        related_name="+",
        db_comment="The account the row belongs to: the user id of its owner.",
    )

    class Meta(TimestampedModel.Meta):
        abstract = True
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *account_policies(),
            # The target of same-account foreign keys, and the index of every account's list.
            models.UniqueConstraint(fields=["account", "id"], name="%(class)s_account_row"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.inherit_account()
        super().save(*args, **kwargs)

    def inherit_account(self) -> None:
        """Take the account from the parent row or, without one, from the database's context."""
        if self.account_id is not None:
            return
        for name in self.account_parents:
            if getattr(self, f"{name}_id", None) is not None:
                self.account_id = getattr(self, name).account_id
                return
        account_id = current_account_id()
        if account_id is not None:
            self.account_id = account_id


def text_field(
    comment: str, *, max_length: int = 200, **options: Any
) -> models.CharField[str, str]:
    """An optional line of text, empty rather than null, also for raw SQL."""
    return models.CharField(
        max_length=max_length,
        blank=True,
        default="",
        db_default="",
        db_comment=comment,
        **options,
    )


def notes_field(comment: str, **options: Any) -> models.TextField[str, str]:
    """Optional free text, empty rather than null, also for raw SQL."""
    return models.TextField(blank=True, default="", db_default="", db_comment=comment, **options)


def money_field(comment: str, **options: Any) -> models.DecimalField[Decimal, Decimal]:
    """An amount in the account's currency, to two decimals."""
    return models.DecimalField(
        max_digits=14, decimal_places=2, default=0, db_default=0, db_comment=comment, **options
    )


def same_account_unique_external_id(model: str) -> models.UniqueConstraint:
    """One row per id of another system, so that a second import changes nothing."""
    return models.UniqueConstraint(
        fields=["account", "external_id"],
        condition=~models.Q(external_id=""),
        name=f"{model}_external_id",
        violation_error_message="Another row of this account has this external id.",
    )
