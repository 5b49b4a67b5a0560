"""A PostgreSQL 15 of Debian's that lets nobody but the role `careless` in without TLS."""

import datetime
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ops.postgres import tools
from ops.postgres.account import Account, server_account
from ops.postgres.endpoint import Endpoint
from tests.harness import run

BINARIES = Path("/usr/lib/postgresql/15/bin")
_ACCESS = """\
hostssl  all  all       127.0.0.1/32  scram-sha-256
host     all  careless  127.0.0.1/32  scram-sha-256
"""


@contextmanager
def tls_only_server() -> Iterator[Endpoint]:
    """Yield the superuser's endpoint of a server that is started for this and removed after it."""
    folder = Path(tempfile.mkdtemp(dir=run.folder()))
    folder.chmod(0o755)
    data = folder / "data"
    account = server_account(data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        _make(data, folder / "password", account)
        _certify(data, folder / "root.crt", account)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c fsync=off"
        tools.run(
            BINARIES / "pg_ctl", "start", "--wait", "--silent",
            "--pgdata", data, "--log", data / "log",
            "--options", f"{options} -c unix_socket_directories=",
            seconds=60, account=account,
        )  # fmt: skip
        yield Endpoint(
            "127.0.0.1", str(port), "postgres", "postgres", "s3cret",
            {"sslmode": "verify-full", "sslrootcert": str(folder / "root.crt")},
        )  # fmt: skip
    finally:
        if (data / "postmaster.pid").exists():
            tools.run(
                BINARIES / "pg_ctl", "stop", "--silent", "--mode", "immediate", "--pgdata", data,
                seconds=60, account=account, check=False,
            )  # fmt: skip
        shutil.rmtree(folder)


def _make(data: Path, password: Path, account: Account | None) -> None:
    data.mkdir()
    password.write_text("s3cret")
    for path in (data, password):
        _give(path, account)
    tools.run(
        BINARIES / "initdb", "--pgdata", data, "--username", "postgres", "--no-sync",
        "--auth", "scram-sha-256", "--pwfile", password, "--encoding", "UTF8", "--locale", "C",
        seconds=60, account=account,
    )  # fmt: skip
    (data / "pg_hba.conf").write_text(_ACCESS)


def _certify(data: Path, root: Path, account: Account | None) -> None:
    """Write a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    root.write_bytes(certificate)
    (data / "server.crt").write_bytes(certificate)
    (data / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for path in (data / "server.crt", data / "server.key"):
        _give(path, account)


def _give(path: Path, account: Account | None) -> None:
    path.chmod(0o700 if path.is_dir() else 0o600)
    if account:
        os.chown(path, account.uid, account.gid)
