"""Settings, one file, top to bottom. Values come from the environment (see `.env.example`).

A bad or missing value does not fail here: it is collected and reported by the system checks of
`srvc.checks` (`srvc.E001` …), each naming the variable and the next step.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
import pghistory
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.management.utils import get_random_secret_key
from django.templatetags.static import static
from django.urls import reverse_lazy

from ops.postgres.embedded import socket_directory
from srvc import environment
from srvc.configuration import Configuration, Problem
from srvc.navigation import SIDEBAR

BASE_DIR = environment.BASE_DIR

# What could not be read, told by srvc.checks; nothing starts while there is any.
CONFIGURATION_ERRORS: list[Problem] = []
read = Configuration(environ.Env(), CONFIGURATION_ERRORS)
try:
    ENVIRONMENT = environment.environment_name()
    environment.load(ENVIRONMENT)
except environment.EnvironmentNameError as error:
    # As strict as production, and no file: nothing of another environment may be taken for it.
    ENVIRONMENT = "unknown"
    read.report("file", "SRVC_ENV", "is no environment's name", str(error))
except environment.EnvironmentFileError as error:
    read.report("file", "SRVC_ENV", f"is {ENVIRONMENT}, whose file is of no use", str(error))
PRODUCTION_LIKE = ENVIRONMENT != environment.DEVELOPMENT

# --- the process -------------------------------------------------------------------------------

DEBUG: bool = read.flag("DEBUG", False)
SECRET_KEY: str = read.text("SECRET_KEY")
SECRET_KEY_FALLBACKS: list[str] = read.items("SECRET_KEY_FALLBACKS")
if PRODUCTION_LIKE:
    read.refuse_debug("DEBUG", DEBUG)
    read.refuse_weak_key("SECRET_KEY", SECRET_KEY)
# No default that could reach production: a key that nobody knows and that the next start forgets.
SECRET_KEY = SECRET_KEY or get_random_secret_key()
ALLOWED_HOSTS: list[str] = read.hosts(
    "ALLOWED_HOSTS",
    default=() if PRODUCTION_LIKE else ("127.0.0.1", "localhost", "[::1]"),
    strict=PRODUCTION_LIKE,
)
CSRF_TRUSTED_ORIGINS: list[str] = read.origins("CSRF_TRUSTED_ORIGINS")
VAR_DIR = Path(read.text("SRVC_VAR") or BASE_DIR / "var")
ROOT_URLCONF = "srvc.urls"
WSGI_APPLICATION = "srvc.wsgi.application"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # leaves the site to srvc.sites
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
    "srvc.two_factor.middleware.TwoFactorMiddleware",
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
    config: dict[str, Any] = {
        "NAME": "srvc",
        "USER": login,
        "PASSWORD": read.text(password_variable),
        "HOST": str(socket_directory(VAR_DIR / "postgres")),
        "PORT": "5432",
    }
    if not EMBEDDED_POSTGRES:
        config = read.database(variable, login)
    config["ENGINE"] = "django.db.backends.postgresql"
    config["OPTIONS"] = {
        "application_name": login,
        "connect_timeout": 10,  # seconds; a server that doesn't answer is not waited for
        **config.get("OPTIONS", {}),
    }
    config["CONN_HEALTH_CHECKS"] = True
    return config


EMBEDDED_POSTGRES = not (
    PRODUCTION_LIKE or read.text("DATABASE_URL") or read.text("DATABASE_OWNER_URL")
)
DATABASES = {
    # The web process: owns nothing, sees nothing outside a request's role (ops/rls).
    "default": {
        **_database("DATABASE_URL", "srvc_app", "SRVC_APP_PASSWORD"),
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": read.number("CONN_MAX_AGE", 60),
    },
    # Operator commands: migrations, seeds, backups.
    "owner": _database("DATABASE_OWNER_URL", "srvc_owner", "SRVC_OWNER_PASSWORD"),
}
read.separate_logins(DATABASES["default"], DATABASES["owner"])
# Connections that one web process keeps, at most; 0 gives every thread its own (srvc/wsgi.py).
DATABASE_POOL = read.number("DATABASE_POOL", 8, most=200)
DATABASE_ROUTERS = ["ops.rls.router.OwnerWhileMigrating"]
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

# Tables that only the owner reaches, and knowingly so.
RLS_OWNER_ONLY_TABLES = ["pghistory_context"]  # unused: see PGHISTORY_* below

# History: who and what are columns filled by the database (crm/models/history.py), so a change by
# raw SQL is told apart as well, and no shared context table could leak between accounts.
PGHISTORY_FOREIGN_KEY_FIELD = pghistory.ForeignKey(db_index=False)

# --- people ------------------------------------------------------------------------------------

# What everybody of `seed --scale demo` signs in with; made up there when it is empty.
DEMO_PASSWORD = read.text("DEMO_PASSWORD")

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
PASSWORD_RESET_TIMEOUT = 60 * 60 * 24  # seconds
# Platform administrators see every account, so a password alone does not let them in.
REQUIRE_TWO_FACTOR: bool = read.flag("REQUIRE_TWO_FACTOR", PRODUCTION_LIKE)
OTP_TOTP_ISSUER = "SRVC" if ENVIRONMENT == environment.PRODUCTION else f"SRVC {ENVIRONMENT}"

# Sign-in throttling: so many failures for an e-mail address from one network address, ten times as
# many for all e-mail addresses from there (srvc/throttling.py). Addresses of clients are believed
# from this many proxies only.
TRUSTED_PROXIES = read.number("TRUSTED_PROXIES", 0, most=10)
AXES_HANDLER = "srvc.throttling.SignInThrottle"
AXES_FAILURE_LIMIT = read.number("SIGN_IN_FAILURES", 5, least=1, most=1000)
AXES_COOLOFF_TIME = timedelta(
    minutes=read.number("SIGN_IN_COOL_OFF_MINUTES", 15, least=1, most=10_000)
)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "username"
AXES_USERNAME_CALLABLE = "srvc.throttling.email_address"
AXES_CLIENT_IP_CALLABLE = "srvc.throttling.client_address"
AXES_LOCKOUT_CALLABLE = "srvc.throttling.locked_out"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
AXES_RESET_ON_SUCCESS = True
# Trying on while locked out does not keep the person who owns the address out for longer.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False  # srvc/admin.py has its pages
AXES_VERBOSE = False

# --- the web -----------------------------------------------------------------------------------

HTTPS: bool = read.flag("HTTPS", PRODUCTION_LIKE)
if ENVIRONMENT == environment.PRODUCTION and not HTTPS:
    read.report("unsafe", "HTTPS", "lets passwords cross the network in clear", "Remove HTTPS.")
if PRODUCTION_LIKE and not read.text("TRUSTED_PROXIES"):
    read.missing("TRUSTED_PROXIES", "Set the number of reverse proxies in front: often 1, or 0.")
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = read.number("HSTS_SECONDS", 31_536_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = read.flag("HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = read.flag("HSTS_PRELOAD", False)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# A __Host- cookie can't be set by a sibling domain or over plain HTTP.
SESSION_COOKIE_NAME = "__Host-srvc_session" if HTTPS else "srvc_session"
CSRF_COOKIE_NAME = "__Host-srvc_csrf" if HTTPS else "srvc_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# What docs/security.md explains: Alpine, in Unfold, evaluates its attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
# Preloading binds a whole domain for months: its owner asks for it (HSTS_PRELOAD), we don't.
SILENCED_SYSTEM_CHECKS += ["security.W021"]

# --- mail and log ------------------------------------------------------------------------------

if PRODUCTION_LIKE and not read.text("EMAIL_URL"):
    read.missing("EMAIL_URL", "Set EMAIL_URL=smtp+tls://LOGIN:PASSWORD@smtp.example.com:587.")
if PRODUCTION_LIKE and not read.text("DEFAULT_FROM_EMAIL"):
    read.missing("DEFAULT_FROM_EMAIL", "Set DEFAULT_FROM_EMAIL=SRVC <srvc@example.com>.")
_email = read.email("EMAIL_URL", default="consolemail://")
EMAIL_BACKEND: str = _email.get("EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")
EMAIL_HOST: str = _email.get("EMAIL_HOST", "")
EMAIL_PORT: int = _email.get("EMAIL_PORT", 587 if "EMAIL_USE_TLS" in _email else 25)
EMAIL_HOST_USER: str = _email.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD: str = _email.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS: bool = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL: bool = _email.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH: str = _email.get("EMAIL_FILE_PATH", "")
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read.sender("DEFAULT_FROM_EMAIL", "SRVC <srvc@localhost>")

# Whatever fails is in the log of the process, whole; pages say little.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django": {"handlers": [], "level": "WARNING", "propagate": True}},
}

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

# The largest file that may be imported (crm/imports).
IMPORT_MAX_BYTES: int = read.number("IMPORT_MAX_MEGABYTES", 100, least=1, most=2_000) * 1_000_000

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
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("srvc/favicon.svg"),
        }
    ],
    "SITE_URL": None,  # there is no other site to return to
    "LOGIN": {"form": "srvc.forms.SignInForm"},
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Two-factor sign-in", "link": reverse_lazy("admin:two_factor")},
        ]
    },
}
