#!/usr/bin/env python
"""Operators' door: `manage.py COMMAND`. Options of each command: `manage.py COMMAND --help`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
