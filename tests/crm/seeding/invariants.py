"""What must hold of any rows, asked in SQL as the owner. Each query returns the rows that fail."""

from typing import Any

from django.db import connections

_LINES = """
    SELECT d.id FROM {table} d LEFT JOIN LATERAL (
        SELECT coalesce(sum(l.net), 0) AS net FROM {lines} l
        WHERE l.user_id = d.user_id AND l.{key} = d.id) s ON true
    WHERE s.net <> d.subtotal + CASE WHEN d.prices_include_tax THEN d.tax_total ELSE 0 END
"""
_NETS = """
    SELECT id FROM {lines}
    WHERE net <> round(quantity * unit_price * (100 - discount_percent) / 100, 2)
"""
_COUNTERS = """
    SELECT d.user_id, count(d.number), max(d.number), max(c.last_number)
    FROM {table} d LEFT JOIN document_counters c
      ON c.user_id = d.user_id AND c.series = '{series}'
    GROUP BY d.user_id
    HAVING count(d.number) <> coalesce(max(d.number), 0)
        OR coalesce(max(d.number), 0) <> coalesce(max(c.last_number), 0)
"""
# Numbers go up with the days on the documents.
_ORDER = """
    SELECT id FROM (SELECT id, {day} AS day, lag({day}) OVER (
        PARTITION BY user_id ORDER BY number) AS before FROM {table} WHERE number IS NOT NULL) d
    WHERE day < before
"""
_QUERIES = {
    "quotes are the sum of their lines": _LINES.format(
        table="quotes", lines="quote_lines", key="quote_id"
    ),
    "invoices are the sum of their lines": _LINES.format(
        table="invoices", lines="invoice_lines", key="invoice_id"
    ),
    "quote lines are rounded half up": _NETS.format(lines="quote_lines"),
    "invoice lines are rounded half up": _NETS.format(lines="invoice_lines"),
    "numbers of quotes have no gap and the counter knows the last": _COUNTERS.format(
        table="quotes", series="quote"
    ),
    "numbers of invoices have no gap and the counter knows the last": _COUNTERS.format(
        table="invoices", series="invoice"
    ),
    "numbers of jobs have no gap and the counter knows the last": _COUNTERS.format(
        table="jobs", series="job"
    ),
    "invoice numbers go up with their dates": _ORDER.format(table="invoices", day="issue_date"),
    "quote numbers go up with their dates": _ORDER.format(table="quotes", day="issue_date"),
    "invoices are covered by exactly their allocations": """
        SELECT i.id FROM invoices i LEFT JOIN LATERAL (
            SELECT coalesce(sum(a.amount), 0) AS amount FROM payment_allocations a
            WHERE a.user_id = i.user_id AND a.invoice_id = i.id) s ON true
        WHERE s.amount <> i.allocated_total""",
    "payments pay exactly their allocations": """
        SELECT p.id FROM payments p LEFT JOIN LATERAL (
            SELECT coalesce(sum(a.amount), 0) AS amount FROM payment_allocations a
            WHERE a.user_id = p.user_id AND a.payment_id = p.id) s ON true
        WHERE s.amount <> p.allocated_total""",
    "a payment pays invoices of its own customer": """
        SELECT a.id FROM payment_allocations a
        JOIN payments p ON p.user_id = a.user_id AND p.id = a.payment_id
        JOIN invoices i ON i.user_id = a.user_id AND i.id = a.invoice_id
        WHERE p.customer_id <> i.customer_id""",
    "a bill is for the customer of its job": """
        SELECT i.id FROM invoices i JOIN jobs j ON j.user_id = i.user_id AND j.id = i.job_id
        WHERE i.customer_id <> j.customer_id""",
    "a site is the customer's own": """
        SELECT j.id FROM jobs j JOIN service_sites s ON s.user_id = j.user_id AND s.id = j.site_id
        WHERE s.customer_id <> j.customer_id""",
    "everything is in the account's currency": """
        SELECT d.user_id FROM (
            SELECT user_id, currency FROM quotes UNION ALL SELECT user_id, currency FROM invoices
            UNION ALL SELECT user_id, currency FROM payments) d
        JOIN accounts a USING (user_id) WHERE a.currency <> d.currency""",
    "every row has its first history": """
        SELECT c.id FROM customers c WHERE NOT EXISTS (
            SELECT FROM customers_history h WHERE h.pgh_obj_id = c.id AND h.user_id = c.user_id
              AND h.pgh_label = 'insert')
        UNION ALL
        SELECT i.id FROM invoices i WHERE NOT EXISTS (
            SELECT FROM invoices_history h WHERE h.pgh_obj_id = i.id AND h.user_id = i.user_id
              AND h.pgh_label = 'insert')""",
    "every account has one owner, a plan and its people": """
        SELECT a.user_id FROM accounts a
        LEFT JOIN user_subscriptions s ON s.user_id = a.user_id
        LEFT JOIN users u ON u.account_id = a.user_id
        GROUP BY a.user_id
        HAVING count(DISTINCT s.id) <> 1 OR count(DISTINCT u.id) < 1""",
}


def broken_invariants() -> dict[str, list[tuple[Any, ...]]]:
    """Every rule that does not hold, with up to five rows that break it."""
    broken = {}
    with connections["owner"].cursor() as cursor:
        for rule, query in _QUERIES.items():
            cursor.execute(f"SELECT * FROM ({query}) wrong LIMIT 5")
            if rows := cursor.fetchall():
                broken[rule] = rows
    return broken


def count(table: str, where: str = "true") -> int:
    """How many rows a table has, over all accounts."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(cursor.fetchone()[0])
