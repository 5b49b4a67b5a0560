"""The same of a whole server, on one that no other test uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ops.backups.replicating import replicating_server, server_of_a_module  # noqa: F401
from tests.ops.health.planted import OF_A_SERVER, planted
from tests.ops.health.planted.fault import Fault
from tests.ops.health.planting import Garden, each_of, garden, prove

server = server_of_a_module()


@pytest.fixture(scope="module")
def plot(server: object, django_db_blocker: Any) -> Iterator[Garden]:
    with garden(django_db_blocker) as made:
        yield made


@each_of(planted(*OF_A_SERVER))
def test_a_planted_fault_is_told_and_its_next_step_does_what_it_says(
    plot: Garden, fault: Fault
) -> None:
    prove(plot, fault)
