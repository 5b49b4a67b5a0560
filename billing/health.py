"""What must be true of subscriptions whatever happened to the data (settings.INVARIANTS)."""

from __future__ import annotations

from ops.invariants import Invariant

_TABLE = "public.user_subscriptions"

INVARIANTS: list[Invariant] = [
    Invariant(
        "one_subscription",
        "No account has more than one subscription.",
        """
        SELECT format('account %s has %s', user_id, count(*))
        FROM public.user_subscriptions GROUP BY user_id HAVING count(*) > 1
        """,
        (_TABLE,),
    ),
    Invariant(
        "subscription_periods",
        "Every subscription's period ends after it starts, a trial has an end, and a canceled one "
        "the time of it.",
        """
        SELECT format('subscription %s of account %s: %s, from %s to %s', id, user_id, status,
            current_period_start, current_period_end)
        FROM public.user_subscriptions
        WHERE current_period_end <= current_period_start
           OR (status = 'trialing' AND trial_end IS NULL)
           OR (status = 'canceled' AND canceled_at IS NULL)
        """,
        (_TABLE,),
    ),
    Invariant(
        "subscription_plans",
        "Every subscription is of an account and a plan that are there.",
        """
        SELECT format('subscription %s: account %s, plan %s', s.id, s.user_id, s.plan_id)
        FROM public.user_subscriptions s
        LEFT JOIN public.accounts a ON a.user_id = s.user_id
        LEFT JOIN public.subscription_plans p ON p.id = s.plan_id
        WHERE a.user_id IS NULL OR p.id IS NULL
        """,
        (_TABLE, "public.accounts", "public.subscription_plans"),
    ),
]
