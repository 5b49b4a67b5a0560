"""Settings, one file, top to bottom. Values come from the environment (see `.env.example`).

A bad or missing value does not fail here: it is collected and reported by the system checks of
`srvc.checks` (`srvc.E001` …), each naming the variable and the next step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pghistory
from django.templatetags.static import static
from django.urls import reverse_lazy

from ops.postgres.embedded import socket_directory
from srvc import environment
from srvc.navigation import SIDEBAR

BASE_DIR = environment.BASE_DIR
ENVIRONMENT = environment.environment_name()
PRODUCTION_LIKE = ENVIRONMENT != environment.DEVELOPMENT
env = environment.load(ENVIRONMENT)

# Every value that could not be read: (variable, what is wrong, what to do). Read by srvc.checks.
CONFIGURATION_ERRORS: list[tuple[str, str, str]] = []


def _read(kind: str, name: str, default: Any) -> Any:
    """One variable; a value of the wrong kind becomes a configuration error, not a crash."""
    try:
        return getattr(env, kind)(name, default=default)
    except Exception as error:  # django-environ raises whatever the cast raised
        CONFIGURATION_ERRORS.append(
            (name, f"is not a valid {kind}: {type(error).__name__}", f"Correct {name}.")
        )
        return default


def _missing(name: str, hint: str) -> None:
    CONFIGURATION_ERRORS.append((name, "is not set", hint))


# --- the process -------------------------------------------------------------------------------

DEBUG: bool = _read("bool", "DEBUG", False)
SECRET_KEY: str = _read("str", "SECRET_KEY", "")
if not SECRET_KEY:
    # No default that could reach production: a key nobody knows, and a check that says so.
    from django.core.management.utils import get_random_secret_key

    SECRET_KEY = get_random_secret_key()
    if PRODUCTION_LIKE:
        _missing("SECRET_KEY", "Set a long random value; `make shell` can print one.")
SECRET_KEY_FALLBACKS: list[str] = _read("list", "SECRET_KEY_FALLBACKS", [])
ALLOWED_HOSTS: list[str] = _read(
    "list", "ALLOWED_HOSTS", [] if PRODUCTION_LIKE else ["127.0.0.1", "localhost", "[::1]"]
)
if PRODUCTION_LIKE and not ALLOWED_HOSTS:
    _missing("ALLOWED_HOSTS", "Name the hosts that serve SRVC, separated by commas.")
CSRF_TRUSTED_ORIGINS: list[str] = _read("list", "CSRF_TRUSTED_ORIGINS", [])
VAR_DIR = Path(_read("str", "SRVC_VAR", str(BASE_DIR / "var")))
ROOT_URLCONF = "srvc.urls"
WSGI_APPLICATION = "srvc.wsgi.application"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "srvc.apps.SrvcAdminConfig",
    "django_extensions",
    "django_tasks",
    "django_tasks_db",
    "dbbackup",
    "django_crontab",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "csp",
    "pgtrigger",
    "pghistory",
    "ops",
    "crm",
    "billing",
    "srvc.apps.SrvcConfig",
]

MIDDLEWARE = [
    "srvc.probes.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "ops.rls.middleware.RowSecurityMiddleware",
    "crm.middleware.AccountTimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# --- the database: two logins on one database ---------------------------------------------------


def _database(variable: str, login: str, password_variable: str) -> dict[str, Any]:
    if env.str(variable, default=""):
        # django-environ understands postgres://login:password@host:port/name?sslmode=…
        config = dict(_read("db_url", variable, None) or {})
        # A socket's folder stands in the host's place, with its slashes as %2F.
        config["HOST"] = unquote(config.get("HOST", ""))
    else:
        config = {
            "NAME": "srvc",
            "USER": login,
            "PASSWORD": _read("str", password_variable, ""),
            "HOST": str(socket_directory(VAR_DIR / "postgres")),
            "PORT": "5432",
        }
        if PRODUCTION_LIKE:
            _missing(variable, f"Set {variable}=postgres://{login}:PASSWORD@HOST:5432/NAME.")
    config["ENGINE"] = "django.db.backends.postgresql"
    config["OPTIONS"] = {"application_name": login, **config.get("OPTIONS", {})}
    config["CONN_HEALTH_CHECKS"] = True
    return config


DATABASES = {
    # The web process: owns nothing, sees nothing outside a request's role (ops/rls).
    "default": {
        **_database("DATABASE_URL", "srvc_app", "SRVC_APP_PASSWORD"),
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": _read("int", "CONN_MAX_AGE", 60),
    },
    # Operator commands: migrations, seeds, backups.
    "owner": _database("DATABASE_OWNER_URL", "srvc_owner", "SRVC_OWNER_PASSWORD"),
}
DATABASE_ROUTERS = ["ops.rls.router.OwnerWhileMigrating"]
EMBEDDED_POSTGRES = not (
    env.str("DATABASE_URL", default="") or env.str("DATABASE_OWNER_URL", default="")
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# What the roles may do on tables that carry no row policy (ops/rls/grants.py, after every migrate).
# A table missing here and without policies is out of reach, and a test says so.
RLS_TABLE_GRANTS: dict[str, dict[str, str]] = {
    "app": {
        "django_migrations": "SELECT",
        "django_session": "SELECT, INSERT, UPDATE, DELETE",
        "django_content_type": "SELECT",
        "auth_group": "SELECT",
        "auth_permission": "SELECT",
        "auth_group_permissions": "SELECT",
        "axes_accessattempt": "SELECT, INSERT, UPDATE, DELETE",
        "axes_accessattemptexpiration": "SELECT, INSERT, UPDATE, DELETE",
        "axes_accessfailurelog": "SELECT, INSERT, UPDATE, DELETE",
        "axes_accesslog": "SELECT, INSERT, UPDATE, DELETE",
        "otp_totp_totpdevice": "SELECT, INSERT, UPDATE, DELETE",
        "otp_static_staticdevice": "SELECT, INSERT, UPDATE, DELETE",
        "otp_static_statictoken": "SELECT, INSERT, UPDATE, DELETE",
        "django_tasks_database_dbtaskresult": "SELECT, INSERT, UPDATE, DELETE",
    },
    "member": {
        "django_content_type": "SELECT",
        "auth_group": "SELECT",
        "auth_permission": "SELECT",
        "auth_group_permissions": "SELECT",
    },
    "admin": {
        "django_migrations": "SELECT",
        "django_content_type": "SELECT",
        "auth_group": "SELECT, INSERT, UPDATE, DELETE",
        "auth_permission": "SELECT",
        "auth_group_permissions": "SELECT, INSERT, UPDATE, DELETE",
        "axes_accessattempt": "SELECT, DELETE",
        "axes_accessattemptexpiration": "SELECT, DELETE",
        "axes_accessfailurelog": "SELECT",
        "axes_accesslog": "SELECT",
        "django_tasks_database_dbtaskresult": "SELECT",
    },
    "public": {},
}

# History: who and what are columns filled by the database (crm/models/history.py), so a change by
# raw SQL is told apart as well, and no shared context table could leak between accounts.
PGHISTORY_FOREIGN_KEY_FIELD = pghistory.ForeignKey(db_index=False)

# --- people ------------------------------------------------------------------------------------

AUTH_USER_MODEL = "crm.User"
# E-mail addresses are unique in any case of letters, by a constraint on LOWER(email).
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

# --- language and time -------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# --- files -------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "media/"
MEDIA_ROOT = VAR_DIR / "media"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    "dbbackup": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(VAR_DIR / "backups")},
    },
}

# --- tasks and schedule ------------------------------------------------------------------------

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
CRONJOBS: list[Any] = []

# --- the admin's looks -------------------------------------------------------------------------

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "SRVC",
    "SITE_HEADER": "SRVC",
    "SITE_SUBHEADER": "Field service",
    "SITE_SYMBOL": "home_repair_service",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "srvc.navigation.environment_label",
    "DASHBOARD_CALLBACK": "srvc.dashboard.dashboard",
    "STYLES": [lambda request: static("srvc/admin.css")],
    "SIDEBAR": SIDEBAR,
}
