"""Settings, one file, top to bottom. Values come from the environment (see `.env.example`).

A bad or missing value does not fail here: it is collected and reported by the system checks of
`srvc.checks` (`srvc.E001` …), each naming the variable and the next step.
"""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from typing import Any

import environ
import pghistory
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.management.utils import get_random_secret_key
from django.templatetags.static import static
from django.urls import reverse_lazy

from ops.backups import dbbackup_hooks
from ops.postgres.embedded import socket_directory
from ops.postgres.pooler import DIRECT_URL
from srvc import backup_keys, environment, environment_names, watching
from srvc.configuration import Configuration, Problem
from srvc.navigation import SIDEBAR
from srvc.storage_urls import backup_storages

BASE_DIR = environment.BASE_DIR

# What could not be read, told by srvc.checks; nothing starts while there is any.
CONFIGURATION_ERRORS: list[Problem] = []
read = Configuration(environ.Env(), CONFIGURATION_ERRORS)
try:
    ENVIRONMENT = environment.environment_name()
    environment.load(ENVIRONMENT)
    environment_names.report_names(read, ENVIRONMENT)
except environment.EnvironmentNameError as error:
    # As strict as production, and no file: nothing of another environment may be taken for it.
    ENVIRONMENT = "unknown"
    read.report("file", "SRVC_ENV", "is no environment's name", str(error))
except environment.EnvironmentFileError as error:
    read.report("file", "SRVC_ENV", f"is {ENVIRONMENT}, whose file is of no use", str(error))
PRODUCTION_LIKE = ENVIRONMENT != environment.DEVELOPMENT
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text("utf-8"))["project"]["version"]

# --- the process -------------------------------------------------------------------------------

DEBUG: bool = read.flag("DEBUG", False, safe=False)
SECRET_KEY: str = read.text("SECRET_KEY")
SECRET_KEY_FALLBACKS: list[str] = read.items("SECRET_KEY_FALLBACKS")
if PRODUCTION_LIKE:
    read.refuse_debug("DEBUG", DEBUG)
    read.refuse_weak_key("SECRET_KEY", SECRET_KEY)
    for _former in SECRET_KEY_FALLBACKS:
        read.refuse_weak_key("SECRET_KEY_FALLBACKS", _former)
# No default that could reach production: a key that nobody knows and that the next start forgets.
SECRET_KEY = SECRET_KEY or get_random_secret_key()
ALLOWED_HOSTS: list[str] = read.hosts(
    "ALLOWED_HOSTS",
    default=() if PRODUCTION_LIKE else ("127.0.0.1", "localhost", "[::1]"),
    strict=PRODUCTION_LIKE,
)
CSRF_TRUSTED_ORIGINS: list[str] = read.origins(
    "CSRF_TRUSTED_ORIGINS", strict=ENVIRONMENT == environment.PRODUCTION
)
VAR_DIR = environment.variable_folder()
# The launcher and gunicorn read these three by themselves; a wrong one is told with the others.
read.listens("HOST")
read.number("PORT", 8000, least=1, most=65_535)
read.number("WEB_CONCURRENCY", 2, least=1, most=256)
ROOT_URLCONF = "srvc.urls"
WSGI_APPLICATION = "srvc.wsgi.application"

INSTALLED_APPS = [
    "srvc.command_overrides",  # before django.contrib.auth, whose commands it replaces
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
    "srvc.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "srvc.maintenance.MaintenanceMiddleware",
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
    "srvc.database_errors.DatabaseErrorMiddleware",
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


# psycopg reads no other form of moments. By libpq's own variable: a pooler passes it on.
os.environ["PGDATESTYLE"] = "ISO"


EMBEDDED_POSTGRES = not (
    PRODUCTION_LIKE or any(map(read.text, ("DATABASE_URL", "DATABASE_OWNER_URL", DIRECT_URL)))
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
# The owner's work needs PostgreSQL itself. Where its address leads to a connection pooler, the one
# beside it does not (docs/poolers.md, ADR 25).
OWNER_URL_VARIABLE = DIRECT_URL if read.text(DIRECT_URL) else "DATABASE_OWNER_URL"
if read.text(DIRECT_URL):
    DATABASES["owner"] = _database(DIRECT_URL, "srvc_owner", "SRVC_OWNER_PASSWORD")
    read.separate_logins(DATABASES["default"], DATABASES["owner"], variable=DIRECT_URL)
# Where base backups and WAL are taken from, by a login that enters no database and so is no alias
# here (ops/postgres/endpoint.py); empty: by nobody.
REPLICATION_URL: str = read.replication(
    "DATABASE_REPLICATION_URL",
    embedded_host=DATABASES["owner"]["HOST"] if EMBEDDED_POSTGRES else None,
    embedded_password=read.text("SRVC_REPLICATION_PASSWORD"),
)
read.administrator(
    "DATABASE_ADMIN_URL", kept_in_file=environment_names.is_in_file("DATABASE_ADMIN_URL")
)
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
        # Backups are taken and changed by the owner's login, in commands and in the worker.
        "ops_backup": "SELECT",
        "ops_backupcopy": "SELECT",
        "ops_walsegment": "SELECT",
        "ops_run": "SELECT, INSERT, UPDATE (cancel_asked_at, cancel_asked_by, status, approved_at,"
        " approved_by, message, finished_at)",
        "ops_restore": "SELECT",
        "ops_restorepoint": "SELECT",
        "ops_recovery": "SELECT",
        "ops_drill": "SELECT",
        # Checks are run by the owner's login; what people make of findings is theirs to write.
        "ops_finding": "SELECT, UPDATE (assigned_to, acknowledged_at, acknowledged_by,"
        " snoozed_until, snooze_reason, snoozed_by)",
        "ops_findingevent": "SELECT, INSERT",
        "ops_checkresult": "SELECT",
        "ops_sample": "SELECT",
        "ops_statement": "SELECT",
        "ops_statementsample": "SELECT",
        "ops_notice": "SELECT",
    },
    "public": {},
}

# Tables of which a role sees every row by policy, and knowingly so (besides "admin").
RLS_OPEN_TABLES: dict[str, list[str]] = {
    # Signing in needs everybody's row, before it is known who asks.
    "app": ["users", "users_groups", "users_user_permissions"],
    "member": ["subscription_plans"],  # what businesses may choose from
}

# Tables that only the owner reaches, and knowingly so.
RLS_OWNER_ONLY_TABLES = [
    "pghistory_context",  # unused: see PGHISTORY_* below
    "ops_recoveryrow",  # rows of every account, as they were
]

# Functions that act with their owner's rights (SECURITY DEFINER), and who may call them.
RLS_DEFINER_FUNCTIONS: dict[str, list[str]] = {
    "app": ["ops_share_writes"],
    "member": ["ops_share_writes"],
    "admin": ["ops_activity", "ops_share_writes", "ops_signal_session"],
    "public": ["ops_share_writes"],
}

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
REQUIRE_TWO_FACTOR: bool = read.flag("REQUIRE_TWO_FACTOR", PRODUCTION_LIKE, safe=True)
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

HTTPS: bool = read.flag("HTTPS", PRODUCTION_LIKE, safe=True)
if ENVIRONMENT == environment.PRODUCTION and not HTTPS:
    read.report("unsafe", "HTTPS", "lets passwords cross the network in clear", "Remove HTTPS.")
if PRODUCTION_LIKE and not read.text("TRUSTED_PROXIES"):
    read.missing("TRUSTED_PROXIES", "Set the number of reverse proxies in front: often 1, or 0.")
# Links in mails and messages begin so.
SITE_ADDRESS: str = watching.site_address(
    read,
    required=PRODUCTION_LIKE,
    hosts=ALLOWED_HOSTS if PRODUCTION_LIKE else (),
    https=HTTPS,
)
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = read.number("HSTS_SECONDS", 31_536_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = read.flag("HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD = read.flag("HSTS_PRELOAD", False, safe=False)
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
_email = read.email(
    "EMAIL_URL", default="consolemail://", strict=ENVIRONMENT == environment.PRODUCTION
)
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
    # "dbbackup" and, when one is named, "dbbackup_copy": see backups below.
    **backup_storages(read, VAR_DIR / "backups"),
}

# The largest file that may be imported (crm/imports).
IMPORT_MAX_BYTES: int = read.number("IMPORT_MAX_MEGABYTES", 100, least=1, most=2_000) * 1_000_000

# --- backups -----------------------------------------------------------------------------------

# Public keys (age1…) that backups are encrypted to; files with secret ones that open them, where
# they may be read; and what manifests are signed with. See docs/backups.md.
BACKUP_AGE_RECIPIENTS: list[str] = backup_keys.recipients(read)
BACKUP_AGE_IDENTITY_FILES: list[str] = backup_keys.identity_files(read)
BACKUP_SIGNING_KEY: str
BACKUP_SIGNING_KEY_FALLBACKS: list[str]
BACKUP_SIGNING_KEY, BACKUP_SIGNING_KEY_FALLBACKS = backup_keys.signing_keys(
    read, strict=PRODUCTION_LIKE, secret_key=SECRET_KEY
)

# What is promised: when each kind is taken, how long it stays, how often one is proven, how much
# work may be lost (rpo) and how long restoring may take (rto). ops/backups/plan.py reads it.
BACKUP_PLAN: dict[str, Any] = {
    "rpo": timedelta(hours=24),
    "rto": timedelta(hours=1),
    "failed_after": timedelta(days=30),
    "kinds": {
        "full": {
            "cadence": "daily 02:00",
            "keep": {"daily": 14, "weekly": 8, "monthly": 12, "yearly": 3},
            "minimum_age": timedelta(days=2),
            "drill": timedelta(days=7),
        },
        "base": {
            "cadence": "weekly sunday 01:00",
            "keep": {"weekly": 4},
            "minimum_age": timedelta(days=7),
            "drill": timedelta(days=30),
        },
        "incremental": {
            "cadence": "daily 03:00",
            "keep": {"daily": 14},
            "minimum_age": timedelta(days=7),
        },
        "media": {
            "cadence": "daily 02:30",
            "keep": {"daily": 14, "weekly": 8, "monthly": 12},
            "minimum_age": timedelta(days=2),
        },
        # Taken by hand, for a purpose: a month is enough to remember it, or to pin it.
        "schema": {"keep": {"monthly": 12}, "minimum_age": timedelta(days=30)},
        "data": {"keep": {"monthly": 3}, "minimum_age": timedelta(days=30)},
        "tables": {"keep": {"monthly": 3}, "minimum_age": timedelta(days=30)},
    },
}
# The off-site copies follow the same plan unless one of their own stands here.
BACKUP_COPY_PLAN: dict[str, Any] | None = None

# django-dbbackup works on the same storage: its commands make backups the catalogue knows, and
# restore ours. GPG recipients count where no age recipient is set.
DBBACKUP_DATABASES = ["owner"]
DBBACKUP_CONNECTORS = {"owner": {"CONNECTOR": dbbackup_hooks.CONNECTOR}}
DBBACKUP_CONNECTOR_MAPPING = {"django.db.backends.postgresql": dbbackup_hooks.CONNECTOR}
DBBACKUP_FILENAME_TEMPLATE = dbbackup_hooks.database_file
DBBACKUP_MEDIA_FILENAME_TEMPLATE = dbbackup_hooks.media_file
DBBACKUP_CLEANUP_KEEP_FILTER = dbbackup_hooks.keep
DBBACKUP_GPG_RECIPIENT: list[str] | None = read.items("BACKUP_GPG_RECIPIENT") or None
DBBACKUP_GPG_ALWAYS_TRUST: bool = read.flag("BACKUP_GPG_ALWAYS_TRUST", False, safe=False)
# A chain of incremental backups is restored from its base on: so many links and days at most.
BACKUP_CHAIN_LINKS: int = read.number("BACKUP_CHAIN_LINKS", 24, least=1, most=1_000)
BACKUP_CHAIN_DAYS: int = read.number("BACKUP_CHAIN_DAYS", 7, least=1, most=3_650)
# What was written is in the WAL archive after so many seconds at most, however little it was.
BACKUP_WAL_SWITCH_SECONDS: int = read.number("BACKUP_WAL_SWITCH_SECONDS", 300, least=5, most=86_400)

# --- restores ----------------------------------------------------------------------------------

# What must be true of any data of ours (ops/invariants.py); asked of what was restored before it
# may take the live database's place, in every drill, and after a partial recovery.
INVARIANTS = ["crm.health.INVARIANTS", "billing.health.INVARIANTS"]
# What is recovered by name (`recover --account EMAIL`), and references that are no foreign keys.
RECOVERY_SUBJECTS = ["crm.recovery.ACCOUNT", "crm.recovery.CUSTOMER"]
RECOVERY_LINKS = ["crm.recovery.links"]
# Columns that say who did something: an account's archive carries them along where it knows who.
RECOVERY_MENTIONS = ["crm.recovery.mentions"]
# Rows of people that stay out of their account's archive: second factors are enrolled anew where
# the account goes, single permissions and the log of an admin page mean nothing there.
ACCOUNT_ARCHIVE_LEAVES_OUT = [
    "public.otp_totp_totpdevice",
    "public.otp_static_staticdevice",
    "public.otp_static_statictoken",
    "public.users_user_permissions",
    "public.django_admin_log",
]
# What pages exported waits so many hours to be downloaded, and what was uploaded to be confirmed;
# then it is removed. And the largest archive that may be uploaded.
ACCOUNT_ARCHIVE_HOURS: int = read.number("ACCOUNT_ARCHIVE_HOURS", 24, least=1, most=720)
ACCOUNT_ARCHIVE_MAX_BYTES: int = (
    read.number("ACCOUNT_ARCHIVE_MAX_MEGABYTES", 2_000, least=1, most=1_000_000) * 1_000_000
)
# Columns that name a file below MEDIA_ROOT, as "schema.table.column": such files come along.
RECOVERY_FILE_COLUMNS: list[str] = []
# Recovered rows are complete already: triggers that guard the way rows come about would refuse them
# and are switched off for them. Those whose names begin so record history, and stay.
RECOVERY_KEEPS_TRIGGERS = [
    "pgtrigger_insert_insert",
    "pgtrigger_update_update",
    "pgtrigger_delete_delete",
]
# The database that a restore replaced is kept so long under a name of its own.
RESTORE_KEEP_DAYS: int = read.number("RESTORE_KEEP_DAYS", 7, least=0, most=365)
# Whether restores, recoveries and imports of accounts wait for a second administrator's approval.
RESTORE_TWO_PERSONS: bool = read.flag("RESTORE_TWO_PERSONS", False, safe=True)
# Asked for a moment that is not in the WAL archive yet, the server closes its segment, and the
# receiver is given so long to store it.
RESTORE_WAL_WAIT_SECONDS: int = read.number("RESTORE_WAL_WAIT_SECONDS", 30, least=0, most=3_600)
# Run in a drill on what was restored, in a process of its own; its exit status is the answer.
SMOKE_TEST_COMMAND = "smoketest"

# --- health -----------------------------------------------------------------------------------

# The checks, in the order in which they are shown: dotted paths to sequences of them
# (ops/health/contract.py). docs/health.md says what each looks at.
HEALTH_CHECKS = [
    "ops.health.checks.connection.CHECKS",
    "ops.health.checks.integrity.CHECKS",
    "ops.health.checks.security.CHECKS",
    "ops.health.checks.performance.CHECKS",
    "ops.health.checks.storage.CHECKS",
    "ops.health.checks.backups.CHECKS",
    "ops.health.checks.wal_contents.CHECKS",
    "ops.health.checks.schedule.CHECKS",
    "ops.health.checks.replication.CHECKS",
    "ops.health.checks.notices.CHECKS",
    "crm.checks.CHECKS",
    "crm.security_checks.CHECKS",
]
# Where a threshold of ops/health/thresholds.py should be another one, by its name.
HEALTH_THRESHOLDS: dict[str, Any] = {}
# Models whose rows are keys of machines, as "app.Model:last_used_field:expires_field"; either field
# may be left out ("api.Key::expires_at"). Keys that nobody uses or that never end are findings.
HEALTH_KEY_MODELS: list[str] = []
# Findings that are known and stay, as "check:key": and why. They are shown, and count for nothing.
HEALTH_ACCEPTED: dict[str, str] = {}
# Who is told when a critical finding comes and when it is over (docs/health.md, Notices).
HEALTH_NOTIFY_EMAILS: list[str] = watching.recipients(read)
HEALTH_NOTIFY_WEBHOOK_URL: str = watching.webhook(read)
HEALTH_TIME_ZONE: str = watching.time_zone(read, TIME_ZONE)
HEALTH_QUIET_HOURS: str = watching.quiet_hours(read, HEALTH_TIME_ZONE)
# Findings that are gone, and numbers over time, are kept so long (ops/health/retention.py).
HEALTH_KEEP_DAYS: int = read.number("HEALTH_KEEP_DAYS", 400, least=31, most=3_650)
# What the watcher tidies besides, every time it looks: dotted paths of functions of the time.
WATCHER_TIDIES = [
    "ops.restores.accounts.kept.tidy",
    "ops.restores.media.kept.tidy",
    "ops.runs.tidy",
]
# Who may read /metrics: whoever has the token, and these networks; without both there is none.
METRICS_TOKEN: str = watching.metrics_token(read)
METRICS_ALLOW: list[str] = watching.metrics_networks(read)

# --- tasks and schedule ------------------------------------------------------------------------

# A worker each: an hour's backup in "operations" must not keep customers' imports waiting.
TASKS = {
    "default": {
        "BACKEND": "django_tasks_db.DatabaseBackend",
        "QUEUES": ["default", "operations"],
    }
}
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
