"""Pages of people who can't sign in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import PasswordResetView
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy

from srvc.forms import PasswordResetForm
from srvc.password_links import WINDOW, TooManyLinksError, ask_for_link
from srvc.throttling import client_address, too_many


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
