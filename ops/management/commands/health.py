"""`manage.py health`: what is wrong with the database, since when, and what to do."""

from __future__ import annotations

import sys
from typing import IO, Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ops.health.contract import Check
from ops.health.errors import HealthError
from ops.health.look import Look, look_at
from ops.health.selection import chosen
from ops.health.verdict import Exit, nagios, nagios_line, status
from ops.management import health_tables
from ops.management.edge import (
    INTERRUPTED,
    describe,
    require_settings,
    stopped_by_signals,
    told_plainly,
)
from ops.management.progress import make_progress
from ops.management.reporting import console, dump
from ops.models import Area, CheckResult, Severity
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import PoolerError, ServerError
from ops.progress import CancelledError
from ops.rls.router import OWNER_ALIAS, as_owner_by_default

_HELP = """\
Look at the database: what is wrong, since when, and what to do. It reads only, keeps what it finds
(Operations → Health in the admin shows the same), and repairs nothing.

  health                                  everything; the worst first
  health --area security --area backups   only these areas
  health --check orphans --deep           one check, with all the time it wants
  health --nagios                         one line for a monitoring system
  health --list                           which checks there are

Exit status: 0 nothing at or above --fail-on, 1 warnings (or info, with --fail-on info), 2 critical,
or the database can't be reached; 64 wrong usage; 130 interrupted. What could not be seen is a
warning, and so is a run whose findings could not be recorded, whatever --fail-on says: 0 means that
everything was checked, recorded and found healthy. With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3
UNKNOWN (something could not be seen or recorded and nothing worse was found, or wrong usage).
"""


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "health")
        parser.add_argument(
            "--area", action="append", default=[], metavar="AREA", help=", ".join(Area.values)
        )
        parser.add_argument("--check", action="append", default=[], metavar="CHECK", help="a name")
        parser.add_argument("--deep", action="store_true", help="read everything, however long")
        parser.add_argument(
            "--fail-on",
            choices=Severity.values,
            default=Severity.WARNING.value,
            help="from which severity on the exit status is not 0 (default: warning)",
        )
        parser.add_argument("--list", action="store_true", help="list the checks; run none")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="print everything as JSON")
        how.add_argument("--nagios", action="store_true", help="print a plugin's line")

    def run_from_argv(self, argv: list[str]) -> None:
        # argparse ends with 2, which means critical here.
        self._called_from_command_line = True
        try:
            self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        except SystemExit as end:
            wrong = Exit.UNKNOWN if "--nagios" in argv else Exit.USAGE
            sys.exit(wrong if end.code else Exit.OK)
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = Exit.UNKNOWN if options["nagios"] else Exit.USAGE
        checks = self._checks(options, wrong)
        fail_on = Severity(options["fail_on"])
        with as_owner_by_default(), told_plainly():
            self._require_server(options)
            if options["list"]:
                self._list(checks, as_json=options["json"])
                return
            look = self._look(checks, options)
        if look.not_recorded:
            # It may have gone in the middle; then the rest is unseen, and that is not the point.
            self._require_server(options)
        if options["nagios"]:
            state, line = nagios(look, fail_on)
            self.stdout.write(line)
            sys.exit(state)
        if options["json"]:
            document = health_tables.look_as_json(look)
            self.stdout.write(dump({"exit": int(status(look, fail_on)), **document}))
        else:
            out = console(cast("IO[str]", self.stdout._out))
            health_tables.show_look(out, look)
        if state := status(look, fail_on):
            sys.exit(state)

    def _checks(self, options: dict[str, Any], wrong: Exit) -> list[Check]:
        try:
            require_settings("DATABASE_")
            found = chosen(options["area"], options["check"])
        except (CommandError, HealthError) as error:
            self._refuse(str(error), wrong)
        if not found:
            asked = ", ".join(options["area"]) or "settings.HEALTH_CHECKS"
            self._refuse(f"There is no check in {asked}, so nothing was looked at.", wrong)
        return found

    def _refuse(self, sentence: str, wrong: Exit) -> Any:
        if wrong is Exit.UNKNOWN:
            self.stdout.write(nagios_line(wrong, sentence))
            sys.exit(wrong)
        raise CommandError(sentence, returncode=wrong)

    def _require_server(self, options: dict[str, Any]) -> None:
        """End when the database can't be reached: whatever the checks are, that is critical."""
        try:
            Endpoint.of(OWNER_ALIAS).connect(application_name="srvc health").close()
        except ServerError as error:
            is_pooled = isinstance(error, PoolerError)
            said = str(error) if is_pooled else f"The database can't be reached: {error}"
            if options["nagios"]:
                self.stdout.write(nagios_line(Exit.CRITICAL, said))
                sys.exit(Exit.CRITICAL)
            if options["json"]:
                self.stdout.write(
                    dump({"exit": int(Exit.CRITICAL), "at": timezone.now(), "unreachable": said})
                )
            step = f" `manage.py dbping {settings.ENVIRONMENT}` says at which step it fails."
            raise CommandError(
                said if is_pooled else said + step, returncode=Exit.CRITICAL
            ) from None

    def _look(self, checks: list[Check], options: dict[str, Any]) -> Look:
        quiet = options["json"] or options["nagios"]
        err = cast("IO[str]", self.stderr._out)
        with make_progress(err, json=quiet) as progress, stopped_by_signals(progress):
            try:
                return look_at(checks, deep=options["deep"], progress=progress)
            except CancelledError:
                raise CommandError(
                    "It was interrupted. What was found until then is kept.",
                    returncode=INTERRUPTED,
                ) from None

    def _list(self, checks: list[Check], *, as_json: bool) -> None:
        names = [check.name for check in checks]
        rows = CheckResult.objects.filter(check_name__in=names)
        results = {row.check_name: row for row in rows}
        if as_json:
            self.stdout.write(dump(health_tables.checks_as_json(checks, results)))
            return
        out = console(cast("IO[str]", self.stdout._out))
        health_tables.show_checks(out, checks, results, timezone.now())
