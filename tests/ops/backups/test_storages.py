"""BACKUP_STORAGE and BACKUP_COPY_STORAGE: what they mean, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
import pytest

from srvc.configuration import Configuration
from srvc.storage_urls import backup_storages

FOLDER = "django.core.files.storage.FileSystemStorage"
S3 = "ops.backups.s3.S3Backups"


def reading(**variables: str) -> Configuration:
    env = environ.Env()
    env.ENVIRON = variables
    return Configuration(env, [])


def storages(**variables: str) -> dict[str, dict[str, Any]]:
    read = reading(**variables)
    found = backup_storages(read, Path("/default"))
    assert read.problems == []
    return found


def problem(**variables: str) -> str:
    read = reading(**variables)
    found = backup_storages(read, Path("/default"))
    assert list(found) == ["dbbackup"]  # backups never go where nobody meant them to
    (only,) = read.problems
    assert only.fix.endswith((".", ").")), only.fix
    return f"{only.kind} {only.variable} {only.wrong}"


def test_without_a_word_backups_are_in_a_folder_closed_to_others() -> None:
    assert storages() == {
        "dbbackup": {
            "BACKEND": FOLDER,
            "OPTIONS": {
                "location": "/default",
                "file_permissions_mode": 0o600,
                "directory_permissions_mode": 0o700,
            },
        }
    }


def test_a_folder_and_a_copy_on_another_disk() -> None:
    found = storages(BACKUP_STORAGE="/srv/backups", BACKUP_COPY_STORAGE="/mnt/usb/backups")
    assert [entry["OPTIONS"]["location"] for entry in found.values()] == [
        "/srv/backups",
        "/mnt/usb/backups",
    ]


def test_a_bucket_with_its_keys_beside_it() -> None:
    found = storages(
        BACKUP_STORAGE="s3://bucket/my%20backups/here/?endpoint=https://s3.example.com:9000"
        "&region=eu-central-1&part=64&addressing=path",
        BACKUP_S3_ACCESS_KEY="name",
        BACKUP_S3_SECRET_KEY="secret",
        BACKUP_COPY_STORAGE="s3://copies",
    )
    assert found["dbbackup"] == {
        "BACKEND": S3,
        "OPTIONS": {
            "bucket_name": "bucket",
            "location": "my backups/here",
            "endpoint_url": "https://s3.example.com:9000",
            "region_name": "eu-central-1",
            "addressing_style": "path",
            "part_megabytes": 64,
            "access_key": "name",
            "secret_key": "secret",
        },
    }
    copy = found["dbbackup_copy"]["OPTIONS"]
    # The machine's own role, and never the first storage's keys.
    assert (copy["bucket_name"], copy["location"], copy["access_key"]) == ("copies", "", None)
    assert copy["part_megabytes"] == 8


_NEITHER = "invalid BACKUP_STORAGE is neither an absolute folder nor the address of a bucket"
_OPTION = "invalid BACKUP_STORAGE has an option that is none"


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("backups", _NEITHER),
        ("ftp://host/folder", _NEITHER),
        ("s3:bucket", _NEITHER),
        ("s3://", "invalid BACKUP_STORAGE names no bucket"),
        ("s3:///folder", "invalid BACKUP_STORAGE names no bucket"),
        (
            "s3://bucket?endpoint=s3.example.com",
            (
                "invalid BACKUP_STORAGE has an endpoint that is no address such as "
                "https://s3.example.com"
            ),
        ),
        (
            "s3://bucket?region",
            "invalid BACKUP_STORAGE has something behind ? that is no list of NAME=VALUE",
        ),
        (
            "s3://bucket?reigon=x",
            f"{_OPTION} (reigon; there are endpoint, region, part, addressing)",
        ),
        (
            "s3://bucket?part=5",
            "invalid BACKUP_STORAGE has a part that is no whole number of megabytes from 8 to 512",
        ),
        (
            "s3://bucket?addressing=dns",
            "invalid BACKUP_STORAGE has an addressing that is neither path, virtual nor auto",
        ),
        (
            "s3://name:secret@bucket/folder",
            "unsafe BACKUP_STORAGE holds a secret, which lists and messages would show",
        ),
        (
            "s3://bucket?secret_key=secret",
            "unsafe BACKUP_STORAGE holds a secret, which lists and messages would show",
        ),
    ],
)
def test_a_wrong_address_is_named(value: str, wrong: str) -> None:
    assert problem(BACKUP_STORAGE=value) == wrong


def test_half_a_pair_of_keys_is_missing_the_other_half() -> None:
    read = reading(BACKUP_STORAGE="s3://bucket", BACKUP_S3_ACCESS_KEY="name")
    backup_storages(read, Path("/default"))
    assert [(each.kind, each.variable) for each in read.problems] == [
        ("missing", "BACKUP_S3_SECRET_KEY")
    ]


@pytest.mark.parametrize(
    ("primary", "second"),
    [
        ("/srv/backups", "/srv/backups"),
        ("/srv/backups", "/srv/backups/copy"),
        ("/srv/backups", "/srv"),
        ("", "/default/copy"),
        ("s3://bucket/x", "s3://bucket/x/"),
        ("s3://bucket", "s3://bucket/x"),
    ],
)
def test_a_copy_in_the_same_place_is_none(primary: str, second: str) -> None:
    wrong = problem(BACKUP_STORAGE=primary, BACKUP_COPY_STORAGE=second)
    assert wrong.startswith("unsafe BACKUP_COPY_STORAGE is the same place as BACKUP_STORAGE")


def test_neighbours_are_two_places() -> None:
    assert len(storages(BACKUP_STORAGE="/srv/a", BACKUP_COPY_STORAGE="/srv/ab")) == 2
    assert len(storages(BACKUP_STORAGE="s3://b/a", BACKUP_COPY_STORAGE="s3://b/ab")) == 2
