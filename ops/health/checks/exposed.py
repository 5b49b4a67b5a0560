"""What is within reach past row security: sensitive columns, views, copies, foreign tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from ops.health.checks.rights import Relation, quoted_role, read_rights
from ops.health.checks.row_policies import EVERYBODY, read_policies
from ops.health.context import Context
from ops.health.contract import SOON, Reported, check, several
from ops.models import Area, Severity
from ops.postgres.roles import LOGINS, MEMBER, PUBLIC, REQUEST_ROLES

_TABLES = {"r", "p"}
# Names of columns whose content opens something or is worth stealing: credentials, bank and card
# data, numbers of persons and their papers, health. By whole words: "token" and "api_token", not
# "tokens_left".
_SENSITIVE = re.compile(
    r"(?:^|_)(?:"
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|jwt|(?:api|private|auth|access|session|"
    r"encryption|signing|license|activation|pgp|gpg|ssh)_?key|auth_code|session_id|"
    r"(?:recovery|backup|verification|security|2fa)_code|otp|two_factor|2fa|pin|certificate|"
    r"ssn|social_security|(?:drivers?_)?licen[cs]e_number|drivers?_licen[cs]e|"
    r"passport(?:_number|_id)?|national_id|tax_id|(?:credit_)?card(?:_number)?|cvv|cvc|cvn|"
    r"bank_account|account_number|routing_number|iban|swift_code|bic|"
    r"(?:health|medical)_(?:record|insurance)|patient_id|insurance_number|treatment|"
    r"mac_address|macaddr|imei|device_uuid|facial_recognition"
    r")(?:$|_(?:hash|value|number|data|key)$)",
    re.IGNORECASE,
)


@check(Area.SECURITY, "Sensitive columns that are read by those who need not")
def sensitive_columns(context: Context) -> Iterator[Reported]:
    """Passwords, tokens, card and bank numbers are stolen where they can be read. Sign-in reads
    them as the application's own login; a role of a request has to be held by row policies, and
    nobody else needs them.
    """
    policies, catalogue = context.once(read_policies), context.catalogue
    for relation in context.once(read_rights).relations.values():
        columns = sorted(catalogue.columns.get(relation.oid, {}).items())
        names = [name for _, name in columns if _SENSITIVE.search(name.replace("-", "_"))]
        if relation.kind not in _TABLES or not names:
            continue
        table = catalogue.tables.get(relation.oid)
        is_held = relation.oid in policies.of_table and table is not None and table.row_security
        for role in relation.grantees():
            if role in LOGINS or (is_held and role in REQUEST_ROLES):
                continue
            read = [
                name
                for name in names
                if any(
                    each.grantee == role
                    and each.privilege == "SELECT"
                    and each.column in {"", name}
                    for each in relation.rights
                )
            ]
            if read:
                yield _exposed(relation, role, read)


@check(Area.SECURITY, "Views that see past row security", every=SOON)
def views_past_policies(context: Context) -> Iterator[Reported]:
    """A view reads with the rights of its owner, whom no policy holds, so it shows the rows of
    every account to whoever may read it; with security_invoker it reads with the reader's.
    """
    for relation, reads in _exposing(context, "v"):
        if relation.kind != "v" or _invokes(relation):
            continue
        yield Reported(
            relation.title,
            Severity.CRITICAL if reads else Severity.WARNING,
            f"The view {relation.title} reads with the rights of {relation.owner}",
            f"{' and '.join(relation.grantees())} may use it, and row security does not hold it"
            + (f": it shows every account's rows of {several(reads)}." if reads else "."),
            f"ALTER VIEW {relation.place} SET (security_invoker = true);",
            f"view {relation.title}",
        )


@check(Area.SECURITY, "Materialized views and foreign tables within reach", every=SOON)
def unprotected_copies(context: Context) -> Iterator[Reported]:
    """Row security can't be put on a materialized view or a foreign table: whoever may read one
    reads all of it, also rows that were copied from tables with policies.
    """
    for relation, reads in _exposing(context, "mf"):
        kind = "materialized view" if relation.kind == "m" else "foreign table"
        readers = relation.grantees()
        yield Reported(
            relation.title,
            Severity.CRITICAL if reads else Severity.WARNING,
            f"The {kind} {relation.title} is open to {' and '.join(readers)}",
            "It can have no row security, so each of them reads all of it"
            + (f", rows of every account out of {several(reads)} among it." if reads else "."),
            "\n".join(
                f"REVOKE ALL ON {relation.place} FROM {quoted_role(role)};" for role in readers
            ),
            f"{kind} {relation.title}",
        )


def _exposed(relation: Relation, role: str, columns: list[str]) -> Reported:
    who = "everybody" if role == EVERYBODY else role
    why = (
        "no row policy holds it there, so it reads those of all accounts."
        if role in {MEMBER, PUBLIC}
        else "it has no need of them."
    )
    return Reported(
        f"{relation.title}.{role}",
        Severity.CRITICAL,
        f"{who} reads {several(columns)} of {relation.title}",
        f"By their names they hold what must not be read, and {who} may SELECT them: {why}",
        f"REVOKE ALL ON {relation.granted_on} FROM {quoted_role(role)};",
        f"table {relation.title}",
    )


def _exposing(context: Context, kinds: str) -> Iterator[tuple[Relation, list[str]]]:
    """Views within reach, each with the tables with policies that it reads, through others too."""
    policies = context.once(read_policies)
    exposed = [
        relation
        for relation in context.once(read_rights).relations.values()
        if relation.kind in kinds and relation.rights
    ]
    if not exposed:
        return
    reads: dict[int, list[str]] = defaultdict(list)
    for view, table in context.rows(_READS, [[relation.oid for relation in exposed]]):
        if table in policies.of_table:
            reads[view].append(context.catalogue.tables[table].title)
    for relation in exposed:
        yield relation, sorted(reads.get(relation.oid, []))


def _invokes(view: Relation) -> bool:
    return any(
        name.lower() == "security_invoker" and value.lower() in {"true", "on", "yes", "1"}
        for name, _, value in (option.partition("=") for option in view.options)
    )


# A view depends on what it reads by its rule; a view over views reads theirs.
_READS = """
    WITH RECURSIVE reading (view, read) AS (
        SELECT v, v FROM unnest(%s::bigint[]::oid[]) v
        UNION
        SELECT g.view, d.refobjid
        FROM reading g
        JOIN pg_rewrite w ON w.ev_class = g.read
        JOIN pg_depend d ON d.objid = w.oid AND d.classid = 'pg_rewrite'::regclass
            AND d.refclassid = 'pg_class'::regclass
    )
    SELECT DISTINCT view::bigint, read::bigint FROM reading WHERE view <> read
"""
