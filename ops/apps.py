from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "ops"
    verbose_name = "Operations"

    def ready(self) -> None:
        from ops import (
            checks,  # noqa: F401  (registers them)
            dbbackup_edge,
        )
        from ops.rls import direct, reset

        dbbackup_edge.connect()
        direct.connect_signals()
        reset.connect_signals()
