"""A project with django-dbbackup alone, as its manual has it: the peer of full backups."""

import os
from urllib.parse import unquote, urlsplit

_url = urlsplit(os.environ["BENCHMARK_DATABASE_URL"])
SECRET_KEY = "used for nothing"
USE_TZ = True
INSTALLED_APPS = ["dbbackup"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": _url.username,
        "PASSWORD": _url.password,
        "HOST": unquote(_url.hostname or ""),
        "PORT": str(_url.port),
    }
}
DBBACKUP_CONNECTORS = {
    "default": {"CONNECTOR": "dbbackup.db.postgresql.PgDumpBinaryConnector"},
}
DBBACKUP_GPG_RECIPIENT = os.environ["BENCHMARK_RECIPIENT"]
DBBACKUP_GPG_ALWAYS_TRUST = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "dbbackup": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": os.environ["BENCHMARK_FOLDER"]},
    },
}
