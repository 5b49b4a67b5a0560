from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate, pre_migrate


class SrvcConfig(AppConfig):
    name = "srvc"
    verbose_name = "SRVC"

    def ready(self) -> None:
        from ops.rls.grants import apply_after_migrate
        from srvc import checks  # noqa: F401  (registers them)

        # The signals come once per app with models; at the last one's every table is there. Before
        # as well: after a migration that failed, operators still need to read what is applied.
        last = apps.get_app_config("billing")
        pre_migrate.connect(apply_after_migrate, sender=last)
        post_migrate.connect(apply_after_migrate, sender=last)


class SrvcAdminConfig(AdminConfig):
    default_site = "srvc.sites.SrvcAdminSite"
