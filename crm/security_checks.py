"""Health checks of people: who may still sign in, and who tries to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from crm.models.users import OWNER_GROUP, PLATFORM_ADMINISTRATOR_GROUP, PLATFORM_GROUPS
from ops.health.context import Context
from ops.health.contract import DAILY, Check, Reported, check
from ops.health.quoting import literal
from ops.models import Area, Severity
from ops.rls.router import OWNER_ALIAS


@check(Area.SECURITY, "People who no longer sign in and still may", every=DAILY)
def stale_staff(context: Context) -> Iterator[Reported]:
    """Somebody who left keeps a password that opens a business's rows, or with a platform
    administrator's every business's. Who has not signed in for months has probably left.
    """
    days = context.limits.stale_staff_days
    asked = {
        "since": context.now - timedelta(days=days),
        "groups": list(PLATFORM_GROUPS),
        "administrators": PLATFORM_ADMINISTRATOR_GROUP,
        "owners": OWNER_GROUP,
    }
    for pk, email, account, last, is_platforms, others in context.rows(_STALE, asked):
        when = f"last signed in on {last:%Y-%m-%d}" if last else "never signed in"
        yield Reported(
            f"user {pk}",
            # A business decides on its own staff; whom the platform lets in is ours to look after.
            Severity.WARNING if is_platforms else Severity.INFO,
            f"{email} may sign in and has not for {days} days",
            f"The account is active and {when}. "
            + ("It sees every business's rows." if is_platforms
               else "It sees the rows of the business it belongs to.")
            + ("" if others else _LAST_OF[is_platforms]),
            _without_shutting_out(pk, email, None if is_platforms else account, others),
            f"user {email}",
        )  # fmt: skip


@check(Area.SECURITY, "Platform administrators without a second factor", every=DAILY)
def missing_second_factors(context: Context) -> Iterator[Reported]:
    """Whoever has the password of such an account is asked to set up the second factor on its next
    sign-in, and may be a stranger who sets up his own.
    """
    if not settings.REQUIRE_TWO_FACTOR:
        return  # nobody is asked for one; `deployment` tells where that is wrong
    asked = {
        "groups": list(PLATFORM_GROUPS),
        "administrators": PLATFORM_ADMINISTRATOR_GROUP,
    }
    for pk, email, last, others in context.rows(_WITHOUT_FACTOR, asked):
        when = f"It last signed in on {last:%Y-%m-%d}." if last else "It never signed in."
        until = (
            "until then the next step keeps everybody out."
            if others
            else "nobody else could let it in again, so the next step does not close it: a new "
            "password keeps out whoever has the old one."
        )
        yield Reported(
            f"user {pk}",
            Severity.WARNING,
            f"{email} sees every account and has no second factor",
            f"{when} The next sign-in with its password sets the second factor up, whoever does "
            f"it. Let its owner do so today; {until}",
            _closing(pk) if others else _renewing(email),
            f"user {email}",
        )


@check(Area.SECURITY, "Bursts of failed sign-ins", every=timedelta(minutes=5))
def failed_sign_ins(context: Context) -> Iterator[Reported]:
    """Many failures in a short time from one network address are somebody who tries passwords; on
    one e-mail address from many, somebody who knows whose account is worth it. Sign-in slows both
    down and stops neither for good.
    """
    minutes, least = context.limits.failed_sign_ins_minutes, context.limits.failed_sign_ins
    asked = {"since": context.now - timedelta(minutes=minutes), "least": least}
    for column, other, noun, others in (
        # Without the length of a network, which is all of the address.
        ("host(ip_address)", "username", "network address", "e-mail addresses"),
        ("username", "ip_address", "e-mail address", "network addresses"),
    ):
        query = _FAILURES.format(column=column, other=other)
        for value, failures, count in context.rows(query, asked):
            yield Reported(
                f"{noun} {value}",
                Severity.WARNING,
                f"{failures:,} failed sign-ins {'for' if column == 'username' else 'from'} "
                f"the {noun} {value}",
                f"Within {minutes} minutes, with {count:,} {others if count != 1 else others[:-2]}."
                " Sign-in is closed to it for a while after a few failures (SIGN_IN_FAILURES); a "
                "firewall in front closes it for good.",
                f"SELECT attempt_time, username, ip_address, failures_since_start, user_agent\n"
                f"FROM public.axes_accessattempt WHERE {column} = {literal(str(value))}\n"
                "ORDER BY attempt_time DESC;",
                f"{noun} {value}",
            )


def _without_shutting_out(pk: int, email: str, account: int | None, others: bool) -> str:
    """Close an account where somebody remains who can open it again; otherwise renew the password
    of the platform's, and show who else belongs to a business, which decides for itself."""
    if others:
        return _closing(pk)
    if account is None:
        return _renewing(email)
    return (
        "SELECT id, email, is_active, last_login, date_joined FROM public.users\n"  # noqa: S608
        f"WHERE account_id = {account} ORDER BY last_login DESC NULLS LAST;"
    )


def _renewing(email: str) -> str:
    """Give an administrator's account a new password, when there is nobody to open it again."""
    return f"manage.py changepassword --database {OWNER_ALIAS} {email}"


def _closing(pk: int) -> str:
    return f"UPDATE public.users SET is_active = false WHERE id = {pk};"  # noqa: S608 (a number)


_LAST_OF = {
    True: " No other administrator has signed in since: nobody could open it again when it is "
    "closed, so the next step gives it a new password.",
    False: " No other owner of the business has signed in since: nobody could manage the business "
    "when it is closed, so ask there first.",
}
# A password that begins so can't be signed in with (django.contrib.auth.hashers).
_MAY_SIGN_IN = "u.is_active AND u.password NOT LIKE '!%%'"
_OF_THE_PLATFORM = """(u.is_superuser OR u.account_id IS NULL AND EXISTS (
    SELECT FROM public.users_groups m JOIN public.auth_group g ON g.id = m.group_id
    WHERE m.user_id = u.id AND g.name = ANY (%(groups)s)))"""
# Administrators who remain, and can let others in again, when this one is closed.
_OTHERS = """EXISTS (SELECT FROM public.users o WHERE o.id <> u.id AND o.is_active
    AND o.password NOT LIKE '!%%' AND (o.is_superuser OR o.account_id IS NULL AND EXISTS (
        SELECT FROM public.users_groups m JOIN public.auth_group g ON g.id = m.group_id
        WHERE m.user_id = o.id AND g.name = %(administrators)s)) AND {they})"""
# Of a business's people only an owner manages the others: one has to stay who signs in.
_OF_OWNERS = """EXISTS (SELECT FROM public.users_groups m JOIN public.auth_group g
    ON g.id = m.group_id WHERE m.user_id = {user} AND g.name = %(owners)s)"""
_OTHERS_OF_A_BUSINESS = f"""(NOT {_OF_OWNERS.format(user="u.id")}
    OR EXISTS (SELECT FROM public.users o WHERE o.id <> u.id AND o.account_id = u.account_id
        AND o.is_active AND o.password NOT LIKE '!%%' AND {_OF_OWNERS.format(user="o.id")}
        AND coalesce(o.last_login, o.date_joined) >= %(since)s))"""
_STALE = f"""
    SELECT u.id, u.email, u.account_id, u.last_login, {_OF_THE_PLATFORM},
        CASE WHEN u.account_id IS NULL
        THEN {_OTHERS.format(they="coalesce(o.last_login, o.date_joined) >= %(since)s")}
        ELSE {_OTHERS_OF_A_BUSINESS} END
    FROM public.users u
    WHERE {_MAY_SIGN_IN} AND coalesce(u.last_login, u.date_joined) < %(since)s
    ORDER BY 5 DESC, u.id LIMIT 1000
"""  # noqa: S608 (constants)
_CONFIRMED = (
    "EXISTS (SELECT FROM public.otp_totp_totpdevice d WHERE d.user_id = o.id AND d.confirmed)"
)
_WITHOUT_FACTOR = f"""
    SELECT u.id, u.email, u.last_login, {_OTHERS.format(they=_CONFIRMED)} FROM public.users u
    WHERE {_MAY_SIGN_IN} AND {_OF_THE_PLATFORM} AND NOT EXISTS (
        SELECT FROM public.otp_totp_totpdevice d WHERE d.user_id = u.id AND d.confirmed)
    ORDER BY u.id LIMIT 1000
"""  # noqa: S608 (constants)
_FAILURES = """
    SELECT {column}, sum(failures_since_start), count(DISTINCT {other})
    FROM public.axes_accessattempt
    WHERE attempt_time > %(since)s AND {column} IS NOT NULL
    GROUP BY 1 HAVING sum(failures_since_start) >= %(least)s ORDER BY 2 DESC LIMIT 200
"""

CHECKS: tuple[Check, ...] = (stale_staff, missing_second_factors, failed_sign_ins)
