"""Pages of the admin that are Django's but for a detail."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth.views import PasswordResetView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy

from srvc.forms import PasswordResetForm
from srvc.password_links import WINDOW, TooManyLinksError, ask_for_link
from srvc.throttling import client_address, too_many


class AutocompleteView(AutocompleteJsonView):
    """Choices for a field of a form."""

    def process_request(self, request: HttpRequest) -> Any:
        """What is asked for. Raises PermissionDenied for a field that no form has."""
        asked = super().process_request(request)
        _, _, source, _ = asked
        if not source.concrete:
            raise PermissionDenied
        return asked


class ForgottenPasswordView(PasswordResetView):
    """Asks for a link that lets one choose a new password; says the same whoever asks."""

    form_class = PasswordResetForm
    success_url = reverse_lazy("admin:password_reset_done")

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            ask_for_link(form.cleaned_data["email"], network=client_address(self.request))
        except TooManyLinksError:
            return too_many(self.request, wait=WINDOW, page="429_links.html")
        return HttpResponseRedirect(str(self.success_url))
