"""Planting a fault in a database that is used again, and taking the next step of what tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from ops.backups.fingerprint import fingerprint
from ops.health.contract import Reported
from ops.health.selection import all_checks
from tests.harness import database
from tests.ops.health.conftest import Patient
from tests.ops.health.perspectives import OF_FAULTS, seen_by
from tests.ops.health.planted.fault import ByAPerson, Fault, Looks, Mends
from tests.ops.health.stepping import take

CHECKS = {check.name: check for check in all_checks()}


class Garden:
    """A database for one fault after the other, made anew where a fault left something."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._stack = ExitStack()
        self._pristine: dict[str, str] = {}
        self._patient: Patient | None = None

    def patient(self) -> Patient:
        """Return a database without faults."""
        if self._patient is None:
            name = self._stack.enter_context(database.clone(self._label))
            self._stack.enter_context(database.pointed_at(name))
            self._patient = Patient(name)
            self._pristine = self.definitions()
        self._patient.memories.clear()
        return self._patient

    def definitions(self) -> dict[str, str]:
        """Return the fingerprint of each object."""
        assert self._patient is not None
        with database.connect(self._patient.name) as connection:
            return fingerprint(connection).objects

    def tidy(self, fault: Fault) -> None:
        """Take back what is outside of the database, and give the database away if need be."""
        if self._patient is None:
            return
        for statement in fault.undo:
            self._patient.execute(*statement.split("; "))
        if fault.leaves_rows or self.definitions() != self._pristine:
            self.close()

    def close(self) -> None:
        """Let go of the database."""
        for alias in database.ALIASES:
            connections[alias].close()
        self._stack.close()
        self._patient = None


@contextmanager
def garden(blocker: Any) -> Iterator[Garden]:
    """Lend a garden, within which databases may be reached."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    made = Garden(f"{worker}_planted")
    with blocker.unblock():
        try:
            yield made
        finally:
            made.close()


def plant(patient: Patient, fault: Fault) -> None:
    """Do what is wrong."""
    statements: list[str] = []
    for each in (*fault.plant, None):
        if isinstance(each, str):
            statements.append(each.replace("{database}", patient.name))
            continue
        if statements:
            patient.execute("SET ROLE srvc_owner", *statements)
            statements = []
        if each is not None:
            each()


def findings(patient: Patient, fault: Fault) -> dict[str, Reported]:
    """Return what the check says of it; what it could not see is among it."""
    for alias in database.ALIASES:  # a session keeps what settings it began with
        connections[alias].close()
    outcome = patient.run(CHECKS[fault.check], deep=fault.deep, **fault.limits)
    return {each.key: each for each in outcome.reported}


def its(found: dict[str, Reported], fault: Fault, patient: Patient) -> Reported | None:
    """Return the finding that tells a fault: by its key, or by the name that its title begins with.

    Numbers of rows are no key that anybody can plant.
    """
    key = fault.key.replace("{database}", patient.name)
    by_title = [each for each in found.values() if each.title.startswith(f"{key} ")]
    return found.get(key) or next(iter(by_title), None)


def prove(garden: Garden, fault: Fault) -> None:
    """Plant a fault, see it told, take the next step, and see what that changed.

    A database in which that failed is given away: the next fault begins in a sound one.
    """
    try:
        _prove(garden, fault)
        garden.tidy(fault)
    except BaseException:
        with suppress(Exception):
            garden.tidy(fault)
        garden.close()
        raise


def _prove(garden: Garden, fault: Fault) -> None:
    with override_settings(**fault.settings):
        patient = garden.patient()
        plant(patient, fault)
        found = findings(patient, fault)
        told = its(found, fault, patient)
        assert told is not None, (fault.key, {key: each.title for key, each in found.items()})
        assert told.next_step, "there is no next step"
        blind = _in_silence(patient, fault)
        assert bool(blind) == bool(fault.hidden), (blind, fault.hidden)
        if isinstance(fault.step, ByAPerson):
            return
        planted = garden.definitions()
        take(patient, told.next_step)
        after = garden.definitions()
        changed = {key for key in planted | after if planted.get(key) != after.get(key)}
        if isinstance(fault.step, Looks):
            assert changed == set(), sorted(changed)
            return
        assert isinstance(fault.step, Mends)
        assert changed == fault.step.changes, f"CHANGED {fault.name}: {sorted(changed)}"
        left = findings(patient, fault)
        assert its(left, fault, patient) is None, left


def _in_silence(patient: Patient, fault: Fault) -> list[str]:
    """Return the logins by which the check neither tells the fault nor that it sees too little."""
    check, silent = CHECKS[fault.check], []
    if check.connects:  # it signs in by itself, and not by this login
        return []
    for perspective in OF_FAULTS:
        outcome = seen_by(perspective, patient, check, deep=fault.deep, **fault.limits)
        found = {each.key: each for each in outcome.reported}
        if outcome.is_complete and its(found, fault, patient) is None:
            silent.append(perspective.name)
    return silent


def ids(fault: Fault) -> str:
    """The name of a test."""
    return f"{fault.check}: {fault.name}"


def each_of(faults: list[Fault]) -> Any:
    """Return a parametrized mark over faults."""
    return pytest.mark.parametrize("fault", faults, ids=ids)
