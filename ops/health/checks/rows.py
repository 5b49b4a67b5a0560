"""Rows that contradict each other: parents that are gone, and what the apps know to be true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from ops.health.checks.references import MOST, Reference, any_of, references
from ops.health.context import Context
from ops.health.contract import HOURLY, BlindError, Reported, check
from ops.health.quoting import literal
from ops.health.steps import reading
from ops.health.turns import Turn, take_turns
from ops.invariants import Invariant, ask, invariants
from ops.models import Area, Severity

# Together all checks may take 3 seconds of a database with 1,000 tables.
_ORPHANS_SECONDS = 0.15
_INVARIANTS_SECONDS = 0.15
_SMALL = 2_000_000  # bytes: read within some milliseconds


@check(Area.INTEGRITY, "Rows whose parent is gone", limit=2.0, every=HOURLY)
def orphans(context: Context) -> Iterator[Reported]:
    """A row that names a parent which does not exist is lost to every page that comes from there,
    and keeps a backup from being restored with its foreign keys. PostgreSQL prevents them except
    where a key is not valid yet, triggers were off, or only the application knows of the reference.
    """
    known = {each.key: each for each in references(context)}

    def together(keys: Sequence[str]) -> Iterator[str]:
        return any_of(context, [known[key] for key in keys])

    yield from take_turns(
        context,
        "orphans",
        [_turn(context, each) for each in known.values()],
        together=together,
        seconds=_ORPHANS_SECONDS,
        days=context.limits.orphans_days,
        noun="references",
    )


@check(Area.INTEGRITY, "What must be true of the business's data", limit=2.0, every=HOURLY)
def invariants_hold(context: Context) -> Iterator[Reported]:
    """Totals that are not what their lines add up to, or a number that is missing, are wrong on
    paper that customers hold. The database keeps these rules by itself, unless somebody went around
    it: so the data itself is asked.
    """
    known = {each.name: each for each in invariants() if not each.live}

    def together(names: Sequence[str]) -> Iterator[str]:
        asked = (f"SELECT {literal(name)} WHERE EXISTS ({known[name].query})" for name in names)
        return (str(row[0]) for row in context.rows(sql.SQL(" UNION ALL ".join(asked))))

    yield from take_turns(
        context,
        "invariants_hold",
        [
            Turn(each.name, f"“{each.sentence}”", lambda each=each: _asked(context, each))  # type: ignore[misc]
            for each in known.values()
        ],
        together=together,
        seconds=_INVARIANTS_SECONDS,
        days=context.limits.orphans_days,
        noun="rules",
    )


def _turn(context: Context, reference: Reference) -> Turn:
    tables = [(each.schema, each.name) for each in (reference.table, reference.target)]
    return Turn(
        reference.key,
        reference.title,
        lambda: _orphans_of(context, reference),
        reading(context.facts.role, *tables),
        is_small=max(reference.table.heap_size, reference.target.heap_size) < _SMALL,
    )


def _orphans_of(context: Context, reference: Reference) -> Iterator[Reported]:
    count, examples = reference.orphans(context)
    if not count:
        return
    many = f"more than {MOST:,}" if count > MOST else f"{count:,}"
    noun = "row" if count == 1 else "rows"
    names = ", ".join(reference.columns)
    yield Reported(
        reference.key,
        # Whoever declared a key NOT ENFORCED has said that the database need not keep it.
        Severity.CRITICAL if reference.is_enforced else Severity.WARNING,
        f"{reference.table.title} has rows whose parent in {reference.target.title} is gone",
        f"{many.capitalize()} {noun}: {names} = {'; '.join(examples)}. {reference.declared_by}"
        f"{'' if reference.is_enforced else ', which is NOT ENFORCED,'} says that each names a "
        f"row of {reference.target.title}. Bring the parents back from a backup (manage.py "
        "recover), or decide what becomes of these rows.",
        reference.listing,
        f"table {reference.table.title}",
    )


def _asked(context: Context, invariant: Invariant) -> Iterator[Reported]:
    outcome = ask(context.connection, invariant)
    if outcome.skipped:
        raise BlindError(str(outcome), "manage.py migrate")
    if not outcome.holds:
        count = outcome.contradictions
        many = "1 case contradicts" if count == 1 else f"{count:,} cases contradict"
        yield Reported(
            invariant.name,
            Severity.CRITICAL,
            f"Not true: {invariant.sentence}",
            f"{many} it: {'; '.join(outcome.examples)}.",
            f"{' '.join(invariant.query.split())};",
            ", ".join(f"table {table}" for table in invariant.tables[:1]),
        )
