"""The nearest valid word to a mistyped one."""

from __future__ import annotations

import pytest

from crawler.domain.suggest import did_you_mean, nearest, nearest_ids

WORDS = ("images", "image-sets", "history", "Images", "where")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("imges", ["images", "Images", "image-sets"]),
        ("IMAGES", ["Images", "images", "image-sets"]),
        ("Imagess", ["Images", "images", "image-sets"]),
        ("hsitory", ["history"]),
        ("zzz", []),
    ],
)
def test_nearest(word: str, found: list[str]) -> None:
    """The words that look most alike come first, case apart; of those that differ by case alone the one written so."""
    assert nearest(word, WORDS) == found
    assert nearest(word, WORDS, limit=1) == found[:1]
    assert did_you_mean(word, WORDS) == (f"; did you mean {found[0]}?" if found else "")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("uimage-varoex", ["uimage-vareox"]),
        ("image-vareox", ["uimage-vareox"]),
        ("vareox", ["uimage-vareox"]),
        ("uimage-nope", []),
        ("uimage-", []),
    ],
)
def test_nearest_ids(word: str, found: list[str]) -> None:
    """Of ids counts what stands behind the kind, in which all are alike."""
    assert nearest_ids(word, ["uimage-vareox", "uimage-x7zezb1gcv5", "uimage-rccvz4l9itr"]) == found
    assert nearest_ids("a-same", ["b-same", "c-same", "d-same", "e-same"]) == ["b-same", "c-same", "d-same"]


def test_no_more_than_asked_for() -> None:
    """Three are enough, where nobody says otherwise."""
    words = [f"word{number}" for number in range(5)]
    ids = [f"uimage-{word}" for word in words]
    assert (len(nearest("word", words)), len(nearest_ids("uimage-word", ids))) == (3, 3)
    assert (len(nearest("word", words, 4)), len(nearest_ids("uimage-word", ids, 4))) == (4, 4)


def test_what_is_too_far() -> None:
    """Words are near where six tenths of their letters are the same, in order."""
    assert nearest("abcde", ["abcxy"]) == ["abcxy"]
    assert nearest("abcdef", ["abcxy"]) == []
