"""The web process starts only when it may serve; otherwise it says why and ends."""

import os

from django.db import connections

from srvc.startup import APP_LOAD_ERROR
from tests.harness import database
from tests.srvc.production import python

SERVE = (
    "import srvc.wsgi; from django.db import connection; print(connection.settings_dict['USER'])"
)


def addresses() -> dict[str, str]:
    return {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL")}


def test_half_a_configuration_ends_it_with_every_reason_and_no_traceback() -> None:
    done = python("-c", SERVE, SECRET_KEY=None, ALLOWED_HOSTS="*")
    assert done.returncode == APP_LOAD_ERROR
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "SRVC does not start; no data was touched."
    assert [line.split()[0:2] for line in lines[1:]] == [
        ["srvc.E002", "SECRET_KEY"],
        ["srvc.E003", "ALLOWED_HOSTS"],
    ]


def test_a_login_that_owns_a_table_ends_it(fresh_database: str) -> None:
    with database.connect(fresh_database) as admin:
        admin.execute("ALTER TABLE jobs OWNER TO srvc_app")
    try:
        done = python("-c", SERVE, **addresses())
        assert done.returncode == APP_LOAD_ERROR
        assert "ops.E102 srvc_app owns 1 table(s) such as jobs" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        with database.connect(fresh_database) as admin:
            admin.execute("ALTER TABLE jobs OWNER TO srvc_owner")
    done = python("-c", SERVE, **addresses())
    assert (done.returncode, done.stdout) == (0, "srvc_app\n"), done.stderr


def test_a_database_that_does_not_answer_is_waited_for() -> None:
    nowhere = {
        "DATABASE_URL": "postgres://srvc_app:x@127.0.0.1:1/srvc",
        "DATABASE_OWNER_URL": "postgres://srvc_owner:x@127.0.0.1:1/srvc",
    }
    done = python("-c", SERVE, **nowhere)
    assert (done.returncode, done.stdout) == (0, "srvc_app\n")
    assert "The database does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_started_without_a_database_the_first_connection_is_checked(fresh_database: str) -> None:
    with database.connect(fresh_database) as admin:
        admin.execute("ALTER TABLE jobs OWNER TO srvc_app")
    late = (
        "import srvc.wsgi\n"
        "from django.db import connection\n"
        f"connection.settings_dict.update(NAME={fresh_database!r}, "
        f"HOST={connections['default'].settings_dict['HOST']!r}, "
        f"PORT={connections['default'].settings_dict['PORT']!r}, PASSWORD={database.PASSWORD!r})\n"
        "for _ in range(2):\n"
        "    try: connection.ensure_connection()\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    nowhere = {
        "DATABASE_URL": "postgres://srvc_app:x@127.0.0.1:1/srvc",
        "DATABASE_OWNER_URL": "postgres://srvc_owner:x@127.0.0.1:1/srvc",
        "DATABASE_POOL": "0",
    }
    try:
        done = python("-c", late, **nowhere)
    finally:
        with database.connect(fresh_database) as admin:
            admin.execute("ALTER TABLE jobs OWNER TO srvc_owner")
    assert done.stdout == "RowSecurityError\nRowSecurityError\n", done.stderr


def test_the_web_process_keeps_a_pool_and_commands_do_not(fresh_database: str) -> None:
    show = "; print(connection.settings_dict['OPTIONS'].get('pool'))"
    code = "import django; django.setup(); from django.db import connection"
    web = python("-c", SERVE + show, DATABASE_POOL="3", **addresses())
    pool = web.stdout.splitlines()[1]
    assert pool.startswith(
        "{'min_size': 1, 'max_size': 3, 'timeout': 10, 'reset': <function forget "
    )
    command = python("-c", code + show, DJANGO_SETTINGS_MODULE="srvc.settings", **addresses())
    assert command.stdout == "None\n"
