"""What the embedded server is told: who may connect, and how it keeps its data."""

from collections.abc import Mapping
from pathlib import Path

from ops.postgres.places import PORT
from ops.postgres.roles import REPLICATION

SUPERUSER = "postgres"

# Settings that are ours. They stand in srvc.conf, written anew at every start; what an operator
# sets with ALTER SYSTEM stands in postgresql.auto.conf and wins.
DURABLE: Mapping[str, str] = {
    "listen_addresses": "",  # a unix socket only: nothing listens on the network
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",  # solid state disks; 4 makes the planner shun indexes
    "wal_level": "replica",
    "summarize_wal": "on",  # incremental backups need the summaries from before they are wanted
    "max_slot_wal_keep_size": "4GB",  # an idle replication slot must not fill the disk
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    "timezone": "UTC",
    "lc_messages": "C",  # failures are recognised by their text
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",  # one week, then each day overwrites its namesake
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_timezone": "UTC",
    "log_lock_waits": "on",
    "log_temp_files": "64MB",
}

# For tests: nothing survives a power cut, and nothing needs to.
THROW_AWAY: Mapping[str, str] = {
    **DURABLE,
    "shared_buffers": "128MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "checkpoint_timeout": "1h",
    "autovacuum_naptime": "10min",  # a worker in the template database would hold up its clones
}

# The operating system vouches for the superuser, so there is no superuser password to keep or lose.
ACCESS = f"""\
# Written by SRVC. Local connections only.
local  all          {SUPERUSER}  peer  map=operators
local  replication  {SUPERUSER}  peer  map=operators
local  all          all          scram-sha-256
"""
# The replication login reads everything there is at once, so it is kept to that.
_REPLICATION_ACCESS = f"""\
local  replication  {REPLICATION}  scram-sha-256
local  all          {REPLICATION}  reject
"""


def access(present: str) -> str:
    """Return pg_hba.conf with the replication login's lines, and everything else as it is there.

    The first line that fits decides, and these fit that login alone, so first is where they go.
    """
    return present if REPLICATION in present else _REPLICATION_ACCESS + present


def server_conf(settings: Mapping[str, str], socket: Path, log: Path) -> str:
    """Return srvc.conf, which postgresql.conf includes."""
    complete = {
        **settings,
        "port": str(PORT),
        "unix_socket_directories": '"' + str(socket).replace('"', '""') + '"',  # a list of names
        "log_directory": str(log),
    }
    lines = [f"{name} = {_quoted(value)}" for name, value in complete.items()]
    return "\n".join(["# Written by SRVC at every start; change it with ALTER SYSTEM.", *lines, ""])


def identities(users: set[str]) -> str:
    """Return pg_ident.conf: the operating system users who are the superuser here."""
    lines = [f'operators  "{user}"  {SUPERUSER}' for user in sorted(users)]
    return "\n".join(["# Written by SRVC at every start.", *lines, ""])


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
