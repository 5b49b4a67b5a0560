"""Staged invoices and lines into the books: joined, added up, issued, paid, all by set."""

from __future__ import annotations

from crm.imports.duplicates import mark_duplicates
from crm.imports.kinds.invoices import INVOICES, LINES, RULES
from crm.imports.references import resolve_customers, take_numbers
from crm.imports.staging import Sheet
from crm.models.currencies import minor_unit

_LINES_OF = "FROM import_lines l WHERE l.skip IS NULL AND l.external_id = r.external_id"
_COMPARED = (
    ("customer", "{0}.customer_ref"),
    ("customer", "{0}.customer_email"),
    ("customer", "{0}.customer_name"),
    ("date", "{0}.issue_date::text"),
    ("due date", "{0}.due_date::text"),
    ("status", "{0}.status"),
)


def resolve(sheet: Sheet) -> None:
    """Join lines, invoices, customers and products; put down what does not fit."""
    sheet.execute("CREATE INDEX ON import_lines (external_id)")
    _fold_flat_rows(sheet)
    resolve_customers(sheet, INVOICES)
    mark_duplicates(sheet, INVOICES, "invoices", RULES)
    sheet.execute(
        "UPDATE import_lines l SET skip = 'invoice' FROM import_invoices r "
        "WHERE r.external_id = l.external_id AND r.skip IS NOT NULL AND NOT EXISTS ("
        "SELECT FROM import_invoices k WHERE k.external_id = l.external_id AND k.skip IS NULL)"
    )
    sheet.check(
        LINES,
        "NOT EXISTS (SELECT FROM import_invoices i WHERE i.external_id = r.external_id)",
        lambda number: f"There is no invoice “{number}” for this line.",
        "r.external_id",
    )
    sheet.check(
        INVOICES,
        f"r.status <> 'draft' AND NOT EXISTS (SELECT {_LINES_OF})",
        lambda number: f"The invoice “{number}” has no lines.",
        "r.external_id",
    )
    sheet.check(
        INVOICES,
        "r.status <> 'draft' AND r.issue_date IS NULL",
        lambda number: f"The invoice “{number}” has no date.",
        "r.external_id",
    )
    _resolve_products(sheet)
    _add_up(sheet)
    sheet.execute(
        "UPDATE import_invoices r SET job_id = j.id FROM jobs j WHERE j.user_id = %(account)s "
        "AND r.job_ref <> '' AND j.external_id = r.job_ref AND j.customer_id = r.customer_id"
    )


def _fold_flat_rows(sheet: Sheet) -> None:
    """One row per invoice of a flat file: the first; the others have to agree with it."""
    sheet.execute(
        "CREATE TEMPORARY TABLE import_first ON COMMIT DROP AS "
        "SELECT DISTINCT ON (file, external_id) * FROM import_invoices WHERE flat "
        "ORDER BY file, external_id, n"
    )
    sheet.execute("CREATE INDEX ON import_first (external_id)")
    for what, value in _COMPARED:
        ours, first = value.format("r"), value.format("f")
        sheet.check(
            INVOICES,
            f"r.flat AND {ours} <> '' AND EXISTS (SELECT FROM import_first f WHERE f.file = r.file "
            f"AND f.external_id = r.external_id AND {first} IS DISTINCT FROM {ours})",
            lambda number, what=what: (  # type: ignore[misc]
                f"The row has another {what} than the first row of invoice “{number}”."
            ),
            "r.external_id",
        )
    sheet.execute(
        "DELETE FROM import_invoices r USING import_first f "
        "WHERE r.flat AND f.file = r.file AND f.external_id = r.external_id AND f.n <> r.n"
    )


def _resolve_products(sheet: Sheet) -> None:
    for theirs, ours in (
        ("r.product_ref", "p.external_id"),
        ("r.sku", "p.sku"),
        ("lower(r.product_name)", "lower(p.name)"),
    ):
        sheet.execute(
            f"UPDATE import_lines r SET product_id = found.id FROM (SELECT {ours} AS key, "
            "min(p.id) AS id FROM products p WHERE p.user_id = %(account)s "
            f"AND {ours} <> '' GROUP BY 1 HAVING count(*) = 1) found "
            f"WHERE r.product_id IS NULL AND {theirs} = found.key"
        )
    sheet.check(
        LINES,
        "r.product_ref <> '' AND r.product_id IS NULL",
        lambda ref: f"There is no product “{ref}”. Import the products first.",
        "r.product_ref",
    )


def _add_up(sheet: Sheet) -> None:
    """Nets and totals, by the rule of `crm.services.totals` (a test compares them).

    Multiplied by 0.01 rather than divided by 100: a division rounds, and would round twice.
    """
    places = -int(minor_unit(sheet.context.currency).as_tuple().exponent)
    including = sheet.context.prices_include_tax
    sheet.execute(
        "UPDATE import_lines SET net = round(quantity * unit_price * (100 - discount_percent) "
        "* 0.01, %(places)s)",
        places=places,
    )
    sheet.check(
        LINES,
        "r.line_total <> r.net",
        lambda values: f"The amount {values[0]} is not quantity x price = {values[1]}.",
        "ARRAY[r.line_total, r.net]",
    )
    sheet.check(LINES, "r.net >= 1e12", lambda _: "The line's amount is too large.")
    tax = "base * tax_rate / (100 + tax_rate)" if including else "base * tax_rate * 0.01"
    sheet.execute(
        "UPDATE import_invoices r SET subtotal = s.nets - CASE WHEN %(including)s THEN s.tax "
        "ELSE 0 END, tax_total = s.tax, total = s.nets + CASE WHEN %(including)s THEN 0 "
        "ELSE s.tax END FROM (SELECT external_id, sum(base) AS nets, "
        f"sum(round({tax}, %(places)s)) AS tax FROM (SELECT external_id, tax_rate, "
        "sum(net) AS base FROM import_lines WHERE skip IS NULL GROUP BY 1, 2) rates "
        "GROUP BY 1) s WHERE s.external_id = r.external_id",
        places=places,
        including=including,
    )
    sheet.check(
        INVOICES,
        "r.is_paid AND r.amount_paid > r.total",
        lambda values: f"Paid is {values[0]}, more than the invoice's total of {values[1]}.",
        "ARRAY[r.amount_paid, r.total]",
    )
    sheet.check(INVOICES, "r.total >= 1e12", lambda _: "The invoice's total is too large.")


def write(sheet: Sheet) -> None:
    """Insert drafts with their lines, issue them, and let payments pay those that are paid."""
    take_numbers(sheet, "invoice", INVOICES, "r.skip IS NULL AND r.status <> 'draft'")
    sheet.created["invoices"] = sheet.in_chunks(
        INVOICES,
        "INSERT INTO invoices (user_id, customer_id, job_id, currency, prices_include_tax, "
        "issue_date, due_date, subtotal, tax_total, total, title, notes, external_id) "
        "SELECT %(account)s, customer_id, job_id, %(currency)s, %(including)s, issue_date, "
        "due_date, coalesce(subtotal, 0), coalesce(tax_total, 0), coalesce(total, 0), title, "
        "notes, external_id FROM import_invoices r WHERE {chunk} ORDER BY n",
        phase="Writing invoices",
    )
    sheet.execute(
        "UPDATE import_invoices r SET invoice_id = i.id FROM invoices i "
        "WHERE r.skip IS NULL AND i.user_id = %(account)s AND i.external_id = r.external_id"
    )
    _write_lines(sheet)
    sheet.in_chunks(
        INVOICES,
        "UPDATE invoices i SET status = 'issued', number = r.number FROM import_invoices r "
        "WHERE i.user_id = %(account)s AND i.id = r.invoice_id AND r.status <> 'draft' "
        "AND {chunk}",
        phase="Issuing invoices",
    )
    _write_payments(sheet)
    sheet.execute(
        "UPDATE invoices i SET status = r.status, status_reason = 'Imported as ' || "
        "replace(r.status, '_', ' ') FROM import_invoices r WHERE i.user_id = %(account)s "
        "AND i.id = r.invoice_id AND r.skip IS NULL AND r.status IN ('void', 'written_off')"
    )


def _write_lines(sheet: Sheet) -> None:
    sheet.execute(
        "UPDATE import_lines r SET position = places.place FROM (SELECT n, row_number() OVER "
        "(PARTITION BY external_id ORDER BY n) AS place FROM import_lines WHERE skip IS NULL) "
        "places WHERE places.n = r.n"
    )
    sheet.created["lines"] = sheet.in_chunks(
        LINES,
        "INSERT INTO invoice_lines (user_id, invoice_id, position, product_id, description, "
        "quantity, unit, unit_price, discount_percent, tax_name, tax_rate, net) "
        "SELECT %(account)s, i.invoice_id, r.position, r.product_id, coalesce(nullif("
        "r.line_description, ''), nullif(r.product_name, ''), p.name, i.title), r.quantity, "
        "coalesce(nullif(r.unit, ''), p.unit, ''), r.unit_price, r.discount_percent, r.tax_name, "
        "r.tax_rate, r.net FROM import_lines r JOIN import_invoices i "
        "ON i.external_id = r.external_id AND i.skip IS NULL LEFT JOIN products p "
        "ON p.user_id = %(account)s AND p.id = r.product_id WHERE {chunk} ORDER BY r.n",
        phase="Writing lines",
    )


def _write_payments(sheet: Sheet) -> None:
    """A payment per paid invoice, of its total or of what the file says was paid."""
    sheet.created["payments"] = sheet.in_chunks(
        INVOICES,
        "INSERT INTO payments (user_id, customer_id, amount, currency, method, status, "
        "received_on, reference, external_id) SELECT %(account)s, customer_id, "
        "coalesce(amount_paid, total), %(currency)s, 'other', 'completed', coalesce(paid_on, "
        "greatest(issue_date, least(coalesce(due_date, issue_date), current_date))), "
        "left('Paid before the import: ' || "
        "title, 200), 'invoice:' || external_id FROM import_invoices r "
        "WHERE is_paid AND coalesce(amount_paid, total) > 0 AND {chunk} ORDER BY n",
        phase="Writing payments",
    )
    sheet.in_chunks(
        INVOICES,
        "INSERT INTO payment_allocations (user_id, payment_id, invoice_id, amount) "
        "SELECT %(account)s, p.id, r.invoice_id, p.amount FROM import_invoices r JOIN payments p "
        "ON p.user_id = %(account)s AND p.external_id = 'invoice:' || r.external_id "
        "WHERE is_paid AND {chunk} ORDER BY n",
        phase="Allocating payments",
    )
