"""With DATABASE_URL and DATABASE_OWNER_URL the same command serves from that server."""

import os
import urllib.request

from billing.seeding.demo import OWNER_EMAIL
from tests.factories import make_business
from tests.launch.conftest import Installation


def test_it_uses_the_given_server_and_starts_none(
    installation: Installation, fresh_database: str
) -> None:
    make_business(email=OWNER_EMAIL)  # the demo is taken for loaded, which saves its time
    launch = installation.launch(
        DATABASE_URL=os.environ["DATABASE_URL"],
        DATABASE_OWNER_URL=os.environ["DATABASE_OWNER_URL"],
    )
    launch.wait_for("Ctrl-C stops it.")
    with urllib.request.urlopen(f"{installation.url}admin/login/", timeout=10) as response:  # noqa: S310
        assert response.status == 200
    assert launch.stop() == 0
    assert "PostgreSQL" not in launch.said
    assert not (installation.var / "postgres").exists()
    assert "SRVC_OWNER_PASSWORD" not in installation.file.read_text()
