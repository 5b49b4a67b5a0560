"""Lines of a server's log become messages, in each of its formats; secrets stay out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.health.serverlog.entries import Entry
from ops.health.serverlog.masking import masked
from ops.health.serverlog.parsing import Format, parser_for
from ops.health.serverlog.prefix import moment
from ops.health.serverlog.summary import summarize
from tests.ops.health.commanding import Manage

AT = datetime(2026, 11, 22, 14, 5, 1, 123000, UTC)
PREFIX = "%m [%p] %q%u@%d "
PLAIN = """\
2026-11-22 14:05:01.123 UTC [11] LOG:  checkpoint starting: time
2026-11-22 14:05:01.123 UTC [12] ann@shop ERROR:  relation "nowhere" does not exist at character 15
2026-11-22 14:05:01.123 UTC [12] ann@shop HINT:  Look elsewhere.
2026-11-22 14:05:01.123 UTC [12] ann@shop STATEMENT:  SELECT 'a
\tb: c' FROM nowhere
2026-11-22 14:05:01.123 UTC [13] ann@shop LOG:  duration: 1234.500 ms  execute <unnamed>: SELECT *
\tFROM jobs
2026-11-22 14:05:01.123 UTC [13] ann@shop DETAIL:  Parameters: $1 = '7'
2026-11-22 14:05:01.123 UTC [14] ann@shop LOG:  process 14 still waiting for ShareLock on transac
2026-11-22 14:05:01.123 UTC [15] ann@shop LOG:  temporary file: path "base/t", size 70000000
2026-11-22 14:05:01.123 UTC [16] ann@shop ERROR:  deadlock detected
2026-11-22 14:05:01.123 UTC [17] LOG:  automatic vacuum of table "shop.public.jobs": index scans: 0
2026-11-22 14:05:01.123 UTC [18] ann@shop FATAL:  terminating connection
archive: no such file
"""


def parsed(text: str, name: str = "a.log", known: Format | None = None) -> list[Entry]:
    parser = parser_for(name, known or Format(PREFIX))
    found = [entry for line in text.splitlines() for entry in parser.take(line)]
    return [*found, *parser.end()]


def test_lines_belong_together_and_are_known_by_what_they_say() -> None:
    found = parsed(PLAIN)
    assert [(each.level, each.topic) for each in found] == [
        ("info", "checkpoint"),
        ("error", "error"),
        ("warning", "slow statement"),
        ("warning", "lock wait"),
        ("warning", "temporary file"),
        ("error", "deadlock"),
        ("info", "autovacuum"),
        ("fatal", "error"),
    ]
    assert {each.at for each in found} == {AT}
    error, slow, file = found[1], found[2], found[4]
    assert (error.user, error.database, error.pid) == ("ann", "shop", 12)
    assert (error.statement, error.extra) == (
        "SELECT 'a\nb: c' FROM nowhere", {"hint": "Look elsewhere."},
    )  # fmt: skip
    assert (slow.milliseconds, slow.statement) == (1234.5, "SELECT *\nFROM jobs")
    assert slow.extra == {"detail": "Parameters: $1 = '7'"}
    assert file.bytes == 70_000_000
    # What another program wrote in between belongs to the message before it.
    assert found[-1].message == "terminating connection\narchive: no such file"


@pytest.mark.parametrize(
    ("prefix", "before"),
    [
        ("%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
         "2026-11-22 14:05:01 UTC [12]: [3-1] user=ann,db=shop,app=a b,client=10.0.0.1 "),
        ("%n %p %c %Q %e %b %%: ",
         "1795356301.123 12 6b03cd65.7b18 -77 42P01 client backend %: "),
        ("%-10p|%10u|%m ", "12        |       ann|2026-11-22 14:05:01.123 UTC "),
        ("", ""),
    ],
)  # fmt: skip
def test_any_prefix_is_understood(prefix: str, before: str) -> None:
    (found,) = parsed(f'{before}ERROR:  relation "x: y" is gone', known=Format(prefix))
    assert (found.severity, found.message) == ("ERROR", 'relation "x: y" is gone')
    if prefix:
        assert found.pid == 12
        assert found.at is not None
        assert found.at.replace(microsecond=0) == AT.replace(microsecond=0)
    if "user" in prefix:
        assert (found.user, found.database, found.application) == ("ann", "shop", "a b")
    # And by nobody's knowledge of it, as far as prefixes are alike.
    (found,) = parsed(f"{before}FATAL:  no", known=Format(None))
    assert (found.level, found.message) == ("fatal", "no")


def test_csv_and_json_say_the_same() -> None:
    statement = "SELECT \"a\",\n  'b' FROM nowhere"
    quoted = '"' + statement.replace('"', '""') + '"'
    record = (
        '2026-11-22 14:05:01.123 UTC,"ann","shop",12,"[local]",6b.7,1,"SELECT",'
        "2026-11-22 14:00:00 UTC,3/30,0,ERROR,42P01,"
        f'"relation ""nowhere"" does not exist",,"Look.",,,,{quoted},26,,"psql","client backend",,0'
    )
    document = {
        "timestamp": "2026-11-22 14:05:01.123 UTC", "user": "ann", "dbname": "shop", "pid": 12,
        "error_severity": "ERROR", "state_code": "42P01", "hint": "Look.",
        "message": 'relation "nowhere" does not exist', "statement": statement,
        "application_name": "psql",
    }  # fmt: skip
    rest = f"rest of one,\n{record}\n{record}\n"
    (one, again), (other,) = parsed(rest, "a.csv"), parsed(json.dumps(document) + "\n{", "a.json")
    assert one == again == other
    assert (one.statement, one.code, one.extra) == (statement, "42P01", {"hint": "Look."})


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("ALTER ROLE x PASSWORD 'gehe''im'", "ALTER ROLE x PASSWORD ***"),
        ("CREATE USER x LOGIN ENCRYPTED PASSWORD E'geh\\'eim' VALID", "… PASSWORD *** VALID"),
        ("alter role x password $a$geheim$a$;", "alter role x password ***;"),
        ("ALTER ROLE x PASSWORD 'geheim cut o", "ALTER ROLE x PASSWORD ***"),
        ("OPTIONS (user 'u', password 'geheim')", "OPTIONS (user 'u', password ***)"),
        ("UPDATE users SET \"password\" = 'geheim' WHERE", '… "password" = *** WHERE'),
        ("SELECT set_config('x.password', 'geheim', true)", "… 'x.password', ***, true)"),
        ("conninfo 'host=h password=geheim port=1'", "conninfo 'host=h password=*** port=1'"),
        ("to postgres://ann:geheim@h/db", "to postgres://ann:***@h/db"),
        ("'SCRAM-SHA-256$4096:geheim'", "'SCRAM-SHA-256$***'"),
        ("'argon2$argon2id$v=19$geheim'", "'argon2$***'"),
        ("SELECT password FROM users WHERE id = '1'", "SELECT password FROM users WHERE id = '1'"),
    ],
)
def test_passwords_are_masked(text: str, safe: str) -> None:
    found = masked(text)
    assert "geheim" not in found
    assert found.endswith(safe.removeprefix("… "))


def test_values_sent_beside_a_statement_about_secrets_are_masked() -> None:
    before = "2026-11-22 14:05:01.123 UTC [12] ann@shop "
    (found,) = parsed(
        f"{before}LOG:  duration: 9.0 ms  execute a: UPDATE users SET password = $1\n"
        f"{before}DETAIL:  Parameters: $1 = 'geheim', $2 = 'more\n\tgeheim'"
    )
    assert found.extra == {"detail": "Parameters: ***"}


def test_equal_messages_are_told_once() -> None:
    lines = [
        f"2026-11-22 14:0{n}:01.000 UTC [1{n}] a@b ERROR:  division of {n} by zero in 't{n}'"
        for n in range(5)
    ]
    lines += [
        f"2026-11-22 14:00:01.000 UTC [1] a@b LOG:  duration: {n}.0 ms  statement: SELECT {n}"
        for n in (10, 30)
    ]
    error, slow = summarize(parsed("\n".join(lines))).ordered()
    assert (error.count, error.level, error.topic) == (5, "error", "error")
    assert error.example == "division of 0 by zero in 't0'"
    assert (str(error.first)[11:16], str(error.last)[11:16]) == ("14:00", "14:04")
    assert (slow.count, slow.milliseconds, slow.longest) == (2, 40.0, 30.0)


def test_times_are_the_logs_own_zone() -> None:
    summer = moment("2026-07-01 12:00:00.5 CEST", "Europe/Berlin")
    assert summer == datetime(2026, 7, 1, 10, 0, 0, 500_000, UTC)
    # An hour that comes twice, on the day on which clocks are put back.
    assert moment("2026-10-25 02:30:00 CEST", "Europe/Berlin") == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert moment("2026-10-25 02:30:00 CET", "Europe/Berlin") == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )
    assert moment("2026-07-01 12:00:00 +03", "") == datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert moment("never UTC") is None


def test_a_file_from_elsewhere_is_shown(tmp_path: Path, manage: Manage) -> None:
    file = tmp_path / "old.log"
    file.write_text(PLAIN.replace("Look elsewhere", "\x1b[31mLook\x07"))
    ended = manage("dblogs", "--file", str(file))
    assert ended.status == 0
    assert 'error    relation "nowhere" does not exist at character 15  [12]' not in ended.out
    assert 'error    relation "nowhere" does not exist at character 15' in ended.out
    assert "    statement: SELECT 'a" in ended.out
    assert "slow statement  duration: 1234.500 ms" in ended.out
    assert "checkpoint" not in ended.out
    assert "\x1b" not in ended.out
    assert "hint: �[31mLook�." in ended.out
    lines = manage("dblogs", "--file", str(file), "--level", "error", "--json").out.splitlines()
    assert [json.loads(line)["topic"] for line in lines] == ["error", "deadlock", "error"]
    told = manage("dblogs", "--file", str(file), "--summary", "--json").json
    assert told["title"] == "6 messages of 6 kinds"
    assert "fatal" in manage("dblogs", "--file", str(file), "--summary").out
    assert "Nothing of level warning or above" in (
        manage("dblogs", "--file", str(file), "--since", "1h").out
    )
    for arguments, status, said in [
        (["--file", str(tmp_path / "none")], 1, "There is no file"),
        (["--since", "yesterday-ish"], 2, "is no time. Nothing was shown."),
        (["--follow", "--summary"], 2, "A summary is of what is there."),
    ]:
        ended = manage("dblogs", *arguments)
        assert (ended.status, said in ended.err) == (status, True)
