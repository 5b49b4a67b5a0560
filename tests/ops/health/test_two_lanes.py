"""A look at much asks by two sessions at once, of which nothing is left however it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest
from django.db import connections
from django.utils import timezone

from ops.health import running
from ops.health.context import Context
from ops.health.contract import HOURLY, Check, Reported
from ops.health.look import look_at
from ops.health.running import WORTH_TWO, run_checks
from ops.models import Area, CheckState
from ops.postgres.endpoint import Endpoint
from ops.progress import CancelledError, Counter
from ops.runs import OWNER
from tests.harness.waiting import wait_until
from tests.ops.health.conftest import Patient

Look = Callable[[Context], Iterable[Reported]]
_LONG = 600.0  # seconds: what waits so long is ended, or the test never ends


class Meeting:
    """Looks of which the first two wait for each other: they can't be one session's."""

    def __init__(self) -> None:
        self.sessions: set[int] = set()
        self._barrier = threading.Barrier(2)
        self._met = threading.Event()

    def __call__(self, context: Context) -> Iterable[Reported]:
        self.sessions.add(context.connection.info.backend_pid)
        if not self._met.is_set():
            self._barrier.wait(_LONG)
            self._met.set()
        return []


def checks_of(*looks: Look, most: int = WORTH_TWO) -> list[Check]:
    """So many checks; the last ones look as given."""
    some = [*[_nothing] * (most - len(looks)), *looks]
    return [
        Check(f"number_{number}", Area.STORAGE, "Something", "", look, _LONG, HOURLY)
        for number, look in enumerate(some)
    ]


def _nothing(context: Context) -> Iterable[Reported]:
    return []


@pytest.fixture
def context(patient: Patient) -> Iterator[Context]:
    made = Context(Endpoint.of(OWNER), timezone.now())
    yield made
    made.close()


def sessions(patient: Patient) -> int:
    """How many sessions the database has, this query's left out."""
    ((count,),) = patient.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(count)


def none_is_left(patient: Patient) -> bool:
    """Whether every session has ended; those of this thread's Django are closed for it."""
    connections.close_all()
    return sessions(patient) == 0


def test_two_sessions_ask_at_once_and_each_check_runs_once(patient: Patient) -> None:
    meeting = Meeting()
    checks = checks_of(*[meeting] * WORTH_TWO)
    found = look_at(checks)
    assert [outcome.check.name for outcome in found.outcomes] == [each.name for each in checks]
    assert {outcome.state for outcome in found.outcomes} == {CheckState.WELL}
    assert len(meeting.sessions) == 2
    wait_until(lambda: none_is_left(patient))


@pytest.mark.parametrize(("most", "deep"), [(WORTH_TWO - 1, False), (WORTH_TWO, True)])
def test_few_checks_and_those_that_read_everything_are_one_sessions_work(
    patient: Patient, most: int, deep: bool
) -> None:
    seen: set[int] = set()

    def noting(context: Context) -> Iterable[Reported]:
        seen.add(context.connection.info.backend_pid)
        return []

    look_at(checks_of(*[noting] * most, most=most), deep=deep)
    assert len(seen) == 1


def test_what_is_read_for_all_checks_is_read_by_one_of_the_two(context: Context) -> None:
    read: list[int] = []
    both = threading.Barrier(2)

    def reading(context: Context) -> str:
        read.append(context.connection.info.backend_pid)
        context.rows("SELECT pg_sleep(0.1)")  # time for the other to want it, too
        return "read"

    def asking(context: Context) -> Iterable[Reported]:
        both.wait(_LONG)
        assert context.once(reading) == "read"
        return []

    checks = checks_of(*[asking] * WORTH_TWO)
    outcomes = list(run_checks(checks, context, {}, Counter()))
    assert {outcome.state for outcome in outcomes} == {CheckState.WELL}
    assert len(read) == 1


def test_cancelled_while_the_other_session_works_it_ends_that_too(
    patient: Patient, context: Context
) -> None:
    asked = threading.Event()

    def sleeping(context: Context) -> Iterable[Reported]:
        asked.set()
        context.rows(f"SELECT pg_sleep({_LONG})")
        return []

    class Cancelling(Counter):
        def check(self) -> None:
            if asked.is_set():
                raise CancelledError("enough")

    before = threading.active_count()
    with pytest.raises(CancelledError):
        list(run_checks(checks_of(sleeping), context, {}, Cancelling()))
    assert threading.active_count() == before
    context.close()
    wait_until(lambda: none_is_left(patient))


def test_what_breaks_the_other_lane_off_is_raised_where_the_outcomes_are_read(
    patient: Patient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, mine = running._run, threading.get_ident()

    def breaking(check: Check, *rest: object) -> object:
        if threading.get_ident() != mine:
            raise MemoryError("no room")
        return run(check, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "_run", breaking)
    with pytest.raises(MemoryError, match="no room"):
        list(run_checks(checks_of(), context, {}, Counter()))
    context.close()
    wait_until(lambda: none_is_left(patient))


def test_a_connection_of_djangos_that_a_check_opened_there_is_closed(patient: Patient) -> None:
    def asking(context: Context) -> Iterable[Reported]:
        with connections[OWNER].cursor() as cursor:
            cursor.execute("SELECT 1")
        return []

    look_at(checks_of(*[asking] * WORTH_TWO))
    wait_until(lambda: none_is_left(patient))
