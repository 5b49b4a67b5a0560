"""The web server's door."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")

from srvc.startup import prepare_web_process

prepare_web_process()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402

application = WSGIHandler()
