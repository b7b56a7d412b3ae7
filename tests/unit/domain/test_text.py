"""The plain text of a mail: broken where people would break it, in every language."""

from __future__ import annotations

import re

import pytest

from crawler.domain.text import agreeing, counted, fold, may_break, width
from crawler.notifications.models import NotifiedState
from crawler.notifications.rendering.render import LONGEST_LINE, render
from tests.support.eventful import digest_of
from tests.support.reporting import Story


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("zones", [3, 8, 9, 10, 20, 60])
def test_ids_stay_whole(language: str, zones: int) -> None:
    """However many zones are listed, each id told stands whole on one line, and no line is too long for it."""
    story = Story(zones=zones)
    for number in range(zones):
        story.change(
            "appeared", f"uimage-{number:02}-abcdef", "统信服务器操作系统 UOS 20", where=f"zone-{number + 1:02}"
        )
    text = render(digest_of(story, 2, told=NotifiedState(introduced=True), pins=[], language=language)).text
    ids = re.findall(r"(?:zone|uimage)-[\w-]*", text)

    assert max(map(width, text.splitlines())) <= LONGEST_LINE
    assert [name for name in ids if not re.fullmatch(r"zone-\d\d|uimage-\d\d-abcdef", name)] == []
    assert len(ids) >= min(zones, 20)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("zone-01, zone-02", ["zone-01, ", "zone-02"]),
        ("zone-01、zone-02、", ["zone-01、", "zone-02、"]),
        ("可用区（zone-01）", ["可", "用", "区", "（zone-01）"]),
        ("uimage-a1b2", ["uimage-a1b2"]),
        ("字\u0301e\u0301", ["字\u0301", "e\u0301"]),
        ("“镜像”：a", ["“镜", "像”：", "a"]),
    ],
)
def test_places_to_break(line: str, parts: list[str]) -> None:
    """A line may be broken behind blanks and beside wide characters; not in an id, nor before closing marks."""
    places = [at for at in range(1, len(line)) if may_break(line, at)]

    assert [line[start:end] for start, end in zip([0, *places], [*places, len(line)], strict=True)] == parts


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("19:00 至 20:00 之间", ["19:00 至 20:00", "之间"]),
        ("19:00 and 20:00 or x", ["19:00 and 20:00 or", "x"]),
    ],
)
def test_no_letter_alone(line: str, lines: list[str]) -> None:
    """A Chinese letter is not left alone on the last line."""
    assert fold(line, 18) == lines


@pytest.mark.parametrize(
    ("number", "zones", "entries", "are"),
    [(0, "0 zones", "0 entries", "are"), (1, "1 zone", "1 entry", "is"), (2, "2 zones", "2 entries", "are")],
)
def test_counted(number: int, zones: str, entries: str, are: str) -> None:
    """One is said in its own words, and none like many."""
    assert (counted(number, "zone"), counted(number, "entry", "entries")) == (zones, entries)
    assert agreeing(number, "is", "are") == are
