"""Faults planted on a real server, and what health has to say of each.

A list a module. Another module adds its own by its name here; what is planted on the whole server
(roles, settings) goes into one of `OF_A_SERVER`, whose tests have a server of their own.
"""

from __future__ import annotations

from importlib import import_module

from tests.ops.health.planted.fault import Fault

OF_A_DATABASE = ("integrity", "security", "rights", "performance", "operations")
OF_A_SERVER = ("server",)


def planted(*modules: str) -> list[Fault]:
    """Return the faults of these modules."""
    found: list[Fault] = []
    for name in modules:
        found += import_module(f"{__name__}.{name}").FAULTS
    return found
