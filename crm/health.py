"""What must be true of the businesses' data whatever happened to it (settings.INVARIANTS).

Most of it the database keeps by itself. A restored database was written without its triggers, and
a backup may be of one that somebody had changed by hand, so all of it is asked again. The queries
read every row of their tables once or twice, and nothing row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from pghistory.models import Event

from crm.health_totals import wrong_nets, wrong_sums, wrong_taxes
from crm.models.base import AccountModel
from ops.invariants import Invariant
from ops.rls.policies import SameAccountKey

# States in which lines still change; what they come to is written when the document goes out.
_OPEN = {"quotes": "'draft', 'changes_requested'", "invoices": "'draft'"}


def _documents(table: str, noun: str) -> list[Invariant]:
    lines, key, still_open = f"{noun}_lines", f"{noun}_id", _OPEN[table]
    tables = (f"public.{table}", f"public.{lines}")
    return [
        Invariant(
            f"{noun}_lines",
            f"Every line of a sent {noun} is its quantity x price less its discount.",
            wrong_nets(table, lines, key, still_open),
            tables,
        ),
        Invariant(
            f"{noun}_sums",
            f"Every sent {noun} has lines, and its subtotal is what they add up to.",
            wrong_sums(table, lines, key, still_open),
            tables,
        ),
        Invariant(
            f"{noun}_taxes",
            f"The tax of every sent {noun} is that of its lines, rounded once for each rate.",
            wrong_taxes(table, lines, key, still_open),
            tables,
        ),
        Invariant(
            f"{noun}_totals",
            f"Every {noun}'s total is its subtotal less the discount plus the tax.",
            f"""
            SELECT format('{noun} %s: %s - %s + %s is not %s', id, subtotal, discount_total,
                tax_total, total)
            FROM public.{table} WHERE total <> subtotal - discount_total + tax_total
            """,  # noqa: S608 (constants)
            (f"public.{table}",),
        ),
    ]


def _numbers(table: str, noun: str) -> Iterator[Invariant]:
    series = f"SELECT user_id, number FROM public.{table} WHERE number IS NOT NULL"  # noqa: S608
    yield Invariant(
        f"{noun}_numbers",
        f"No two {table} of an account have the same number.",
        f"""
        SELECT format('number %s of account %s is taken %s times', number, user_id, count(*))
        FROM ({series}) n GROUP BY number, user_id HAVING count(*) > 1
        """,  # noqa: S608 (constants)
        (f"public.{table}",),
    )
    yield Invariant(
        f"{noun}_counters",
        f"Every account's counter of {table} is at the highest number or beyond.",
        f"""
        SELECT format('account %s: the counter is at %s, the highest number is %s', n.user_id,
            coalesce(max(c.last_number), 0), max(n.number))
        FROM ({series}) n LEFT JOIN public.document_counters c
          ON c.user_id = n.user_id AND c.series = '{noun}'
        GROUP BY n.user_id HAVING max(n.number) > coalesce(max(c.last_number), 0)
        """,  # noqa: S608 (constants)
        (f"public.{table}", "public.document_counters"),
    )


def _issued() -> list[Invariant]:
    return [
        Invariant(
            "invoice_numbers_gapless",
            # Of quotes and jobs some may be deleted; an issued invoice never.
            "The numbers of every account's invoices have no gap.",
            """
            SELECT format('account %s: %s invoices have numbers up to %s', user_id, count(*),
                max(number))
            FROM public.invoices WHERE number IS NOT NULL
            GROUP BY user_id HAVING count(DISTINCT number) <> max(number)
            """,
            ("public.invoices",),
        ),
        Invariant(
            "invoice_issued",
            "Every issued invoice has a number, a date and a due date, and no draft has a number.",
            """
            SELECT format('%s invoice %s: number %s, date %s, due %s', status, id,
                coalesce(number::text, 'none'), coalesce(issue_date::text, 'none'),
                coalesce(due_date::text, 'none'))
            FROM public.invoices
            WHERE (status = 'draft') <> (number IS NULL)
               OR (status <> 'draft' AND (issue_date IS NULL OR due_date IS NULL))
            """,
            ("public.invoices",),
        ),
        Invariant(
            "quote_sent",
            "Every sent quote has a number and a date, and no draft has a number.",
            """
            SELECT format('%s quote %s: number %s, date %s', status, id,
                coalesce(number::text, 'none'), coalesce(issue_date::text, 'none'))
            FROM public.quotes
            WHERE (status = 'draft') <> (number IS NULL)
               OR (status <> 'draft' AND issue_date IS NULL)
            """,
            ("public.quotes",),
        ),
    ]


def _allocated(table: str, noun: str, limit: str) -> Invariant:
    return Invariant(
        f"{noun}_allocations",
        f"What is recorded as allocated of every {noun} is the sum of its allocations, and no "
        f"more than {'was paid' if noun == 'payment' else 'it asks for'}.",
        f"""
        SELECT format('{noun} %s: %s recorded, %s allocated, of %s', d.id, d.allocated_total,
            coalesce(s.amount, 0), d.{limit})
        FROM public.{table} d LEFT JOIN (
            SELECT user_id, {noun}_id, sum(amount) AS amount FROM public.payment_allocations
            GROUP BY 1, 2
        ) s ON s.user_id = d.user_id AND s.{noun}_id = d.id
        WHERE d.allocated_total <> coalesce(s.amount, 0)
           OR abs(d.allocated_total) > abs(d.{limit})
        """,  # noqa: S608 (constants)
        (f"public.{table}", "public.payment_allocations"),
    )


_PAYMENTS = [
    _allocated("payments", "payment", "amount"),
    _allocated("invoices", "invoice", "total"),
    Invariant(
        "allocation_customers",
        "Every payment pays invoices of its own customer.",
        """
        SELECT format('allocation %s: payment %s is customer %s''s, invoice %s is customer %s''s',
            a.id, p.id, p.customer_id, i.id, i.customer_id)
        FROM public.payment_allocations a
        JOIN public.payments p ON p.user_id = a.user_id AND p.id = a.payment_id
        JOIN public.invoices i ON i.user_id = a.user_id AND i.id = a.invoice_id
        WHERE p.customer_id <> i.customer_id
        """,
        ("public.payment_allocations", "public.payments", "public.invoices"),
    ),
    Invariant(
        "currencies",
        "Every quote, invoice and payment is in its account's currency.",
        """
        SELECT format('%s %s is in %s, account %s in %s', d.what, d.id, d.currency, a.user_id,
            a.currency)
        FROM (
            SELECT 'quote' AS what, id, user_id, currency FROM public.quotes
            UNION ALL SELECT 'invoice', id, user_id, currency FROM public.invoices
            UNION ALL SELECT 'payment', id, user_id, currency FROM public.payments
        ) d JOIN public.accounts a ON a.user_id = d.user_id
        WHERE a.currency <> d.currency
        """,
        ("public.quotes", "public.invoices", "public.payments", "public.accounts"),
    ),
    Invariant(
        "account_owners",
        "Every account's owner signs in and belongs to it.",
        """
        SELECT format('account %s: its owner belongs to %s', a.user_id,
            coalesce('account ' || u.account_id, 'none'))
        FROM public.accounts a LEFT JOIN public.users u ON u.id = a.user_id
        WHERE u.account_id IS DISTINCT FROM a.user_id
        """,
        ("public.accounts", "public.users"),
    ),
]


def _references() -> Iterator[Invariant]:
    """Every same-account key, one invariant for each table: they hold for rows loaded anyhow."""
    for model in apps.get_models():
        if not issubclass(model, AccountModel):
            continue
        table = model._meta.db_table
        targets, parts = [table], []
        for each in model._meta.constraints:
            if not isinstance(each, SameAccountKey):
                continue
            field: Any = model._meta.get_field(each.field)
            target = field.related_model
            account = target._meta.get_field(each.account).column
            targets.append(target._meta.db_table)
            parts.append(  # names of the schema
                f"SELECT format('{table} %s: {field.column} %s', r.id, r.{field.column})"  # noqa: S608
                f" FROM public.{table} r WHERE r.{field.column} IS NOT NULL AND NOT EXISTS ("
                f"SELECT FROM public.{target._meta.db_table} t WHERE t.id = r.{field.column}"
                f" AND t.{account} = r.user_id)"
            )
        if parts:
            yield Invariant(
                f"{table}_references",
                f"What {table.replace('_', ' ')} refer to is there, in the same account.",
                " UNION ALL ".join(parts),
                tuple(f"public.{each}" for each in dict.fromkeys(targets)),
                live="orphans",
            )


def _histories() -> Iterator[Invariant]:
    """Rows with a history are what it says of them last. Where none was kept, none is asked."""
    for event in apps.get_models():
        if not (issubclass(event, Event) and hasattr(event, "pgh_obj")):
            continue
        history: Any = event
        model = history._meta.get_field("pgh_obj").related_model
        table, key = model._meta.db_table, model._meta.pk.column
        # Saving without a change moves updated_at, and no history is made of that.
        kept = {field.column for field in history._meta.concrete_fields} - {"updated_at"}
        columns = [f.column for f in model._meta.concrete_fields if f.column in kept]
        ours, theirs = (", ".join(f"{alias}.{name}" for name in columns) for alias in "rh")
        yield Invariant(
            f"{table}_history",
            f"The last that the history of {table.replace('_', ' ')} tells of each is how it is.",
            f"""
            SELECT format('{table} %s differs from entry %s', r.{key}, h.pgh_id)
            FROM public.{table} r
            JOIN (SELECT pgh_obj_id, max(pgh_id) AS pgh_id FROM public.{table}_history GROUP BY 1) l
              ON l.pgh_obj_id = r.{key}
            JOIN public.{table}_history h ON h.pgh_id = l.pgh_id
            WHERE h.pgh_label = 'delete' OR ({ours}) IS DISTINCT FROM ({theirs})
            """,  # noqa: S608 (names of the schema)
            (f"public.{table}", f"public.{table}_history"),
        )


INVARIANTS: list[Invariant] = [
    *_documents("quotes", "quote"),
    *_documents("invoices", "invoice"),
    *_issued(),
    *_numbers("quotes", "quote"),
    *_numbers("invoices", "invoice"),
    *_numbers("jobs", "job"),
    *_PAYMENTS,
    *_references(),
    *_histories(),
]
