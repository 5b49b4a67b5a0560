"""The one field that both pages ask for."""

from typing import Any

from django import forms
from unfold.widgets import BASE_INPUT_CLASSES


class CodeForm(forms.Form):
    """A code, as an authenticator shows it or as it was printed."""

    code = forms.CharField(
        max_length=20,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autofocus": True,
                "autocapitalize": "off",
                "spellcheck": "false",
                "class": " ".join(BASE_INPUT_CLASSES),
            }
        ),
    )

    def __init__(self, *args: Any, digits_only: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if digits_only:
            self.fields["code"].widget.attrs["inputmode"] = "numeric"
            self.fields["code"].help_text = "The six digits that your authenticator app shows."
        else:
            self.fields[
                "code"
            ].help_text = "The six digits that your authenticator app shows, or a recovery code."

    def refuse(self, *, too_many: bool) -> None:
        """Say no, alike for a wrong code and for a used one."""
        self.add_error(
            "code",
            "Too many tries. Wait a minute, then enter the code that is shown then."
            if too_many
            else "This code is not right, or was used already. Enter the next one that is shown.",
        )
