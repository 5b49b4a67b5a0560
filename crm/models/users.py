"""Accounts and the people who sign in."""

from __future__ import annotations

import zoneinfo
from functools import cached_property
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower

from crm.models.base import TimestampedModel, text_field
from crm.models.currencies import CURRENCIES
from crm.models.history import track_history
from ops.rls.policies import ADMIN, APP, CURRENT_ACCOUNT, MEMBER, RowPolicy, account_policies

OWNER_GROUP = "Owner"
OFFICE_GROUP = "Office"
TECHNICIAN_GROUP = "Technician"
PLATFORM_ADMINISTRATOR_GROUP = "Platform administrator"
AUDITOR_GROUP = "Auditor"
# Groups of the platform's own people; a business's staff is in none of them.
PLATFORM_GROUPS = (PLATFORM_ADMINISTRATOR_GROUP, AUDITOR_GROUP)


# No role of a request may read or change it (docs/adr/0023): queries leave it out.
PASSWORD = "password"  # noqa: S105  (a column)


class UserQuerySet(models.QuerySet["User"]):
    """People, without the hashes of their passwords."""

    def only(self, *fields: Any) -> Self:
        # Named fields count alone: Django would subtract those that are left out already, and so
        # never load a hash that somebody asks for.
        return super(UserQuerySet, self.defer(None)).only(*fields)


class UserManager(DjangoUserManager["User"]):
    """Users are known by their e-mail address, in any case of letters."""

    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db).defer(PASSWORD)

    def _create_user_object(self, email: str, password: str | None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        return user

    def create_user(  # type: ignore[override]
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        """A member of a business's staff."""
        fields.setdefault("is_staff", True)
        user = self._create_user_object(email, password, **fields)
        user.save(using=self._db)
        return user

    def create_superuser(  # type: ignore[override]
        self, email: str, password: str | None = None, **fields: Any
    ) -> User:
        """A platform administrator: no account, every right."""
        return self.create_user(email, password, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """The person who signs in with an address, with the password's hash."""
        return self.defer(None).get(email__iexact=username)


class User(AbstractUser):
    """A person who signs in with an e-mail address."""

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", db_comment="What the person signs in with.")
    account = models.ForeignKey(
        "crm.Account",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="staff",
        db_index=False,
        db_comment="The business the person works for; null for the platform's own people.",
    )
    phone = text_field("Where colleagues reach the person.", max_length=40)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        db_table = "users"
        db_table_comment = "People who sign in: staff of the businesses and of the platform."
        ordering = ("email",)
        base_manager_name = "objects"
        indexes: ClassVar[list[models.Index]] = []
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email",
                violation_error_message="Somebody signs in with this e-mail address already.",
            ),
            # The target of same-account keys, such as a job's technician.
            models.UniqueConstraint(fields=["account", "id"], name="user_account_row"),
            models.CheckConstraint(
                condition=models.Q(is_superuser=False) | models.Q(account=None),
                name="user_superuser_has_no_account",
                violation_error_message="A superuser belongs to no account.",
            ),
            # Signing in needs everybody's row, before it is known who asks.
            RowPolicy(name="user_login", role=APP, commands=("SELECT", "UPDATE")),
            RowPolicy(
                name="user_member",
                role=MEMBER,
                using=f"account_id = {CURRENT_ACCOUNT}",
                check=f"account_id = {CURRENT_ACCOUNT} AND NOT is_superuser",
                hidden=(PASSWORD,),
            ),
            RowPolicy(name="user_admin", role=ADMIN, hidden=(PASSWORD,)),
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.email

    def refresh_from_db(
        self, using: str | None = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        """As Django's; the password's hash is read again when somebody asks for it."""
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)
        if fields is None:
            self.__dict__.pop(PASSWORD, None)

    @property
    def row_security_account_id(self) -> int | None:
        """The account whose rows the user sees; None for a platform administrator."""
        return self.account_id

    @cached_property
    def is_platform_administrator(self) -> bool:
        """Whether the user may see every account: no account, and superuser or in the group."""
        if not self.is_active or self.account_id is not None:
            return False
        return self.is_superuser or PLATFORM_ADMINISTRATOR_GROUP in self._group_names

    @cached_property
    def is_auditor(self) -> bool:
        """Whether the user looks at operations and changes nothing: no account, and in the group.

        Their transactions are read-only at the database (ops/rls/session.py).
        """
        if not self.is_active or self.account_id is not None or self.is_platform_administrator:
            return False
        return AUDITOR_GROUP in self._group_names

    @cached_property
    def _group_names(self) -> frozenset[str]:
        return frozenset(self.groups.values_list("name", flat=True))


def validate_time_zone(value: str) -> None:
    """Refuse a time zone that this machine does not know."""
    if value not in zoneinfo.available_timezones():
        raise ValidationError(
            "%(value)s is not a time zone such as Europe/Berlin.", params={"value": value}
        )


@track_history(account_field="user")
class Account(TimestampedModel):
    """A business. Its key is its owner's user id, so `user_id` on every row names both."""

    user = models.OneToOneField(
        User,
        on_delete=models.PROTECT,
        primary_key=True,
        db_column="user_id",
        related_name="owned_account",
        db_comment="The owner of the business.",
    )
    name = models.CharField(max_length=200, db_comment="The business's name.")
    currency = models.CharField(
        max_length=3,
        choices=CURRENCIES,
        default="USD",
        db_default="USD",
        db_comment="ISO 4217 code of every amount of the account.",
    )
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        db_default="UTC",
        validators=[validate_time_zone],
        db_comment="IANA time zone in which the business's days begin.",
    )
    phone_region = models.CharField(
        max_length=2,
        default="US",
        db_default="US",
        db_comment="ISO 3166 country of phone numbers written without a country code.",
    )
    prices_include_tax = models.BooleanField(
        default=False, db_default=False, db_comment="Whether new documents' prices include tax."
    )
    payment_days = models.PositiveSmallIntegerField(
        default=30, db_default=30, db_comment="Days from issue until an invoice is due."
    )

    class Meta(TimestampedModel.Meta):
        db_table = "accounts"
        db_table_comment = "Businesses, one row each; the key is the owner's user id."
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *account_policies(),
            models.CheckConstraint(
                condition=models.Q(currency__regex="^[A-Z]{3}$"), name="account_currency"
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="account_name"),
        ]

    def __str__(self) -> str:
        return self.name
