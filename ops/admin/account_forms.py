"""What pages ask about accounts as files."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ops.admin import arrivals
from ops.admin.buttons import ConfirmForm
from ops.restores.accounts.exporting import account_of
from ops.restores.errors import RefusedError


class ExportForm(ConfirmForm):
    """Asks whose account."""

    account = forms.CharField(
        label="E-mail address of its owner",
        max_length=254,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    encrypted = forms.BooleanField(
        label="Encrypted",
        required=False,
        initial=True,
        help_text="To the keys of backups: only who has one of them can open it.",
        widget=UnfoldBooleanWidget(),
    )
    passwords = forms.BooleanField(
        label="With the hashes of passwords",
        required=False,
        help_text="Without them people set a new password by e-mail where the account goes.",
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not settings.BACKUP_AGE_RECIPIENTS:
            del self.fields["encrypted"]

    def explanation(self) -> str:
        """What comes of it, and for how long."""
        open_to_all = (
            ""
            if settings.BACKUP_AGE_RECIPIENTS
            else " It is not encrypted, for BACKUP_AGE_RECIPIENTS is not set."
        )
        return (
            "Everything of the account becomes one file: rows with their history, people, uploaded "
            "files. Nothing of the account is changed. The file can be downloaded for "
            f"{settings.ACCOUNT_ARCHIVE_HOURS} hours, and is removed then.{open_to_all}"
        )

    def clean_account(self) -> str:
        """One that is there."""
        text = str(self.cleaned_data["account"]).strip()
        try:
            with connection.cursor() as cursor:
                account_of(cursor, text)
        except RefusedError as error:
            raise ValidationError(str(error)) from None
        return text


class UploadForm(forms.Form):
    """Asks for the archive, and for the address under which its owner signs in here."""

    archive = forms.FileField(
        label="Archive",
        allow_empty_file=True,  # told as a problem of the archive, like every other
        widget=UnfoldAdminFileFieldWidget(),
    )
    as_login = forms.EmailField(
        label="Another e-mail address for its owner",
        required=False,
        max_length=254,
        help_text="Where somebody signs in with the owner's address here already. Staff whose "
        "addresses are taken come as inactive users then. May stay empty.",
        widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.fields[
            "archive"
        ].help_text = (
            f"What an export wrote, as it is, encrypted or not; at most {arrivals.allowed()}."
        )


class DownloadForm(ConfirmForm):
    """Says what one gets."""

    def explanation(self) -> str:
        """What it is, and that it is recorded."""
        result = self.row.result
        locked = (
            "It is encrypted to the keys of backups."
            if result.get("encrypted")
            else "It is not encrypted: whoever has the file can read it."
        )
        return (
            f"Everything of {result.get('email', self.row.subject)}, with personal data. {locked} "
            "It is recorded that you downloaded it."
        )


class ConfirmImportForm(ConfirmForm):
    """Asks for the e-mail address that the account gets, typed."""

    email = forms.CharField(
        max_length=254,
        widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = f"Type {self._login} to confirm"

    @property
    def _login(self) -> str:
        return str(self.row.result.get("email", ""))

    def explanation(self) -> str:
        """What is made, and what is not touched."""
        number = sum(self.row.result.get("rows", {}).values())
        waits = (
            " It begins when a second administrator has approved it."
            if settings.RESTORE_TWO_PERSONS
            else ""
        )
        return (
            f"{self._login} becomes an account of this server with {number:,} rows, in one "
            "transaction: all of it or nothing. No other account is touched. It can't be undone by "
            f"a button.{waits}"
        )

    def clean_email(self) -> str:
        """The very address."""
        typed = str(self.cleaned_data["email"]).strip()
        if typed.casefold() != self._login.casefold():
            raise ValidationError("This is not the account's e-mail address. Nothing was begun.")
        return typed


class AddressForm(ConfirmForm):
    """Asks for the address to try."""

    as_login = forms.EmailField(
        label="E-mail address that its owner signs in with here",
        required=False,
        max_length=254,
        help_text="Empty: the one in the archive.",
        widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off"}),
    )

    def explanation(self) -> str:
        """What becomes of it."""
        return (
            "The same archive is looked at once more, with this address; nothing is kept of it. "
            "Staff whose addresses are taken come as inactive users with another one."
        )


class DiscardForm(ConfirmForm):
    """Says what goes."""

    def explanation(self) -> str:
        """What goes."""
        return "The uploaded file is removed from the server now. No account is changed."
