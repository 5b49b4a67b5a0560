"""The one admin site, with everything about signing in under it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views as auth_views
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, URLResolver, path, reverse, reverse_lazy
from unfold.sites import UnfoldAdminSite

from srvc.login_role import as_login, runs_as_login


class SrvcAdminSite(UnfoldAdminSite):  # type: ignore[misc]
    """SRVC's admin: Unfold's pages, sign-in outside the request's role, second factors."""

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff only, and nobody who still owes a second factor (srvc.two_factor.middleware)."""
        # Signing out is always allowed; Django asks this before it does.
        owes = getattr(request, "second_factor_missing", "")
        return super().has_permission(request) and (
            not owes or request.path == reverse("admin:logout")
        )

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Unfold's pages and those of srvc.two_factor and of forgotten passwords."""
        from srvc.two_factor import views

        return [
            path("two-factor/", as_login(views.manage), name="two_factor"),
            path("two-factor/verify/", as_login(views.verify), name="two_factor_verify"),
            *self._password_reset_urls(),
            *super().get_urls(),
        ]

    def autocomplete_view(self, request: HttpRequest) -> HttpResponseBase:
        """Choices for a field of a form."""
        from srvc.views import AutocompleteView

        return AutocompleteView.as_view(admin_site=self)(request)

    @runs_as_login
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign in; the database may be asked about everybody, by the bare login only."""
        return as_login(super().login)(request, extra_context)  # type: ignore[return-value]

    @runs_as_login
    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign out."""
        return as_login(super().logout)(request, extra_context)  # type: ignore[return-value]

    @runs_as_login
    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Change one's own password."""
        return as_login(super().password_change)(request, extra_context)  # type: ignore[return-value]

    def _password_reset_urls(self) -> list[URLPattern]:
        from srvc.forms import SetPasswordForm
        from srvc.views import ForgottenPasswordView

        def view(cls: Any, **options: Any) -> Any:
            def page(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
                answer: HttpResponseBase = cls.as_view(
                    **options, extra_context=self.each_context(request)
                )(request, **kwargs)
                return answer

            return as_login(page)

        return [
            path(
                "password-reset/",
                view(ForgottenPasswordView),
                name="admin_password_reset",
            ),
            path(
                "password-reset/sent/",
                view(auth_views.PasswordResetDoneView),
                name="password_reset_done",
            ),
            path(
                "password-reset/<uidb64>/<token>/",
                view(
                    auth_views.PasswordResetConfirmView,
                    form_class=SetPasswordForm,
                    success_url=reverse_lazy("admin:password_reset_complete"),
                ),
                name="password_reset_confirm",
            ),
            path(
                "password-reset/done/",
                view(auth_views.PasswordResetCompleteView),
                name="password_reset_complete",
            ),
        ]
