"""Each planted fault is told, and its next step mends it and changes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.ops.health.planted import OF_A_DATABASE, planted
from tests.ops.health.planted.fault import Fault
from tests.ops.health.planting import Garden, each_of, garden, prove


@pytest.fixture(scope="module")
def plot(django_test_environment: None, django_db_blocker: Any) -> Iterator[Garden]:
    with garden(django_db_blocker) as made:
        yield made


@each_of(planted(*OF_A_DATABASE))
def test_a_planted_fault_is_told_and_its_next_step_does_what_it_says(
    plot: Garden, fault: Fault
) -> None:
    prove(plot, fault)
