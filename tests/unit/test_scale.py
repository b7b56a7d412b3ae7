"""The curves of growth: what the page of figures shows of them was measured, and the drawing keeps to its axes."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.benchmarks.scale import as_json
from tests.support.curves import Curve, Panel, drawing, ticks_of
from tests.support.house import text_of
from tests.support.scale_pages import DOCUMENT, PICTURE, in_page, picture

PAGE = Path("docs/figures.md")


def test_page_shows_what_was_measured() -> None:
    """The page's table and the picture are the rendering of docs/scale.json, which is in its own form."""
    document = json.loads(text_of(DOCUMENT))

    assert text_of(DOCUMENT) == as_json(document)
    assert text_of(PAGE) == in_page(text_of(PAGE), document)
    assert text_of(PICTURE) == picture(document)


def test_every_size_was_measured() -> None:
    """The published curves hold every size, and nothing of the machine but what it is."""
    document = json.loads(text_of(DOCUMENT))

    assert [(row["images"], row["targets"]) for row in document["targets"]] == [
        *((10, size) for size in (45, 450, 4_500, 45_000)),
        *((100, size) for size in (45, 450, 4_500)),
    ]
    assert [row["years"] for row in document["years"]] == [1, 5, 20]
    assert set(document["machine"]) == {"cpu", "cores", "os", "python"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 50, [0.1, 1, 10, 100]),
        (80, 190, [20, 50, 100, 200]),  # little grows: 1-2-5 steps, and a whole decade, so that noise stays small
        (3, 3, [0.5, 1, 2, 5]),
        (5, 5, [1, 2, 5, 10]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    """Ticks are round, enclose the values, and span a decade at least."""
    assert ticks_of(low, high) == pytest.approx(expected)


def test_labels_do_not_overlap() -> None:
    """Labels of curves that end at the same place stand one below the other, inside the panel."""
    curves = [Curve(label=f"curve {n}", colour=n, points=[(1, 1), (10, 1)]) for n in range(4)]
    panel = Panel(title="t", axis="x", ticks=(1, 10), curves=curves)
    svg = drawing([[panel]], title="t", description="<d>")
    heights = [float(y) for y in re.findall(r'<text class="c\d" x="[\d.]+" y="([\d.]+)"', svg)]

    assert len(heights) == 4
    assert all(later - earlier >= 12 for earlier, later in pairwise(heights))
    assert max(heights) < 210
    assert "&lt;d&gt;" in svg
