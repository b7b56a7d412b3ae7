"""`crawler revoke` and `unrevoke`, and what every other command then says of the image; `resolve --min-age`."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.command import call, rows
from tests.support.diary import Diary, target

HK = target("hk-02")
RESOLVE = ("resolve", "--zone", "hk-02", "--name", "ubuntu")


@pytest.fixture
def diary(engine: Engine) -> Diary:
    """Return a history in which a newer Ubuntu came beside the old one, nine days ago."""
    diary = Diary(engine)
    diary.run({HK: {"uimage-a": "Ubuntu", "uimage-k": "Keep"}})
    diary.run({HK: {"uimage-a": "Ubuntu", "uimage-b": "Ubuntu", "uimage-k": "Keep"}})
    diary.now += timedelta(days=9)
    diary.run({HK: {"uimage-a": "Ubuntu", "uimage-b": "Ubuntu", "uimage-c": "Ubuntu", "uimage-k": "Keep"}})
    return diary


def test_revoked_image(database_url: str, diary: Diary) -> None:
    """Resolve refuses it, check fails with it, both say why; no successor is one; taken back, all is as before."""
    words = ("--database", database_url)
    assert call(*words, *RESOLVE, now=diary.now).stdout == "uimage-c\n"
    said = call(*words, "revoke", "uimage-c", "--reason", "its  kernel\nhangs", now=diary.now)
    assert said.stderr == "Revoked: uimage-c.\n"

    refused = call(*words, *RESOLVE, now=diary.now, code=1)
    assert (refused.stdout, refused.stderr) == ("", "Error: uimage-c (Ubuntu) is revoked: its kernel hangs.\n")
    lines = call(*words, "resolve", "-", "-o", "jsonl", stdin="hk-02 ubuntu\nhk-02 keep\n", now=diary.now, code=1)
    assert list(map(json.loads, lines.stdout.splitlines())) == [
        {"zone": "hk-02", "name": "ubuntu", "image_id": None, "outcome": "revoked"},
        {"zone": "hk-02", "name": "keep", "image_id": "uimage-k", "outcome": "found"},
    ]
    (row, old) = rows(*words, "check", "-", stdin="hk-02 uimage-c\nhk-02 uimage-a", now=diary.now, code=1)
    assert (row["outcome"], row["detail"]) == ("revoked", "revoked: its kernel hangs")
    assert (old["outcome"], old["successor"]) == ("superseded", None)
    assert "uimage-c, which came after it, is revoked: its kernel hangs" in old["detail"]

    assert call(*words, "unrevoke", "uimage-c", now=diary.now).stderr == "Not revoked any more: uimage-c.\n"
    assert call(*words, *RESOLVE, now=diary.now).stdout == "uimage-c\n"
    assert "Not revoked: uimage-c." in call(*words, "unrevoke", "uimage-c", now=diary.now, code=1).stderr


def test_revoked_image_that_nobody_saw(database_url: str, diary: Diary) -> None:
    """An id that was never listed can be revoked too, which is said; a new reason takes the place of the old one."""
    for reason in ("typo", "stolen"):
        words = ("--database", database_url, "revoke", "uimage-x", "uimage-c", "uimage-x", "--reason", reason)
        assert call(*words, now=diary.now).stderr.splitlines() == [
            "Revoked: uimage-x, uimage-c.", "Warning: never listed so far, is it a typo? uimage-x",
        ]  # fmt: skip
    (row,) = rows("--database", database_url, "check", "-", stdin="uimage-x", now=diary.now, code=1)

    assert (row["outcome"], row["detail"]) == ("revoked", "revoked: stolen")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revoke", "uimage-a"), "Missing option '--reason'"),
        (("revoke", "uimage-a", "--reason", "  "), "--reason must be a text of at most 500 printable characters."),
        (("revoke", "\x1b", "--reason", "x"), "is no image id."),
        (("unrevoke",), "Missing argument"),
    ],
)
def test_bad_words(sqlite_url: str, words: tuple[str, ...], said: str) -> None:
    """What cannot be revoked is said in a sentence."""
    assert said in call("--database", sqlite_url, *words, code=2).stderr


@pytest.mark.parametrize(("age", "image_id"), [("1h", "uimage-b"), ("7d", "uimage-b"), ("0d", "uimage-c")])
def test_min_age(database_url: str, diary: Diary, age: str, image_id: str) -> None:
    """The newest image is taken that has been there so long."""
    words = ("--database", database_url, *RESOLVE, "--min-age", age)

    assert call(*words, now=diary.now).stdout == f"{image_id}\n"
    lines = call("--database", database_url, "resolve", "-", "--min-age", age, stdin="hk-02 Ubuntu", now=diary.now)
    assert lines.stdout == f"{image_id}\n"


def test_min_age_of_none(database_url: str, diary: Diary) -> None:
    """Where none has been there so long there is no answer."""
    words = ("--database", database_url, *RESOLVE, "--min-age", "30d")

    assert "No image called 'ubuntu' has been in hk-02 for 30d: uimage-c came at" in (
        call(*words, now=diary.now, code=1).stderr
    )
