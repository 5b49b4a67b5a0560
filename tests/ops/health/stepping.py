"""Taking a finding's next step as an operator would: SQL by psql, commands by manage.py."""

from __future__ import annotations

from django.core.management import get_commands, load_command_class
from django.db import connections

from ops.health.steps import needs_superuser
from ops.postgres import tools
from ops.postgres.endpoint import Endpoint
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient

_COMMAND = "manage.py "


def take(patient: Patient, step: str) -> None:
    """Take a whole next step: SQL as the login that it says, or commands."""
    assert step, "there is no next step to take"
    if step.startswith(_COMMAND):
        for line in step.splitlines():
            manage(line.removeprefix(_COMMAND).split())
    else:
        run_sql(patient, step)
    for alias in database.ALIASES:  # a session keeps what settings it began with
        connections[alias].close()


def run_sql(patient: Patient, statements: str) -> None:
    """Run SQL by psql as the owner's login, or as a superuser where its first line says so."""
    endpoint = Endpoint.of(OWNER).at(patient.name)
    if needs_superuser(statements):
        arguments = {key: str(value) for key, value in database.admin().items()}
        arguments["dbname"] = patient.name
        password = arguments.pop("password", None)
        where = "".join(f" {key}='{value}'" for key, value in arguments.items())
    else:
        (where,) = [each.removeprefix("--dbname=") for each in endpoint.arguments()]
        password = endpoint.password
    tools.run(
        tools.find("psql", endpoint.major),
        "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={where.strip()}",
        "--file=-",
        seconds=tools.MINUTE, password=password, input_text=statements,
    )  # fmt: skip


def manage(arguments: list[str]) -> None:
    """Run a command of manage.py within this process."""
    name, *rest = arguments
    command = load_command_class(get_commands()[name], name)
    ended: object = 0
    try:
        command.run_from_argv(["manage.py", name, *rest])
    except SystemExit as end:
        ended = end.code
    assert not ended, (arguments, ended)
