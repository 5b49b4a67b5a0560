"""Each queue has a worker of its own in `make run`: none waits for ever, none behind another."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from srvc.launch.address import Address
from srvc.launch.serve import Site


def test_every_queue_has_one_worker(tmp_path: Path) -> None:
    site = Site(Address("127.0.0.1", 8000), tmp_path, None, print)
    commands = [worker._command for worker in site.workers]
    queues = [command[command.index("--queue-name") + 1] for command in commands]
    assert sorted(queues) == sorted(settings.TASKS["default"]["QUEUES"])
