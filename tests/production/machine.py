"""An empty machine in a folder: paths, ports, its PostgreSQL, and what stands in for root."""

from __future__ import annotations

import os
import re
import shutil
import site
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from ops.postgres import configuration, tools
from ops.postgres.embedded import EmbeddedServer
from srvc.environment import BASE_DIR
from tests.harness import run

SITE = "srvc.example.com"
PASSWORD = "correct horse battery"
_BLOCK = re.compile(r"^```(sh|nginx)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LEFT_OUT = {".git", ".venv", "var", "tests", "__pycache__", ".mypy_cache", ".ruff_cache"}
# What a machine has and a test may not touch; each says so by doing nothing.
_NOTHING = ("apt-get", "useradd", "chown")


class Machine:
    """What docs/production.md is tried on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = EmbeddedServer(folder / "postgres", settings=configuration.THROW_AWAY)
        self.http, self.https, self.web = _free_ports(3)
        self.source = folder / "srv" / "srvc"
        programs = tools.shipped_binaries()
        assert programs is not None
        self._path = f"{folder}/bin:{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    def install(self) -> None:
        """Give it what a new Debian has: folders, programs, a PostgreSQL server."""
        for name in ("bin", "run", "etc/systemd/system", "srv", "tmp"):
            (self.folder / name).mkdir(parents=True)
        for name in ("sites-available", "sites-enabled"):
            (self.folder / "etc" / "nginx" / name).mkdir(parents=True)
        self.server.start()
        for name in _NOTHING:
            self._program(name, "exit 0")
        self._program("sudo", 'shift 2; exec "$@"')
        self._program(
            "git", f'cd "{BASE_DIR}" && exec "{sys.executable}" -m tests.production.machine "$3"'
        )
        self._program("systemctl", f'exec "{sys.executable}" "{_beside("systemctl.py")}" "$@"')
        (self.folder / "etc" / "nginx" / "nginx.conf").write_text(self._nginx())

    def destroy(self) -> None:
        """Stop everything that was started and nothing else."""
        units = [file.stem for file in (self.folder / "run").glob("*.pid")]
        if units:
            self.run(f"systemctl stop {' '.join(units)}", folder=self.folder)
        self.server.destroy()

    def run(self, block: str, *, folder: Path | None = None) -> str:
        """Run a block of the page as it stands, but for paths, ports and addresses."""
        at = folder or (self.source if self.source.exists() else self.folder)
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", self.here(block)],
            cwd=at,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, (
            f"{block}\nended with {done.returncode}:\n{said}\n{self.logs()}"
        )
        return said

    def logs(self) -> str:
        """What the services said, for a test that failed."""
        files = sorted((self.folder / "run").glob("*.log"))
        return "\n".join(
            f"{file.name}: {file.read_text(errors='replace')[-2000:]}" for file in files
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the shell has; the password that is typed at a prompt comes from it here."""
        return {
            "PATH": self._path,
            "MACHINE": str(self.folder),
            "WEB_PORT": str(self.web),
            "SRVC_ENV": "production",
            "ADMINISTRATOR_PASSWORD": PASSWORD,
            "PGHOST": str(self.server.socket),
            "PGUSER": configuration.SUPERUSER,
            "PGDATABASE": "postgres",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def here(self, text: str) -> str:
        """Put this machine's paths, ports and addresses in the place of the page's."""
        address = f"@{quote(str(self.server.socket), safe='')}:5432"
        for old, new in (
            ("@127.0.0.1:5432", address),
            ("127.0.0.1:8000", f"127.0.0.1:{self.web}"),
            ("listen 80;", f"listen 127.0.0.1:{self.http};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{self.https} ssl;"),
        ):
            text = text.replace(old, new)
        return re.sub(r"(?<![\w/.])/(srv|etc)/", rf"{self.folder}/\1/", text)

    def _program(self, name: str, line: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)

    def _nginx(self) -> str:
        temporary = "\n".join(
            f"    {kind}_temp_path {self.folder / 'tmp' / kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"daemon off;\npid {self.folder}/run/nginx.own;\nerror_log stderr;\n"
            f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{}}\nhttp {{\n"
            f"    access_log off;\n{temporary}\n"
            f"    include {self.folder}/etc/nginx/sites-enabled/*;\n}}\n"
        )


def blocks() -> list[tuple[str, str]]:
    """Return the page's fenced blocks in their order, each with its language."""
    return _BLOCK.findall((BASE_DIR / "docs" / "production.md").read_text(encoding="utf-8"))


def clone(target: Path) -> None:
    """Stand in for `git clone`, with the packages of this run in the place of a download."""
    shutil.copytree(
        BASE_DIR, target, symlinks=True, ignore=lambda at, names: _LEFT_OUT & set(names)
    )
    for file in target.glob(".env*"):
        if file.name != ".env.example":
            file.unlink()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target / ".venv"], check=True)
    (packages,) = (target / ".venv" / "lib").glob("python*/site-packages")
    (packages / "packages-of-the-tests.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    # What scripts/install records when everything is there: it has nothing to do then.
    digest = subprocess.run(
        ["/bin/sh", "-c", "{ pwd; cat requirements.lock; } | cksum"],
        cwd=target,
        capture_output=True,
        text=True,
        check=True,
    )
    (target / ".venv" / "installed").write_text(digest.stdout)


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


__all__ = ["PASSWORD", "SITE", "Machine", "blocks", "run"]

if __name__ == "__main__":
    clone(Path(sys.argv[1]))
