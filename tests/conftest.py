"""Fixtures for every test. See tests/harness for the server and the databases behind them."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import pytest
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from tests.harness import clusters, database, run

_FIRST = ("simulation", "long")
_environment: dict[str, str] = {}
_COMMITS = {"transactional_db", "live_server", "django_db_reset_sequences"}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start one server for the run, before xdist starts its workers."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would what a test starts and interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # The same under nohup: commands rightly ignore then what tests send them.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if run.is_mine() and not session.config.option.collectonly:
        # Killed politely (CI's time limit), a run still removes its server.
        signal.signal(signal.SIGTERM, _stop)
        run.remove_stale_runs()
        database.start_server()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Remove the server and everything of this run, also after Ctrl-C."""
    if run.is_mine():
        with contextlib.suppress(Exception):  # the server may be what failed
            database.drop_databases()
        run.clean_up()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, and refuse what cannot work: Django empties tables by TRUNCATE, and
    srvc_app owns none.
    """
    # Begun last, one of them would keep a single worker busy for a minute after the rest.
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in _FIRST))
    for item in items:
        marker = item.get_closest_marker("django_db")
        fixtures = set(getattr(item, "fixturenames", ()))
        commits = marker is not None and marker.kwargs.get("transaction")
        if commits or fixtures & _COMMITS:
            raise pytest.UsageError(
                f"{item.nodeid}: a test that commits takes the fixture `fresh_database` (or "
                "`live_site`), without the mark django_db: Django would empty the tables "
                "afterwards, and the web process's login may not."
            )


# What pytest, module-wide servers and a browser for the whole session set.
_KEPT = {
    "PYTEST_CURRENT_TEST",
    "DJANGO_ALLOW_ASYNC_UNSAFE",
    *database.VARIABLES,
    run.ADMIN_URL,
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember the environment in which a test begins."""
    _environment.clear()
    _environment.update(os.environ)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Take back what a test left to the next ones, and let it be the one that fails for it."""
    try:
        yield
    finally:
        left = database.take_back()
        for name in (set(os.environ) | set(_environment)) - _KEPT:
            if os.environ.get(name) != _environment.get(name):
                left.append(name)
                if name in _environment:
                    os.environ[name] = _environment[name]
                else:
                    del os.environ[name]
    if left:
        pytest.fail(f"left to the next tests: {'; '.join(left)}", pytrace=False)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    worker_id: str,
) -> Iterator[None]:
    """Give this worker a clone of the migrated template."""
    with (
        django_db_blocker.unblock(),
        database.clone(worker_id) as name,
        database.pointed_at(name),
        django_db_blocker.block(),
    ):
        yield
        django_db_blocker.unblock()


@pytest.fixture(scope="session", autouse=True)
def private_servers() -> Iterator[None]:
    """Let private servers begin with a copy of what initdb makes."""
    with clusters.copied():
        yield


@pytest.fixture
def fresh_database(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    worker_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Return the name of a migrated database of this test's own, in which it may commit."""
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        pytest.fail("fresh_database brings its own database: take it without the mark django_db")
    with (
        django_db_blocker.unblock(),
        database.clone(f"{worker_id}_fresh") as name,
        database.pointed_at(name),
    ):
        yield name
        # An automatic fixture of pytest-django wants it first, so it would be undone last, and lead
        # Django to this database when it is gone.
        monkeypatch.undo()


@pytest.fixture
def live_site(fresh_database: str) -> Iterator[str]:
    """Return the address of the application, served from a database of this test's own."""
    server = LiveServer("localhost")
    server._live_server_modified_settings.enable()
    try:
        yield server.url
    finally:
        server.stop()
        server._live_server_modified_settings.disable()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return a folder that a server started by root can reach; pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(dir=run.folder()))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
