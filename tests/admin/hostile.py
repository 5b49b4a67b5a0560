"""Values that nobody means well with, and every address of the admin that takes one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from django.contrib import admin
from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

NUL = "a\x00b"
HUGE = "9" * 40
# What stands in the place of a key or of a value.
VALUES = (
    NUL,
    "\x00",
    HUGE,
    "-1",
    "9223372036854775808",
    "2147483648",
    "0",
    "1e400",
    "NaN",
    "Infinity",
    "'; DROP TABLE users; --",
    "\ud800",
    "\u202e\U0010ffff",
    "../../etc/passwd",
    "9999-12-31",
    "0000-00-00",
    "10000-01-01",
    "[]",
    "{}",
    "",
    "x" * 5_000,
)
KEYS = (NUL, HUGE, "9223372036854775808", "x" * 3_000)
# Look-ups whose values no column holds.
OF_MOMENTS = (("year", "9999"), ("year__gte", "0"), ("date", NUL), ("range", "1,2,3"))
OF_OTHERS = (("exact", HUGE), ("contains", NUL), ("regex", "("), ("isnull", "maybe"))
PARAMETERS = ("q", "o", "p", "_facets", "_to_field", "work", "kind")


def addresses() -> Iterator[str]:
    """Yield addresses of every registered model's pages with hostile keys and query strings."""
    admin.autodiscover()
    for model in admin.site._registry:
        yield from _lists(model)
        yield from _rows(model)
        yield from _autocompletes(model)
    for key in KEYS:
        yield f"/admin/password-reset/{_segment(key)}/{_segment(key)}/"
        yield f"/admin/jsi18n/?{urlencode({'language': key})}"
        yield f"/admin/r/{_segment(key)}/{_segment(key)}/"
        yield f"/admin/search/?{urlencode({'s': key})}"
        yield f"/admin/login/?{urlencode({'next': key})}"


def _lists(model: type[models.Model]) -> Iterator[str]:
    page = _reverse(model, "changelist")
    if page is None:
        return
    for name in PARAMETERS:
        for value in (NUL, HUGE):
            yield f"{page}?{_query(name, value)}"
    for field in model._meta.get_fields():
        for lookup, value in OF_MOMENTS if isinstance(field, models.DateField) else OF_OTHERS:
            yield f"{page}?{_query(f'{field.name}__{lookup}', value)}"
        first, last = _query(f"{field.name}_from", NUL), _query(f"{field.name}_to", "9999-12-31")
        yield f"{page}?{first}&{last}"
    add = _reverse(model, "add")
    if add is not None:
        names = [field.name for field in model._meta.get_fields()]
        for value in VALUES:
            yield f"{add}?{'&'.join(_query(name, value) for name in names)}"


def _rows(model: type[models.Model]) -> Iterator[str]:
    for key in KEYS:
        for name in ("change", "history", "delete"):
            page = _reverse(model, name, "KEY")
            if page is not None:
                yield page.replace("KEY", _segment(key))


def _autocompletes(model: type[models.Model]) -> Iterator[str]:
    for field in model._meta.get_fields():
        if field.is_relation:
            named = {
                "app_label": model._meta.app_label,
                "model_name": model._meta.model_name or "",
                "field_name": field.name,
            }
            for term, page in ((NUL, "1"), ("a", HUGE)):
                yield f"/admin/autocomplete/?{urlencode({**named, 'term': term, 'page': page})}"
    for name in ("app_label", "model_name", "field_name"):
        named = {"app_label": "crm", "model_name": "job", "field_name": "customer", "term": "a"}
        yield f"/admin/autocomplete/?{urlencode({**named, name: NUL})}"


def _reverse(model: type[models.Model], page: str, *args: str) -> str | None:
    try:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
        return reverse(name, args=args)
    except NoReverseMatch:
        return None


def _query(name: str, value: str) -> str:
    return urlencode({name: value.encode(errors="surrogatepass")})


def _segment(key: str) -> str:
    return quote(key, safe="")
