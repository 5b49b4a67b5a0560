"""The process that migrates a database beside: both aliases name it, from the first moment on.

Its addresses come through its input as JSON, because they hold passwords. Run by migrating.py.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Migrate what the input names."""
    addresses: dict[str, dict[str, Any]] = json.load(sys.stdin)
    import django
    from django.conf import settings

    for alias, address in addresses.items():
        settings.DATABASES[alias].update(address)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", database="owner", interactive=False, verbosity=1)


if __name__ == "__main__":
    main()
