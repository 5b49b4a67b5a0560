"""The application's own check on the database that its settings name: would people find their work?

Pages are asked for in this process, as people of that database, without a server and without a
password. It reads; what it writes are its own sessions, which it removes. It sends no mail and
reaches no storage of files or backups.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import django_otp
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import Error, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count
from django.test import Client, RequestFactory
from django.test.utils import override_settings
from django.urls import NoReverseMatch, reverse

from crm.models import Customer, User
from crm.models.base import AccountModel
from ops.progress import Progress
from ops.rls.router import OWNER_ALIAS
from ops.rls.session import acting_as, acting_as_login
from srvc.two_factor.services import confirmed_device

_HOST = "smoke.test"
_OWNERS = 2  # accounts whose pages are asked for: those with the most customers
_HARMLESS: dict[str, Any] = {
    "ALLOWED_HOSTS": [_HOST],
    "REQUIRE_TWO_FACTOR": False,
    "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
    "SESSION_ENGINE": "django.contrib.sessions.backends.db",
    "CACHES": {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
}


@dataclass(frozen=True)
class Check:
    """One thing that was asked."""

    name: str
    problems: tuple[str, ...] = ()  # sentences; none: it held
    found: str = ""  # what was seen

    @property
    def held(self) -> bool:
        """Whether it was as it should be."""
        return not self.problems


def smoke_test(progress: Progress) -> Iterator[Check]:
    """Yield what was asked and how it went. Raises CancelledError."""
    progress.phase("looking for pending migrations")
    pending = _pending()
    yield pending
    if not pending.held:
        return  # pages of a schema that the code does not know say nothing
    with _harmless():
        yield _probes()
        yield _sign_in()
        try:
            people = _people()
        except Error as error:
            reason = type(error.__cause__).__name__
            yield Check("people", (f"People and their customers can't be read ({reason}).",))
            return
        for user in people:
            progress.check()
            what = "a platform administrator" if user.is_platform_administrator else "an owner"
            progress.phase(f"asking for pages as {what}")
            with _browser(user) as browser:
                yield from _pages(user, browser, what)
            if user.account_id is not None:
                yield _rows(user)
                with _browser(user) as browser:
                    yield _strangers(user, browser)


def _pending() -> Check:
    connection = connections[OWNER_ALIAS]
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    if not names:
        return Check("migrations", found="none is pending")
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    problem = (
        f"{len(names):,} migrations of this version are not applied to it: "
        f"{', '.join(names[:3])}{more}. No page was asked for; migrate it first."
    )
    return Check("migrations", (problem,))


def _probes() -> Check:
    client, problems = _client(), []
    for path in ("/healthz", "/readyz"):
        response = client.get(path, secure=True)
        if response.status_code != 200:
            problems.append(f"{path} answers {response.status_code}: {response.content.decode()}.")
    return Check("probes", tuple(problems), "/healthz and /readyz")


def _sign_in() -> Check:
    return _asked("sign-in page", _client(), [reverse("admin:login")])


def _people() -> list[User]:
    """Whoever the pages are asked for as: an administrator, and owners of accounts."""
    with acting_as_login():
        people = User.objects.filter(is_active=True, is_staff=True)
        administrators = [
            user
            for user in people.filter(account=None).order_by("-is_superuser", "pk")[:20]
            if user.is_platform_administrator
        ]
        largest = (
            Customer.objects.using(OWNER_ALIAS)
            .values_list("account_id")
            .annotate(customers=Count("id"))
            .order_by("-customers", "account_id")[: _OWNERS * 5]
        )
        size = dict(largest)
        owners = sorted(people.filter(pk__in=size), key=lambda user: -size[user.pk])
    return [*administrators[:1], *owners[:_OWNERS]]


def _pages(user: User, browser: Client, what: str) -> Iterator[Check]:
    lists, changes, searches = [], [], []
    with acting_as(user, via="smoke test"):
        request: Any = RequestFactory().get("/")
        request.user = user
        for model, page in sorted(_registered(), key=lambda each: each[0]._meta.label):
            if not (page.has_module_permission(request) and page.has_view_permission(request)):
                continue
            try:
                address = reverse(f"admin:{_route(model)}_changelist")
            except NoReverseMatch:
                continue
            lists.append(address)
            if page.get_search_fields(request):
                searches.append(f"{address}?q=a")
            row = _newest(page, request)
            if row is not None and page.has_view_permission(request, row):
                changes.append(reverse(f"admin:{_route(model)}_change", args=[row.pk]))
    yield _asked(f"dashboard of {what}", browser, [reverse("admin:index")])
    yield _asked(f"lists of {what}", browser, lists)
    yield _asked(f"pages of rows of {what}", browser, changes)
    yield _asked(f"searches of {what}", browser, searches)


def _newest(page: Any, request: Any) -> Any:
    try:
        with transaction.atomic():
            return page.get_queryset(request).order_by("-pk").first()
    except Error:
        return None  # the list, which asks the same, tells


def _rows(user: User) -> Check:
    """Whether the owner sees the account's rows: as many as there are, and nobody else's."""
    problems, seen = [], 0
    for model in apps.get_models():
        if not issubclass(model, AccountModel):
            continue
        manager: Any = model._default_manager
        try:
            there = manager.using(OWNER_ALIAS).filter(account=user.account_id).count()
            with acting_as(user, via="smoke test"):
                count = manager.count()
                others = manager.exclude(account=user.account_id).count()
        except Error as error:
            problems.append(
                f"{model._meta.db_table} can't be read ({type(error.__cause__).__name__})."
            )
            continue
        seen += count
        if count != there or others:
            problems.append(
                f"The owner of account {user.account_id} sees {count:,} rows of "
                f"{model._meta.db_table}, {others:,} of them other accounts'; it has {there:,}."
            )
    return Check("rows that an owner sees", tuple(problems), f"{seen:,} rows")


def _strangers(user: User, browser: Client) -> Check:
    """Whether another account's page is refused as one that never existed."""
    name = "another account's page"
    row = Customer.objects.using(OWNER_ALIAS).exclude(account=user.account_id).first()
    if row is None:
        return Check(name, found="there is no other account with customers")
    address = reverse(f"admin:{_route(Customer)}_change", args=[row.pk])
    response = browser.get(address, secure=True)
    if response.status_code in (302, 403, 404):
        return Check(name, found="refused")
    problem = (
        f"The owner of account {user.account_id} gets {response.status_code} for {address}, which "
        f"is a page of account {row.account_id}."
    )
    return Check(name, (problem,))


def _asked(name: str, browser: Client, addresses: Iterable[str]) -> Check:
    problems, count = [], 0
    for address in addresses:
        count += 1
        response = browser.get(address, secure=True)
        if response.status_code == 200 or _moved_on(response):
            continue
        raised = getattr(response, "exc_info", None)
        reason = f" ({raised[0].__name__}; the log says where)" if raised else ""
        problems.append(f"{address} answers {response.status_code}{reason}.")
    return Check(name, tuple(problems), f"{count:,} pages" if count != 1 else "1 page")


def _moved_on(response: Any) -> bool:
    """A list of one row may lead to it; anything that leads back to signing in is refused."""
    target = response.get("Location", "")
    away = (reverse("admin:login"), reverse("admin:index"), reverse("admin:two_factor_verify"))
    return response.status_code == 302 and target.split("?")[0] not in away


def _registered() -> list[tuple[type[models.Model], Any]]:
    admin.autodiscover()
    return list(admin.site._registry.items())


def _route(model: type[models.Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


def _client() -> Client:
    return Client(enforce_csrf_checks=True, raise_request_exception=False, headers={"host": _HOST})


@contextmanager
def _browser(user: User) -> Iterator[Client]:
    """A browser in which somebody is signed in, past the second factor if there is one."""
    with acting_as_login():
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        device = confirmed_device(user)
        if device is not None:
            session[django_otp.DEVICE_ID_SESSION_KEY] = device.persistent_id
        session.create()
    client = _client()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    try:
        yield client
    finally:
        with acting_as_login():
            session.delete()


@contextmanager
def _harmless() -> Iterator[None]:
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    storages = {
        **dict.fromkeys(settings.STORAGES, memory),
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    with override_settings(**_HARMLESS, STORAGES=storages), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No directory at")  # static files, which nobody asks for
        yield
