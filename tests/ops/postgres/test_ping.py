"""Each step of a connection is timed apart; of one that fails it is said why, and what to do."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from ops.postgres.endpoint import Endpoint
from ops.postgres.ping import Failure, Ping, Step, ping
from tests.harness import database
from tests.ops.health.tunnel import tunnel
from tests.ops.postgres import debian

PATIENCE = 30.0


@pytest.fixture
def there(fresh_database: str) -> Endpoint:
    return Endpoint.of("owner")


@contextmanager
def listener(*answers: bytes) -> Iterator[int]:
    """Yield a port that answers each connection's first bytes with these, and then says nothing."""
    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                opened.append(client)
                with suppress(OSError):  # it heard enough, and hung up
                    for answer in answers:
                        client.recv(1024)
                        client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in opened:
                each.close()


def failed(done: Ping) -> Failure:
    assert done.failure is not None
    assert "s3cret" not in repr(done.failure)
    return done.failure


def nobody(port: int, **options: str) -> Endpoint:
    return Endpoint("127.0.0.1", str(port), "srvc_app", "srvc", "s3cret", options)


# --- what works ----------------------------------------------------------------------------------


def test_by_a_unix_socket_there_is_no_name_and_no_tls(there: Endpoint) -> None:
    done = ping(there, PATIENCE)
    assert done.failure is None
    assert list(done.took) == [Step.SOCKET, Step.AUTH, Step.QUERY]
    assert all(took > 0 for took in done.took.values())
    assert done.encrypted == ""


def test_over_a_network_each_step_is_told(there: Endpoint) -> None:
    with tunnel() as port:
        over = dataclasses.replace(there, host="localhost", port=str(port))
        done = ping(over, PATIENCE)
        assert done.failure is None
        # The server declined TLS, and the address merely prefers it.
        assert list(done.took) == [Step.DNS, Step.TCP, Step.AUTH, Step.QUERY]
        assert done.encrypted == ""


def test_of_several_servers_the_first_that_answers_is_told(there: Endpoint) -> None:
    with tunnel() as port:
        both = dataclasses.replace(there, host="127.0.0.1,127.0.0.1", port=f"1,{port}")
        assert ping(both, PATIENCE).failure is None
    assert failed(ping(both, PATIENCE)).step == Step.TCP


def test_the_replication_login_is_asked_in_its_own_language(fresh_database: str) -> None:
    replication = Endpoint.replication()
    assert replication is not None
    done = ping(replication, PATIENCE)
    assert done.failure is None
    assert Step.QUERY in done.took


def test_tls_is_timed_and_checked_as_libpq_does(scratch: Path) -> None:
    if not debian.BINARIES.is_dir():
        with listener(b"N") as port:
            assert failed(ping(nobody(port, sslmode="verify-full"), PATIENCE)).step == Step.TLS
        return
    with debian.tls_only_server() as server:
        done = ping(server, PATIENCE)
        assert done.failure is None
        assert list(done.took) == [Step.DNS, Step.TCP, Step.TLS, Step.AUTH, Step.QUERY]
        assert done.encrypted.startswith("TLSv1.")
        by_another_name = dataclasses.replace(server, host="localhost")
        failure = failed(ping(by_another_name, PATIENCE))
        assert failure.step == Step.TLS
        assert "certificate is not trusted" in failure.cause.what
        in_clear = dataclasses.replace(server, options={"sslmode": "disable"})
        failure = failed(ping(in_clear, PATIENCE))
        assert failure.step == Step.AUTH
        assert failure.cause.what.startswith("no pg_hba.conf entry for host")
        assert failure.cause.next_step == "SELECT * FROM pg_hba_file_rules;"
        wrong = dataclasses.replace(server, password="another")
        failure = failed(ping(wrong, PATIENCE))
        assert failure.step == Step.AUTH
        assert failure.cause.what == 'password authentication failed for user "postgres".'


# --- what does not -------------------------------------------------------------------------------


def test_a_name_that_nobody_knows_fails_at_dns() -> None:
    failure = failed(ping(Endpoint("no-such-host.invalid", "5432", "a", "b", "s3cret"), PATIENCE))
    assert failure.step == Step.DNS
    assert failure.cause.what.startswith("The name no-such-host.invalid is not known here")
    assert failure.cause.next_step == "getent hosts no-such-host.invalid"


def test_a_closed_port_fails_at_tcp() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    failure = failed(ping(nobody(port), PATIENCE))
    assert failure.step == Step.TCP
    assert failure.cause.what == f"127.0.0.1, port {port} refuses connections."
    assert failure.cause.next_step == f"pg_isready --host=127.0.0.1 --port={port}"


@pytest.mark.parametrize(("sslmode", "step"), [("prefer", Step.TLS), ("disable", Step.AUTH)])
def test_a_port_that_accepts_and_never_answers_is_not_waited_for(sslmode: str, step: Step) -> None:
    with listener() as port:
        failure = failed(ping(nobody(port, sslmode=sslmode), 0.1))
    assert failure.step == step
    assert "within 0.1 s" in failure.cause.what


def test_tls_that_is_demanded_and_not_offered_fails_at_tls(there: Endpoint) -> None:
    with tunnel() as port:
        over = dataclasses.replace(
            there, host="127.0.0.1", port=str(port), options={"sslmode": "require"}
        )
        failure = failed(ping(over, PATIENCE))
    assert failure.step == Step.TLS
    assert failure.cause.what == ("The server offers no TLS, and the address demands it (sslmode).")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak PostgreSQL's protocol"),
        (b"Snot a handshake", "TLS could not be agreed upon"),
    ],
)
def test_what_is_no_postgresql_fails_at_tls(answer: bytes, what: str) -> None:
    with listener(answer, b"\x15\x03\x03\x00\x02\x02\x28") as port:
        failure = failed(ping(nobody(port, sslmode="require"), PATIENCE))
    assert failure.step == Step.TLS
    assert what in failure.cause.what


def test_a_folder_without_a_socket_is_told_with_its_path(scratch: Path) -> None:
    failure = failed(ping(Endpoint(str(scratch), "5432", "a", "b", None), PATIENCE))
    assert failure.step == Step.SOCKET
    assert failure.cause.what == f"There is no socket {scratch}/.s.PGSQL.5432."
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{scratch}/.s.PGSQL.5432")
    left.close()
    failure = failed(ping(Endpoint(str(scratch), "5432", "a", "b", None), PATIENCE))
    assert failure.cause.what.startswith("Nobody listens on the socket")


def test_a_wrong_password_and_a_missing_database_fail_at_the_sign_in(there: Endpoint) -> None:
    wrong = dataclasses.replace(there, password="s3cret")
    if trusts_everybody(wrong):
        assert ping(wrong, PATIENCE).failure is None
    else:
        failure = failed(ping(wrong, PATIENCE))
        assert failure.step == Step.AUTH
        assert failure.cause.what == 'password authentication failed for user "srvc_owner".'
        assert failure.cause.next_step == "manage.py provision"
    failure = failed(ping(there.at("no_such_database"), PATIENCE))
    assert failure.step == Step.AUTH
    assert failure.cause.what == 'database "no_such_database" does not exist.'
    assert failure.cause.cause.startswith("It was not made yet")


def test_a_database_that_is_full_is_told(there: Endpoint) -> None:
    with database.connect() as connection:
        connection.execute(f"ALTER DATABASE {there.database} CONNECTION LIMIT 0")
    failure = failed(ping(there, PATIENCE))
    assert failure.cause.what == f'too many connections for database "{there.database}".'
    assert failure.cause.cause.startswith("Each connection that the server")


def test_a_certificate_file_that_is_none_fails_at_tls(scratch: Path) -> None:
    file = scratch / "root.crt"
    file.write_text("no certificate")
    with listener(b"S") as port:
        failure = failed(ping(nobody(port, sslmode="verify-full", sslrootcert=str(file)), PATIENCE))
    assert failure.step == Step.TLS
    assert failure.cause.what.startswith("TLS could not be agreed upon")


def trusts_everybody(wrong: Endpoint) -> bool:
    try:
        psycopg.connect(
            host=wrong.host, port=wrong.port, user=wrong.user, dbname=wrong.database,
            password=wrong.password,
        ).close()  # fmt: skip
    except psycopg.OperationalError:
        return False
    return True
