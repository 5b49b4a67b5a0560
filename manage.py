#!/usr/bin/env python
"""Operators' door: `manage.py COMMAND`. Options of each command: `manage.py COMMAND --help`."""

import os
import sys

from srvc import environment


def main() -> None:
    try:
        environment.choose_by_arguments(sys.argv)
    except environment.EnvironmentNameError as error:
        sys.exit(f"srvc: {error}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
