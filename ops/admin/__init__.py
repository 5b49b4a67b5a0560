"""The pages of operations, one file each, and what every page of the admin is built from.

Importing this package registers the pages.
"""

from ops.admin import backups, drills, health, recoveries, restores, runs, statements

__all__ = ["backups", "drills", "health", "recoveries", "restores", "runs", "statements"]
