"""What documents come to, added up again in SQL in the order of crm/services/totals.py."""

from __future__ import annotations

from crm.models.currencies import CURRENCIES, minor_unit

_WHOLE = ", ".join(f"'{code}'" for code, _ in CURRENCIES if minor_unit(code) == 1)


def _digits(alias: str) -> str:
    """How many decimals a document's currency has."""
    return f"CASE WHEN {alias}.currency IN ({_WHOLE}) THEN 0 ELSE 2 END"


def wrong_nets(table: str, lines: str, key: str, open_states: str) -> str:
    """Return the query of lines that are not quantity x price - discount, rounded half up."""
    right = f"round(l.quantity * l.unit_price * (100 - l.discount_percent) / 100, {_digits('d')})"
    return f"""
        SELECT format('line %s of {table} %s: %s instead of %s', l.id, d.id, l.net, {right})
        FROM public.{lines} l JOIN public.{table} d ON d.user_id = l.user_id AND d.id = l.{key}
        WHERE d.status NOT IN ({open_states}) AND l.net <> {right}
    """  # noqa: S608 (constants)


def wrong_sums(table: str, lines: str, key: str, open_states: str) -> str:
    """Return the query of documents without lines, or with another subtotal than their lines."""
    recorded = "d.subtotal + CASE WHEN d.prices_include_tax THEN d.tax_total ELSE 0 END"
    return f"""
        SELECT format('%s %s: %s instead of %s', '{table}', d.id, {recorded},
            coalesce(s.net::text, 'any line'))
        FROM public.{table} d LEFT JOIN (
            SELECT user_id, {key}, sum(net) AS net FROM public.{lines} GROUP BY 1, 2
        ) s ON s.user_id = d.user_id AND s.{key} = d.id
        WHERE d.status NOT IN ({open_states}) AND s.net IS DISTINCT FROM {recorded}
    """  # noqa: S608 (constants)


def wrong_taxes(table: str, lines: str, key: str, open_states: str) -> str:
    """Return the query of documents whose tax is not that of their lines.

    Tax is rounded once for each rate. A discount is spread over lines by largest remainder; where
    several rates meet a discount, lines that lost equally much were not always served in the same
    order, so a document is wrong from one unit for each rate on.
    """
    unit = f"power(10::numeric, -({_digits('d')}))"
    return f"""
        WITH discounted AS (  -- lines of the few documents that have a discount
            SELECT l.user_id, l.{key} AS id, l.tax_rate, l.net, {unit} AS unit,
                d.discount_total / {unit} AS units,
                sum(l.net) OVER document AS whole, l.position, l.id AS line
            FROM public.{lines} l JOIN public.{table} d ON d.user_id = l.user_id AND d.id = l.{key}
            WHERE d.status NOT IN ({open_states}) AND d.discount_total > 0
            WINDOW document AS (PARTITION BY l.user_id, l.{key})
        ), shares AS (
            SELECT *, div(units * net, nullif(whole, 0)) AS share,
                mod(units * net, nullif(whole, 0)) AS lost
            FROM discounted
        ), served AS (
            SELECT *, units - sum(share) OVER (PARTITION BY user_id, id) AS left_over,
                row_number() OVER (PARTITION BY user_id, id ORDER BY lost DESC, position, line)
                    AS turn
            FROM shares
        ), bases AS (
            SELECT l.user_id, l.{key} AS id, l.tax_rate, sum(l.net) AS base
            FROM public.{lines} l JOIN public.{table} d ON d.user_id = l.user_id AND d.id = l.{key}
            WHERE d.status NOT IN ({open_states}) AND d.discount_total = 0
            GROUP BY 1, 2, 3
            UNION ALL
            SELECT user_id, id, tax_rate,
                sum(net - unit * (share + CASE WHEN turn <= left_over THEN 1 ELSE 0 END))
            FROM served GROUP BY 1, 2, 3
        ), taxes AS (
            SELECT d.user_id, d.id, count(*) AS rates, sum(round(
                b.base * b.tax_rate
                    / (100 + CASE WHEN d.prices_include_tax THEN b.tax_rate ELSE 0 END),
                {_digits("d")})) AS tax
            FROM bases b JOIN public.{table} d ON d.user_id = b.user_id AND d.id = b.id
            GROUP BY 1, 2
        )
        SELECT format('%s %s: tax of %s instead of %s', '{table}', d.id, d.tax_total, t.tax)
        FROM taxes t JOIN public.{table} d ON d.user_id = t.user_id AND d.id = t.id
        WHERE abs(d.tax_total - t.tax)
            > CASE WHEN d.discount_total > 0 AND t.rates > 1 THEN t.rates * {unit} ELSE 0 END
    """  # noqa: S608 (constants)
