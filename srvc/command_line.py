"""Which environment a command line names, decided here for every `manage.py` command.

The environment may stand first or last among a command's words (`manage.py backup production`,
`manage.py restore --latest production`). It is taken off the command line before the settings are
loaded, so no command parses it. The commands' parsers exist only once the settings are loaded: that
is why COMMANDS says once more which options take a value. A test holds it against the parsers.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srvc import environment
from srvc.environment import EnvironmentNameError

_GLOBAL = ("-v", "--verbosity", "--settings", "--pythonpath")
_NO_NUMBER_NEEDED = "--undo"  # `restore --undo` takes a number or nothing
_CLOSE = 0.85  # as alike as two names of which one is mistyped
_LETTERS = re.compile(r"[a-z_-]+")
_SHORTENED = 3  # letters of an environment's name that are meant as the whole


@dataclass(frozen=True)
class Words:
    """What a command takes besides its environment."""

    least: int = 0
    most: int | None = 0  # None: any number
    valued: tuple[str, ...] = ()  # options that are followed by a value
    instead: tuple[str, ...] = ()  # options that leave no room for words of the command's own
    verbs: tuple[str, ...] = ()  # a first word that takes exactly one more
    files: bool = False  # its words may name files

    def takes_value(self, option: str) -> bool:
        """Tell whether the word after this option, perhaps shortened, belongs to it."""
        names = (*self.valued, *_GLOBAL)
        if option.startswith("--"):
            return option in names or any(name.startswith(option) for name in names)
        return option[:2] in names and len(option) == 2

    def allowed(self, own: Sequence[str], options: Sequence[str]) -> tuple[int, int]:
        """Return how many words of its own a command takes, at least and at most."""
        if any(option in self.instead for option in options):
            return 0, 0
        if self.verbs:
            number = 2 if any(word in self.verbs for word in own[:2]) else 0
            return number, number
        return self.least, len(own) + 1 if self.most is None else self.most


COMMANDS: dict[str, Words] = {
    "axes_reset_username": Words(least=1, most=None),
    "backup": Words(valued=("--table", "--name", "--output", "--jobs")),
    "backupkeys": Words(valued=("--output",)),
    "backups": Words(
        verbs=("show", "pin", "unpin", "delete", "cancel"),
        valued=("--kind", "--state", "--limit", "--reason"),
    ),
    "changepassword": Words(most=1, valued=("--database",)),
    "check": Words(most=None, valued=("--tag", "-t", "--fail-level", "--database")),
    "clearsessions": Words(),
    "collectstatic": Words(valued=("-i", "--ignore")),
    "createaccount": Words(
        least=1,
        most=1,
        valued=("--name", "--plan", "--currency", "--time-zone", "--phone-region"),
    ),
    "createadministrator": Words(least=1, most=1, valued=("--first-name", "--last-name")),
    "createsuperuser": Words(valued=("--email", "--database", "--username")),
    "dblogs": Words(valued=("--level", "--since", "--file")),
    "dbping": Words(valued=("--count", "--timeout")),
    "dbshell": Words(valued=("--database",)),
    "dbstatus": Words(),
    "drill": Words(
        most=1, valued=("--to", "--kind"), instead=("--latest", "--random", "--to", "--list")
    ),
    "explain": Words(most=1, valued=("--file", "--as", "--limit"), instead=("--file",)),
    "exportaccount": Words(least=2, most=2, files=True),
    "health": Words(valued=("--area", "--check", "--fail-on")),
    "importaccount": Words(least=1, most=1, valued=("--as-email",), files=True),
    "importcsv": Words(
        least=2,
        most=None,
        valued=("--account", "--map", "--encoding", "--delimiter", "--dates", "--paid"),
        files=True,
    ),
    "inspect": Words(most=1, valued=("--report",), instead=("--report",)),
    "migrate": Words(most=2, valued=("--database",)),
    "provision": Words(),
    "recover": Words(
        most=1,
        valued=(
            *("--to", "--from-csv", "--table", "--account", "--customer", "--where"),
            *("--columns", "--mode", "--rows", "--undo"),
        ),
        instead=("--latest", "--to", "--from-csv", "--undo", "--list"),
        files=True,
    ),
    "resettwofactor": Words(least=1, most=1),
    "restore": Words(
        most=1,
        valued=("--to", "--as", "--jobs", "--file"),
        instead=("--latest", "--to", "--undo", "--list"),
        files=True,
    ),
    "restorepoint": Words(least=1, most=1, instead=("--list",)),
    "seed": Words(valued=("--scale", "--seed", "--today")),
    "showmigrations": Words(most=None, valued=("--database",)),
    "smoketest": Words(),
    "sqlmigrate": Words(least=2, most=2, valued=("--database",)),
    "verify": Words(
        most=None, valued=("--kind",), instead=("--latest", "--all", "--kind", "--wal"), files=True
    ),
    "version": Words(),
    "walreceiver": Words(valued=("--stop-after",)),
    "watch": Words(valued=("--every",)),
    "worker": Words(
        valued=(
            *("--queue-name", "--exclude-queues", "--interval", "--backend", "--max-tasks"),
            "--worker-id",
        )
    ),
}


def choose_environment(arguments: Sequence[str]) -> list[str]:
    """Let the command line pick the environment (`SRVC_ENV`); return it without that word.

    Raises EnvironmentNameError when what stands there is none, or could be something else.
    """
    environment.environment_name()  # what SRVC_ENV says has to be a name in any case
    if len(arguments) < 3:
        return list(arguments)
    command, rest = arguments[1], list(arguments[2:])
    if command not in COMMANDS:
        _refuse_elsewhere(command, rest)
        return list(arguments)
    found = _environment_at(command, rest)
    if found is None:
        return list(arguments)
    name = rest.pop(found)
    _require_one_file(name)
    os.environ["SRVC_ENV"] = name
    return [*arguments[:2], *rest]


def status_of_wrong_usage(arguments: Sequence[str]) -> int:
    """Return what a command ends with that was called wrongly; 1 and 2 are findings of health."""
    if arguments[1:2] == ["health"]:
        return 3 if "--nagios" in arguments else 64
    return 2


def recognized_environments() -> list[str]:
    """Names that are taken for an environment's: the usual three, and those that have a file."""
    return sorted({environment.DEVELOPMENT, "staging", environment.PRODUCTION}
                  | set(environment.known_environments()))  # fmt: skip


def _environment_at(command: str, rest: list[str]) -> int | None:
    """Return where the environment stands among the arguments; None where none is named."""
    grammar = COMMANDS[command]
    places, options = _words(grammar, rest)
    words = [rest[place] for place in places]
    least, most = grammar.allowed(words, options)
    if len(words) <= least and len(words) <= most:
        return None
    ends = dict.fromkeys([places[0], places[-1]])
    named = [place for place in ends if rest[place] in recognized_environments()]
    if not named:
        if len(words) > most:
            raise _no_environment(command, words, own=most)
        _refuse_misspelt(command, [words[0], words[-1]])
        return None
    if len({rest[place] for place in named}) > 1:
        raise _ambiguous(command, [rest[place] for place in named])
    if len(words) - 1 > most:
        raise _no_environment(command, [w for w in words if w != rest[named[0]]], own=most)
    if grammar.files and len(words) <= most and Path(rest[named[0]]).exists():
        raise _also_a_file(command, rest[named[0]])
    return named[0]


def _words(grammar: Words, rest: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return where words stand that belong to no option, and the options that are given."""
    places, options, skip = [], [], False
    for place, argument in enumerate(rest):
        if skip:
            skip = False
        elif argument == "--":
            break
        elif argument.startswith("-") and argument != "-":
            name, equals, _ = argument.partition("=")
            options.append(name)
            skip = not equals and grammar.takes_value(name)
        elif not (options[-1:] == [_NO_NUMBER_NEEDED] and argument.isdecimal()):
            places.append(place)
    return places, options


def _require_one_file(name: str) -> None:
    """Refuse a second environment beside the one whose file `SRVC_ENV_FILE` names."""
    given = os.environ.get("SRVC_ENV", "").strip()
    if os.environ.get("SRVC_ENV_FILE") and given and given != name:
        raise EnvironmentNameError(
            f"The command line names {name}, but SRVC_ENV is {given} and SRVC_ENV_FILE names its "
            "file. Nothing was started. Leave one of them out."
        )


def _refuse_elsewhere(command: str, rest: Sequence[str]) -> None:
    """Refuse an environment's name where a command takes none: it would be development's."""
    for place, word in ((0, rest[0]), (len(rest) - 1, rest[-1])):
        after_option = place > 0 and rest[place - 1].startswith("-")
        if word in recognized_environments() and not after_option:
            raise EnvironmentNameError(
                f"manage.py {command} takes no environment. Nothing was started. Run: "
                f"SRVC_ENV={word} manage.py {command} …"
            )


def _refuse_misspelt(command: str, words: Sequence[str]) -> None:
    """Refuse a word that is nearly an environment's name: another one's data would be meant."""
    for word in words:
        if _is_nearly_one(word):
            raise EnvironmentNameError(
                f"{word!r} is not an environment. Nothing was started. {_valid_names()} If it is "
                f"something else, name the environment too: manage.py {command} "
                f"{environment.DEVELOPMENT} {word}"
            )


def _is_nearly_one(word: str) -> bool:
    names, word = recognized_environments(), word.lower()
    if not _LETTERS.fullmatch(word):
        return False  # a path, an address, a backup's number or whole name
    if len(word) >= _SHORTENED and any(name.startswith(word) for name in names):
        return True
    return bool(difflib.get_close_matches(word, names, n=1, cutoff=_CLOSE))


def _no_environment(command: str, words: Sequence[str], *, own: int) -> EnvironmentNameError:
    ends = [repr(word) for word in dict.fromkeys([words[0], words[-1]])]
    unknown = f"{ends[0]} is not" if len(ends) == 1 else f"Neither {ends[0]} nor {ends[1]} is"
    takes = f"{own} of its own and the environment" if own else "no word but the environment"
    return EnvironmentNameError(
        f"{unknown} an environment, and manage.py {command} takes {takes} here. "
        f"Nothing was started. {_valid_names()}"
    )


def _ambiguous(command: str, names: Sequence[str]) -> EnvironmentNameError:
    return EnvironmentNameError(
        f"manage.py {command} names two environments: {' and '.join(names)}. Nothing was started. "
        f"Say which is meant: SRVC_ENV={names[0]} manage.py {command} …"
    )


def _also_a_file(command: str, name: str) -> EnvironmentNameError:
    return EnvironmentNameError(
        f"{name} is an environment, and a file of that name is here. Nothing was started. Say "
        f"./{name} for the file, or SRVC_ENV={name} manage.py {command} … for the environment."
    )


def _valid_names() -> str:
    return f"Environments here: {', '.join(environment.known_environments())}."
