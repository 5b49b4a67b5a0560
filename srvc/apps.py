from typing import Any

from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate


class SrvcConfig(AppConfig):
    name = "srvc"
    verbose_name = "SRVC"

    def ready(self) -> None:
        import srvc.checks  # noqa: F401  (registers them)
        from ops.rls.grants import apply_after_migrate

        # The signals come once per app with models; at the last one's every table is there. Before
        # as well: after a migration that failed, operators still need to read what is applied.
        last = apps.get_app_config("billing")
        pre_migrate.connect(apply_after_migrate, sender=last)
        post_migrate.connect(apply_after_migrate, sender=last)


class SrvcAdminConfig(SimpleAdminConfig):
    """The admin, whose pages are loaded with the addresses that lead to them.

    Commands and workers have none, and start in half the time without.
    """

    default_site = "srvc.sites.SrvcAdminSite"

    def ready(self) -> None:
        """Register Django's checks of the admin, its pages loaded before they are looked at."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_pages, checks.Tags.admin)


def _check_pages(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    admin.autodiscover()
    return check_admin_app(app_configs, **kwargs)
