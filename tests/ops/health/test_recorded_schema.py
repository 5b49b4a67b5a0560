"""What is recorded of the schema is what migrations make, on every version of PostgreSQL."""

from __future__ import annotations

import os

from ops.health.checks.migrations import names_of_the_code
from ops.health.schema import recorded as file
from ops.health.schema.definitions import read_definitions
from ops.health.schema.recorded import Recorded, recorded
from tests.harness import database
from tests.ops.health.conftest import Patient

# Set by `make schema`, which writes the file anew.
WRITE = "SRVC_RECORD_SCHEMA"


def made(patient: Patient) -> Recorded:
    connection = database.connect(patient.name)
    with connection, connection.transaction():
        return Recorded(names_of_the_code(), read_definitions(connection))


def test_the_recorded_schema_is_what_migrations_make(patient: Patient) -> None:
    now = made(patient)
    if os.environ.get(WRITE):
        file.FILE.write_text(now.as_json())
        recorded.cache_clear()
    was = recorded()
    assert was.migrations == now.migrations, "a migration was added: run `make schema`"
    before = {key: each.compared for key, each in was.definitions.items()}
    after = {key: each.compared for key, each in now.definitions.items()}
    differ = sorted(
        key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    )
    assert differ == [], "the schema has changed: run `make schema`"
    besides = [key for key, each in was.definitions.items()
               if each.besides != now.definitions[key].besides]  # fmt: skip
    assert besides == []


def test_the_recorded_schema_has_an_object_a_line() -> None:
    assert recorded().as_json() == file.FILE.read_text()
    assert len(recorded().tables) > 50
    assert {each.kind for each in recorded().definitions.values()} >= {
        "policy", "constraint", "trigger", "function", "index", "default", "owner",
    }  # fmt: skip
