"""Which environment a command line names: in either place, never by mistake, never in silence."""

import os
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser

from srvc import command_line, environment
from srvc.command_line import COMMANDS, choose_environment
from srvc.environment import EnvironmentNameError

OURS = ("ops", "crm", "billing", "srvc")


@pytest.fixture(autouse=True)
def _there_is_production(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here are development, production and one that is called blue; nothing else is set."""
    for name in (".env", ".env.production", ".env.blue", ".env.example"):
        (tmp_path / name).touch()
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRVC_ENV", "")
    monkeypatch.delenv("SRVC_ENV_FILE", raising=False)


def chosen(line: str) -> tuple[str, str]:
    """The environment that a command line picks, "" for none, and what is left of the line."""
    rest = choose_environment(["manage.py", *line.split()])
    return os.environ["SRVC_ENV"], " ".join(rest[1:])


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("backup production", "backup"),
        ("backup production --name before_upgrade", "backup --name before_upgrade"),
        ("backup --name blue production", "backup --name blue"),
        ("backup --name=blue --full production", "backup --name=blue --full"),
        ("backups production", "backups"),
        ("backups production show 12", "backups show 12"),
        ("backups show 12 production", "backups show 12"),
        ("backups --prune --dry-run production", "backups --prune --dry-run"),
        ("verify production --latest --deep", "verify --latest --deep"),
        ("verify 12 13 production", "verify 12 13"),
        ("restore --latest production", "restore --latest"),
        ("restore 12 production", "restore 12"),
        ("restore production 12", "restore 12"),
        ("restore --undo production", "restore --undo"),
        ("restore --undo 3 production", "restore --undo 3"),
        ("restore production --undo", "restore --undo"),
        ("restore --to 0/3000060 production --dry-run", "restore --to 0/3000060 --dry-run"),
        ("restore --as blue --latest production", "restore --as blue --latest"),
        ("recover production --customer 12", "recover --customer 12"),
        ("recover dump.sql --table customers production", "recover dump.sql --table customers"),
        ("recover --undo 7 production", "recover --undo 7"),
        ("recover --customer production production", "recover --customer production"),
        ("exportaccount me@b.example out.tar production", "exportaccount me@b.example out.tar"),
        ("exportaccount production me@b.example out.tar", "exportaccount me@b.example out.tar"),
        ("importaccount out.tar --dry-run production", "importaccount out.tar --dry-run"),
        ("restorepoint production before-import", "restorepoint before-import"),
        ("restorepoint --list production", "restorepoint --list"),
        ("migrate production", "migrate"),
        ("migrate crm 0003 production", "migrate crm 0003"),
        ("migrate --database owner production", "migrate --database owner"),
        ("check production --deploy --tag security", "check --deploy --tag security"),
        ("drill production --latest --kind base", "drill --latest --kind base"),
        ("health production --nagios", "health --nagios"),
        ("health --area security production", "health --area security"),
        ("inspect production jobs", "inspect jobs"),
        ("inspect jobs production", "inspect jobs"),
        ("explain production -", "explain -"),
        ("walreceiver production --verbosity 0", "walreceiver --verbosity 0"),
        ("watch -v 0 production", "watch -v 0"),
        ("worker --queue-name default production", "worker --queue-name default"),
        (
            "importcsv customers a.csv production --account b",
            "importcsv customers a.csv --account b",
        ),
        ("restorepoint production production", "restorepoint production"),
    ],
)
def test_the_environment_stands_first_or_last(line: str, left: str) -> None:
    assert chosen(line) == ("production", left)


@pytest.mark.parametrize(
    "line",
    [
        "backup --name production",
        "backup --na production",
        "backups",
        "backups show production",
        "restore --as production --latest",
        "restore --undo 3",
        "recover --customer production",
        "recover --from-csv customers=production",
        "exportaccount me@b.example production",
        "exportaccount production blue",
        "importaccount production",
        "importcsv customers production --account me@b.example",
        "createaccount production --name Production",
        "restorepoint production",
        "verify srvc-production-2026-11-22",
        "verify 0a1b2c",
        "migrate crm",
        "inspect products",
        "restore ./production",
        "dbshell -- production",
        "help backup",
        "runserver 0.0.0.0:8000",
    ],
)
def test_what_only_looks_like_an_environment_is_left_alone(line: str) -> None:
    assert chosen(line) == ("", line)


@pytest.mark.parametrize(
    "line",
    [
        "backup prodction",
        "backups prodction",
        "restore --latest prodction",
        "restore --undo prodction",
        "restore 12 prodction",
        "restore prod",
        "recover prodction --customer 12",
        "verify produciton",
        "drill --latest prod",
        "exportaccount me@b.example out.tar prodction",
        "restorepoint --list prodction",
        "migrate prodction",
        "migrate crm prodction",
        "inspect prodction",
        "health Production",
        "seed --scale demo prodction",
        "dbping elsewhere",
    ],
)
def test_a_misspelt_one_is_an_error_that_names_the_valid_ones(line: str) -> None:
    with pytest.raises(EnvironmentNameError, match="blue, development, production"):
        chosen(line)
    assert os.environ["SRVC_ENV"] == ""


@pytest.mark.parametrize(
    "line",
    [
        "backup production blue",
        "restore blue 12 production",
        "restorepoint blue production",
        "backups blue production show 12",
    ],
)
def test_two_environments_are_refused(line: str) -> None:
    with pytest.raises(EnvironmentNameError):
        chosen(line)


@pytest.mark.parametrize("line", ["restore production", "recover --customer 12 production"])
def test_a_file_of_that_name_has_to_be_told_apart(line: str, tmp_path: Path) -> None:
    (tmp_path / "production").touch()
    if line == "restore production":
        with pytest.raises(EnvironmentNameError, match=r"\./production"):
            chosen(line)
    assert chosen(line.replace("production", "./production"))[0] == ""


def test_a_file_of_that_name_is_no_matter_where_both_are_named(tmp_path: Path) -> None:
    (tmp_path / "production").touch()
    assert chosen("restore production production") == ("production", "restore production")


@pytest.mark.parametrize(
    "line", ["makemigrations production", "loaddata production", "runserver production"]
)
def test_a_command_that_takes_none_says_how_to_name_it(line: str) -> None:
    with pytest.raises(EnvironmentNameError, match="SRVC_ENV=production"):
        chosen(line)


def test_the_command_line_wins_over_srvc_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRVC_ENV", "blue")
    assert chosen("backup production") == ("production", "backup")


def test_srvc_env_names_one_that_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRVC_ENV", "container")
    assert chosen("restore --latest container") == ("container", "restore --latest")


def test_a_second_one_beside_a_file_of_its_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRVC_ENV", "blue")
    monkeypatch.setenv("SRVC_ENV_FILE", str(tmp_path / ".env.blue"))
    with pytest.raises(EnvironmentNameError, match="SRVC_ENV_FILE"):
        chosen("backup production")


def test_wrong_usage_is_told_apart_from_what_a_command_finds() -> None:
    assert command_line.status_of_wrong_usage(["manage.py", "verify", "x"]) == 2
    assert command_line.status_of_wrong_usage(["manage.py", "health", "x"]) == 64
    assert command_line.status_of_wrong_usage(["manage.py", "health", "x", "--nagios"]) == 3


# --- the table against the parsers -------------------------------------------------------------


def parser_of(command: str) -> CommandParser:
    """The real parser of a command, from where Django finds it."""
    app = get_commands()[command]
    found = load_command_class(app, command) if isinstance(app, str) else app
    return found.create_parser("manage.py", command)


def test_every_command_of_srvc_is_in_the_table() -> None:
    ours = {name for name, app in get_commands().items() if str(app).split(".")[0] in OURS}
    assert ours - COMMANDS.keys() == set(), "add a line to srvc.command_line.COMMANDS"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_says_which_options_take_a_value(command: str) -> None:
    options = [each for each in parser_of(command)._actions if each.option_strings]
    valued = {name for each in options if each.nargs != 0 for name in each.option_strings}
    known = {*COMMANDS[command].valued, *command_line._GLOBAL}
    assert known - {"--undo"} == valued - {"--undo"}
    for each in options:
        if each.nargs == 0:
            assert not any(COMMANDS[command].takes_value(name) for name in each.option_strings)
    unknown = {*COMMANDS[command].instead} - {name for o in options for name in o.option_strings}
    assert unknown == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_says_how_many_words_a_command_takes(command: str) -> None:
    words = COMMANDS[command]
    least, most = words.least, words.most
    for action in parser_of(command)._actions:
        if action.option_strings:
            continue
        if action.nargs is None:
            least, most = least - 1, None if most is None else most - 1
        elif action.nargs == "+":
            least, most = least - 1, None
        elif action.nargs == "?":
            most = None if most is None else most - 1
        else:  # any number: the command itself counts them
            least, most = 0, None
    assert least == 0
    assert most in (0, None)
