"""Imports: upload, look at what the rows would become, start, watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminSelectWidget

from crm.admin.base import is_platform_administrator
from crm.errors import CrmError
from crm.imports.headers import IGNORE
from crm.imports.preview import Preview, preview
from crm.imports.uploads import (
    cancel_import,
    look_after,
    may_import,
    options_of,
    queue_import,
    save_mapping,
    save_upload,
    sources_of,
)
from crm.models import Account, ImportKind, ImportRun, ImportStatus, User
from ops.admin.looks import ModelAdmin, display

_COLOURS = {
    ImportStatus.PREVIEW: "info",
    ImportStatus.QUEUED: "warning",
    ImportStatus.RUNNING: "warning",
    ImportStatus.DONE: "success",
    ImportStatus.REFUSED: "danger",
}


class _SeveralFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """One or more files, for invoices and their lines."""

    widget = _SeveralFiles

    def clean(self, data: Any, initial: Any = None) -> Any:
        files = data if isinstance(data, list | tuple) else [data]
        return [super(_FilesField, self).clean(file, initial) for file in files]


class UploadForm(forms.Form):
    """Which files, and what is in them."""

    kind = forms.ChoiceField(
        label="What is in the file", choices=ImportKind.choices, widget=UnfoldAdminSelectWidget
    )
    uploads = _FilesField(
        label="CSV files",
        allow_empty_file=True,  # told as a problem of the file, like every other
        help_text="One file; for invoices also one of the invoices and one of their lines.",
    )
    account = forms.ModelChoiceField(
        Account.objects.none(), label="Account", widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = [choice for choice in ImportKind.choices if may_import(user, choice[0])]
        self.fields["kind"].choices = allowed  # type: ignore[attr-defined]
        if user.account_id is not None:
            del self.fields["account"]
        else:
            accounts: Any = self.fields["account"]
            accounts.queryset = Account.objects.order_by("name")


@admin.register(ImportRun)
class ImportRunAdmin(ModelAdmin):
    """Files brought in from elsewhere, and what became of them."""

    list_display: Any = (
        "what",
        "state",
        "rows_created",
        "rows_skipped",
        "started_by",
        "created_at",
    )
    list_display_links = ("what",)
    list_filter = (("kind", ChoicesDropdownFilter), ("status", ChoicesDropdownFilter))
    # Not joined: a join would read people's password hashes, which no request may.
    list_select_related: ClassVar[Any] = ()
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    list_fullwidth = True

    @display(description="Import")
    def what(self, run: ImportRun) -> str:
        """Kind and file."""
        return str(run)

    @display(description="Status", label={str(key): value for key, value in _COLOURS.items()})
    def state(self, run: ImportRun) -> tuple[str, str] | str:
        """How far it is."""
        return (run.status, run.get_status_display())

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).defer("content", "problems")
        return rows.prefetch_related("started_by")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return super().has_add_permission(request) and any(
            may_import(user, kind) for kind in ImportKind.values
        )

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("preview", self.preview_view),
            ("progress", self.progress_view),
            ("status", require_GET(self.status_view)),
            ("cancel", require_POST(self.cancel_view)),
        )
        own = [
            path(
                f"<int:run_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"crm_importrun_{name}",
            )
            for name, view in pages
        ]
        return [*own, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Choose the files."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user = _user(request)
        form = UploadForm(request.POST or None, request.FILES or None, user=user)
        if request.method == "POST" and form.is_valid():
            account = form.cleaned_data.get("account") or user.account
            assert account is not None  # without one of their own, the form asks for it
            try:
                run = save_upload(
                    account=account,
                    kind=form.cleaned_data["kind"],
                    files=form.cleaned_data["uploads"],
                    by=user,
                )
            except CrmError as error:
                form.add_error("uploads", str(error))
            else:
                return _to("preview", run)
        return self._page(request, "upload", "Import", form=form)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A run has no form: its preview, or how it went."""
        run = self.get_object(request, object_id)
        if run is None:
            redirect: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
            return redirect
        return _to("preview" if run.status == ImportStatus.PREVIEW else "progress", run)

    def preview_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """What the rows would become; the columns' meaning can be changed here."""
        run = self._run(request, run_id, to_import=True)
        if run.status != ImportStatus.PREVIEW:
            return _to("progress", run)
        shown = self._preview(run)
        if request.method == "POST":
            user = _user(request)
            try:
                mapping = _chosen_mapping(request.POST, run, shown)
                if mapping != run.mapping:
                    save_mapping(run=run, mapping=mapping, by=user)
                    shown = self._preview(run)
                if "start" in request.POST and shown.may_start:
                    queue_import(run=run, by=user)
                    return _to("progress", run)
            except CrmError as error:
                messages.error(request, str(error))
                return _to("progress", run)
        return self._page(request, "preview", str(run), run=run, preview=shown, ignore=IGNORE)

    def progress_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """How far the import is; afterwards, what became of it."""
        run = self._run(request, run_id)
        if run.status == ImportStatus.PREVIEW:
            return _to("preview", run)
        look_after(run=run)
        return self._page(request, "progress", str(run), run=run, state=_state(run))

    def status_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """The same for the page's script."""
        run = self._run(request, run_id)
        look_after(run=run)
        response = JsonResponse(_state(run))
        response["Cache-Control"] = "no-store"
        return response

    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Stop it."""
        run = self._run(request, run_id, to_import=True)
        try:
            cancel_import(run=run, by=_user(request))
        except CrmError as error:
            messages.error(request, str(error))
        return _to("progress", run)

    def _run(self, request: HttpRequest, run_id: int, *, to_import: bool = False) -> ImportRun:
        run = ImportRun.objects.select_related("account").filter(pk=run_id).first()
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        if to_import and not may_import(_user(request), run.kind):
            raise PermissionDenied
        return run

    def _preview(self, run: ImportRun) -> Preview:
        return preview(
            kind=run.kind, sources=sources_of(run), account=run.account, options=options_of(run)
        )

    def _page(
        self, request: HttpRequest, name: str, title: str, **context: Any
    ) -> TemplateResponse:
        return TemplateResponse(
            request,
            f"crm/import/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "has_view_permission": self.has_view_permission(request),
                "everywhere": is_platform_administrator(request),
                **context,
            },
        )


def _chosen_mapping(posted: Mapping[str, str], run: ImportRun, shown: Preview) -> dict[str, str]:
    """The columns that are to be something else than they were taken for, and earlier choices."""
    known = {known.name for known in shown.fields} | {IGNORE}
    mapping = dict(run.mapping)
    for file_number, file in enumerate(shown.files):
        for place, column in enumerate(file.columns):
            chosen = posted.get(f"column-{file_number}-{place}")
            if chosen in known and chosen != column.field and column.name:
                mapping[column.name] = chosen
    return mapping


def _state(run: ImportRun) -> dict[str, Any]:
    at_work = run.status in {ImportStatus.QUEUED, ImportStatus.RUNNING}
    return {
        "status": run.status,
        "label": run.get_status_display(),
        "message": run.message,
        "done": run.rows_done,
        "total": run.rows_total,
        "at_work": at_work,
    }


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _to(page: str, run: ImportRun) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse(f"admin:crm_importrun_{page}", args=[run.pk]))
