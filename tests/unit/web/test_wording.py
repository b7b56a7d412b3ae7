"""The sentences of the pages: each in both languages, and none that nobody says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest

from crawler.domain.kinds import KINDS
from crawler.web.pages import image_kinds
from crawler.web.wording import PHRASES, wording

WEB = Path("crawler/web")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted(PHRASES))
def test_both_languages(key: str) -> None:
    """A phrase has the same places to fill in, in English, about one thing, and in Chinese."""
    phrase = PHRASES[key]

    assert phrase.en
    assert phrase.zh
    assert fields(phrase.zh) == fields(phrase.en)
    assert not phrase.one or fields(phrase.one) <= fields(phrase.en)


def test_all_are_said() -> None:
    """Every phrase is said by a page, or begins with a word that pages complete."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in [*WEB.glob("*.py"), *WEB.glob("templates/*")]
        if path.name != "wording.py"
    )
    made = ("reason_", "kind_", "error_", "outcome_", "effect_", "gone", "gpu")

    assert [key for key in PHRASES if not key.startswith(made) and not re.search(rf"[\"']{key}[\"']", text)] == []


def test_kinds_have_names() -> None:
    """Every kind that pages can be about has a name for people."""
    assert [kind.name for kind in image_kinds(KINDS) if f"kind_{kind.name}" not in PHRASES] == []


def test_one_and_many() -> None:
    """English counts, Chinese does not; another year stands in the date."""
    english, chinese = (wording(language, ZoneInfo("UTC"), NOW) for language in ("en", "zh"))

    assert (english("zones", n=1), english("zones", n=2)) == ("1 zone", "2 zones")
    assert [english("name_lead", state="present", n=n, total=total) for n, total in ((0, 1), (1, 1), (1, 2))] == [
        "present in 0 of 1 zone",
        "present in 1 of 1 zone",
        "present in 1 of 2 zones",
    ]
    assert chinese("zones", n=1) == "1 个可用区"
    assert (english.comma, chinese.comma) == (", ", "，")
    assert english.at(NOW) == "29 Nov 00:00"
    assert english.at(NOW.replace(year=2025)) == "29 Nov 2025 00:00"
    assert english.reason(None) == ""


def test_messages() -> None:
    """What the cloud refused with is explained in the reader's language; other messages stay as they are."""
    english, chinese = (wording(language, ZoneInfo("UTC"), NOW) for language in ("en", "zh"))
    refused, other = "service unavailable (RetCode 150: the service is being restored)", "no answer within 10 s"

    assert (english.message(refused), english.message(other)) == (refused, other)
    assert chinese.message(refused) == "RetCode 150“service unavailable”（服务暂不可用，正在恢复）"
    assert chinese.message(other) == other
