"""Forms of people who can't sign in yet, or no longer."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import forms
from unfold.forms import AuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES, UnfoldAdminPasswordWidget


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """E-mail address and password; one answer to every wrong pair."""

    error_messages = {
        "invalid_login": "This e-mail address and password don't belong together, or the sign-in "
        "is not active.",
        "inactive": "This e-mail address and password don't belong together, or the sign-in is "
        "not active.",
    }


class PasswordResetForm(forms.PasswordResetForm):
    """Takes the address that somebody signs in with. The view asks for the link."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)


class SetPasswordForm(forms.SetPasswordForm):  # type: ignore[type-arg]  # not generic at run time
    """A new password, twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("new_password1", "new_password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget(
                attrs={"autocomplete": "new-password"}
            )
