"""The application's settings for tests: the same file, in an environment of known values.

The developer's `.env` is not read, so the suite says the same on every machine.
"""

import os

from tests.harness import run

os.environ.update(
    {
        "SRVC_ENV": "development",
        "SRVC_ENV_FILE": os.devnull,
        "SRVC_VAR": str(run.folder() / "var"),
        "SECRET_KEY": "a key for tests, used nowhere else and long enough for every check",
        "DEBUG": "false",
        "BACKUP_SIGNING_KEY": "a key that signs the manifests of tests and of nothing else at all",
    }
)
# Real addresses come with the first test that needs a database (tests/harness/database.py).
os.environ.setdefault("DATABASE_URL", "postgres://srvc_app@127.0.0.1:1/no_database_yet")
os.environ.setdefault("DATABASE_OWNER_URL", "postgres://srvc_owner@127.0.0.1:1/no_database_yet")
for leftover in ("PORT", "HOST", "DEMO_PASSWORD", "DATABASE_ADMIN_URL", "DATABASE_REPLICATION_URL"):
    os.environ.pop(leftover, None)
for leftover in [name for name in os.environ if name.startswith(("BACKUP_", "AWS_"))]:
    if leftover != "BACKUP_SIGNING_KEY":
        del os.environ[leftover]

from srvc.settings import *  # noqa: E402, F403
from srvc.settings import DATABASES, STATIC_ROOT, STORAGES  # noqa: E402

# Files as they stand in the source: tests do not collect them first.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns about a missing folder
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# Signing in is not what most tests are about, and a real hash takes 50 ms each time.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.Argon2PasswordHasher",
]
for _database in DATABASES.values():
    _database["OPTIONS"].pop("pool", None)  # a pool would keep connections to dropped clones
    _database["CONN_MAX_AGE"] = 0

# The server of tests loses its data on purpose (ops/postgres/configuration.py, .ci/run).
HEALTH_ACCEPTED = dict.fromkeys(
    (
        "server_settings:fsync",
        "server_settings:full_page_writes",
        "server_settings:synchronous_commit",
    ),
    "A server of tests is thrown away.",
)
