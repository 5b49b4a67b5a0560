#!/usr/bin/env python
"""Operators' door: `manage.py COMMAND`. Options of each command: `manage.py COMMAND --help`."""

import os
import sys

from srvc import command_line, environment


def main() -> None:
    try:
        sys.argv = command_line.choose_environment(sys.argv)
    except environment.EnvironmentNameError as error:
        sys.stderr.write(f"srvc: {error}\n")
        sys.exit(command_line.status_of_wrong_usage(sys.argv))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")
    from django.core.management import execute_from_command_line

    from ops.errors import OpsError

    try:
        if sys.argv[1:2] == ["version"]:
            _run_version()
        else:
            execute_from_command_line(sys.argv)
    except OpsError as error:
        # Django's own commands know no such error: the owner's address may lead to a pooler.
        sys.stderr.write(f"srvc: {error}\n")
        sys.exit(1)


def _run_version() -> None:
    """Run our command of that name: Django answers the bare word itself, with its own version."""
    import django
    from django.core.management import ManagementUtility

    django.setup()
    ManagementUtility(sys.argv).fetch_command("version").run_from_argv(sys.argv)


if __name__ == "__main__":
    main()
