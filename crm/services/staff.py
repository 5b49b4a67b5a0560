"""Writes on the people of a business beyond adding them."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import DEFAULT_DB_ALIAS, transaction

from crm.errors import CrmError
from crm.models import PLATFORM_GROUPS, User
from crm.services.refusals import told_by_the_database
from ops.rls.session import acting_as_login


@told_by_the_database
@transaction.atomic
def give_group(*, user: User, group: Group, by: User | None) -> None:
    """Give a person the rights of one group instead of those they had.

    Raises CrmError when a business's person would become one of the platform's own people.
    """
    if group.name in PLATFORM_GROUPS and user.account_id is not None:
        raise CrmError(
            f"A business's staff can't be in the group {group.name}. Nothing was changed."
        )
    user.groups.set([group])


@told_by_the_database
@transaction.atomic
def deactivate_user(*, user: User, by: User | None) -> User:
    """End a person's access; what they did stays. Raises CrmError for oneself and for the owner."""
    if by is not None and user.pk == by.pk:
        raise CrmError("You can't deactivate yourself. Nothing was changed; ask a colleague.")
    if user.account_id == user.pk:
        raise CrmError("The business belongs to this person. Nothing was changed.")
    user.is_active = False
    user.save(update_fields=["is_active"])
    return user


@transaction.atomic
def set_password(*, user: User, password: str, by: User | None) -> None:
    """Give a person a password, which ends all their sessions. It is not validated here.

    The caller decides whether `by` may. A request's role may not change a password: the bare login
    does, which signing in needs anyway.
    """
    user.set_password(password)
    with acting_as_login(using=user._state.db or DEFAULT_DB_ALIAS):
        user.save(update_fields=["password"])
