"""Both sides of a moment: what was committed just before is there, what came just after is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_django import Settings

from ops.backups.errors import DamagedError
from ops.backups.wal.names import position
from ops.backups.wal.slot import drop_slot
from ops.models import BackupKind, RestorePoint, WalSegment
from ops.postgres.endpoint import Endpoint
from ops.progress import CancelledError, Counter
from ops.restores.errors import RestoreError, UnreachableError
from ops.restores.moments import recovering as moments
from ops.restores.moments.points import ask_for_restore_point, make_restore_point
from ops.restores.moments.recovering import Target, reach, recovered
from ops.restores.moments.targets import told
from ops.restores.private import Reached
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import server_of_a_module

server = server_of_a_module()


@pytest.fixture(autouse=True)
def _no_slot(backups: Backups) -> Iterator[None]:
    """Leave no slot to the next test, whose catalogue knows nothing of it."""
    yield
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


@pytest.fixture(autouse=True)
def _no_waiting(settings: Settings) -> None:
    settings.RESTORE_WAL_WAIT_SECONDS = 0


class _CancelledAt(Counter):
    """Somebody cancels as soon as a phase begins."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self._phase = phase

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        super().phase(name, total, unit)
        if name.startswith(self._phase):
            self.cancel()


def scalar(backups: Backups, query: str) -> Any:
    with backups.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def clock(backups: Backups) -> datetime:
    return scalar(backups, "SELECT clock_timestamp()").astimezone(UTC)


def here(backups: Backups) -> str:
    return str(scalar(backups, "SELECT pg_current_wal_insert_lsn()"))


def add(backups: Backups, word: str) -> None:
    backups.execute(f"INSERT INTO public.seen VALUES ('{word}')")


def words_at(text: str) -> tuple[list[str], Reached]:
    with recovered(Target.parse(text), Counter()) as private:
        with private.connect() as connection:
            rows = connection.execute("SELECT word FROM public.seen ORDER BY word").fetchall()
        assert private.reached is not None
        return [word for (word,) in rows], private.reached


@pytest.mark.simulation
def test_both_sides_of_times_positions_and_points(backups: Backups) -> None:
    backups.execute("CREATE TABLE public.seen (word text)")
    before_all = clock(backups)
    receive()
    base = backups.take(kind=BackupKind.BASE)
    add(backups, "1 before the time")
    moment = clock(backups)
    add(backups, "2 after the time")
    with backups.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO public.seen VALUES ('3 after the position')")
        place = here(backups)  # where the record of its commit begins
    point = make_restore_point(ask_for_restore_point("before-import", by=ASKER))
    add(backups, "4 after the point")
    receive()
    link = backups.take(kind=BackupKind.INCREMENTAL)
    add(backups, "5 last")
    receive()
    end = WalSegment.objects.exclude(end_lsn="").order_by("-segment")[0]

    words, reached = words_at(str(moment))
    assert words == ["1 before the time"]
    assert (reached.backup, reached.complete_at_end) == (base.name, False)
    assert reached.transaction_at is not None
    assert reached.transaction_at <= moment
    assert reached.target == f"the moment {told(moment)}"

    words, reached = words_at(place)
    assert words == ["1 before the time", "2 after the time"]
    assert position(reached.lsn) <= position(place)

    words, reached = words_at("before-import")
    assert words == ["1 before the time", "2 after the time", "3 after the position"]
    assert reached.lsn == point.lsn

    # Nothing was written between the last row and the moment: the WAL's end is that moment.
    words, reached = words_at(end.closed_at.isoformat())
    assert (len(words), words[-1]) == (5, "5 last")
    assert (reached.backup, reached.complete_at_end) == (link.name, True)

    require_refusals(backups, before_all, end)
    require_unreadable_wal_is_noticed(backups, end)


def require_refusals(backups: Backups, before_all: datetime, end: WalSegment) -> None:
    first = RestorePoint.objects.get().made_at  # any moment that can be restored
    (start, last) = reachable_ends()
    assert start <= first <= last
    nearest = f"The nearest that can be: {told(start)}."
    assert refusal(str(before_all)) == (
        f"The moment {told(before_all)} can't be restored: it is before the first base backup that "
        f"WAL leads on from. {nearest} Nothing was begun."
    )
    later = refusal("2999-01-01 00:00+00:00")
    assert later.startswith(
        "The moment 2999-01-01 00:00:00 UTC can't be restored: it is still to come (the server's "
        "clock says "
    )
    assert later.endswith(f"The nearest that can be: {told(last)}. Nothing was begun.")
    while scalar(backups, "SELECT bool_or(active) FROM pg_replication_slots"):
        time.sleep(0.05)  # until the server notices that the receiver has ended
    unarchived = clock(backups)
    assert refusal(str(unarchived)) == (
        f"The moment {told(unarchived)} can't be restored: the WAL of that time is not in the "
        "archive. The live server may have written it, but no walreceiver runs that would bring "
        f"its WAL into the archive: start `manage.py walreceiver` and ask again. The nearest that "
        f"can be: {told(last)}. Nothing was begun."
    )
    assert refusal("F/0").startswith(
        "The WAL position F/0 can't be restored: the server has not written that far yet (it is at "
    )
    assert refusal("0/1").startswith(
        "The WAL position 0/1 can't be restored: it is before the first base backup that WAL leads "
        "on from. The nearest that can be: 0/"
    )
    assert refusal("elsewhere") == (
        "There is no restore point elsewhere. There are before-import. Nothing was begun. "
        "`manage.py restorepoint --list` shows them; a moment can also be a time or a WAL position."
    )
    # A segment that is missing takes the moments after it away.
    point = RestorePoint.objects.get()
    rows = WalSegment.objects.exclude(end_lsn="").order_by("segment")
    hole = next(row for row in rows if position(row.end_lsn) >= position(point.lsn))
    assert reach(Target.parse(point.name)).pieces[-2].file == hole.segment
    number = hole.pk
    hole.delete()
    assert refusal(point.name).startswith(
        "The restore point before-import can't be restored: the WAL from there is not in the "
        "archive, or is of another timeline. "
    )
    hole.pk = number
    hole.save(force_insert=True)


def reachable_ends() -> tuple[datetime, datetime]:
    from ops.backups.wal.windows import restorable_windows

    (window,) = restorable_windows()
    return window.start_time, window.end_time


def refusal(text: str) -> str:
    with pytest.raises(UnreachableError) as refused:
        reach(Target.parse(text))
    return str(refused.value)


def require_unreadable_wal_is_noticed(backups: Backups, end: WalSegment) -> None:
    """What the server can't read it passes over; what was changed is refused before."""
    target = Target.parse(end.closed_at.isoformat())
    with pytest.MonkeyPatch.context() as patched:
        settings = moments._settings
        patched.setattr(
            moments,
            "_settings",
            lambda *args, **more: {**settings(*args, **more), "restore_command": "false"},
        )
        with pytest.raises(RestoreError) as short, recovered(target, Counter()):
            pass
    assert str(short.value).startswith("Recovery ended at 0/")
    assert "WAL is missing or could not be read" in str(short.value)

    cancelled = _CancelledAt("recovering ")
    with pytest.raises(CancelledError), recovered(target, cancelled):
        pass

    file = backups.folder / end.object_name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    with (
        pytest.raises(DamagedError, match="was changed after it was stored"),
        recovered(target, Counter()),
    ):
        pass
    assert list((backups.var / "scratch").iterdir()) == []
