"""Settings of the benchmarks: known values as in the tests, but connections that stay open."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

for _database in DATABASES.values():
    _database["CONN_MAX_AGE"] = 600
