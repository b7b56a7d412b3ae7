"""What became of an image: intervals, what began and ended them, and spans of not knowing laid over each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.models import END_OF_TIME, Event, ImageKey, Target
from crawler.domain.rows import ChangeRow, Gap, Reason, Stay
from crawler.queries.history import Coverage, chain, clip, overlay, timeline

HOUR = timedelta(hours=1)
START = datetime(2026, 6, 1, tzinfo=UTC)
HOME = Target("prod", "org-x", "hk", "hk-02", "uk8s-image")
REASONS: tuple[Reason, ...] = ("retired", "held", "failed", "stale")


def at(hour: int) -> datetime:
    return START + hour * HOUR


def gap(first: int, last: int | None, reason: Reason = "failed") -> Gap:
    return Gap(unknown_from=at(first), unknown_to=None if last is None else at(last), reason=reason)


def stay(first: int, last: int | None, image_id: str = "uimage-a", *, baseline: bool = False) -> Stay:
    return Stay(
        target=HOME,
        image_set="ImageSet",
        image_id=image_id,
        attributes={"image_name": "Ubuntu 20.04"},
        valid_from=at(first),
        valid_to=None if last is None else at(last),
        present_since=at(first),
        baseline=baseline,
    )


def change(event: Event, hour: int, image_id: str = "uimage-a", **more: Any) -> ChangeRow:
    return ChangeRow(
        id=hour,
        run=1,
        target=HOME,
        event=event,
        image_set="ImageSet",
        image_id=image_id,
        image_name="Ubuntu 20.04",
        fields=more.get("fields", {}),
        counterpart=more.get("counterpart"),
        not_before=at(hour - 1),
        observed_at=at(hour),
        recorded_at=at(hour),
    )


def test_timeline() -> None:
    """Each interval says what began and ended it, between which observations, and which image it took the place of."""
    rows = timeline(
        [stay(8, None, "uimage-b"), stay(0, 3, baseline=True), stay(3, 6)],
        [
            change("modified", 3, fields={"gpu": [False, True]}),
            change("withdrawn", 6, counterpart="uimage-b"),
            change("appeared", 8, "uimage-b", counterpart="uimage-a"),
        ],
        {},
        {},
        now=at(20),
    )
    first, second, third = rows

    assert (first.not_before, first.ended_by, first.ended_not_before, first.baseline) == (None, "modified", at(2), True)
    assert (second.not_before, second.fields, second.ended_by) == (at(2), {"gpu": [False, True]}, "withdrawn")
    assert (second.replaced_by, second.ended_not_before, second.state) == ("uimage-b", at(5), None)
    assert (third.image_id, third.replaces, third.not_before) == ("uimage-b", "uimage-a", at(7))
    assert (third.state, third.reason, third.valid_to, third.ended_by) == ("present", None, None, None)


def test_gaps_within_and_before() -> None:
    """Gaps stand with the interval they lie in, or before which they lie; an answer that began one ended the gap."""
    coverage = Coverage(troubles=[gap(1, 2), gap(4, 7), gap(9, 12), gap(14, None)])
    rows = timeline([stay(0, 5), stay(11, None)], [], {HOME: coverage}, {}, now=at(20))

    assert rows[0].gaps == (gap(1, 2), gap(4, 5))
    assert rows[1].gaps_before == (gap(5, 7), gap(9, 11))
    assert rows[1].gaps == (gap(14, None),)
    assert (rows[1].state, rows[1].reason) == ("unknown", "failed")


def test_what_is_to_come_is_not_told() -> None:
    """A silence that would begin later than now has not begun."""
    (row,) = timeline([stay(0, None)], [], {HOME: Coverage(silences=[gap(21, None, "stale")])}, {}, now=at(20))

    assert (row.state, row.gaps) == ("present", ())


def test_layers() -> None:
    """Being asked no more outweighs a hold, a hold the outcome of the target, and that a silence."""
    coverage = Coverage(absences=[gap(8, 9, "retired")], troubles=[gap(2, 6)], silences=[gap(0, 10, "stale")])

    assert coverage.gaps([gap(4, None, "held")]) == [
        gap(0, 2, "stale"),
        gap(2, 4, "failed"),
        gap(4, 8, "held"),
        gap(8, 9, "retired"),
        gap(9, None, "held"),
    ]


def test_holds_are_of_one_image() -> None:
    """A hold on one image leaves the others known."""
    holds = {(HOME, ImageKey("ImageSet", "uimage-a")): [gap(2, 3, "held")]}
    rows = timeline([stay(0, None), stay(0, None, "uimage-b")], [], {}, holds, now=at(20))

    assert {row.image_id: row.gaps for row in rows} == {"uimage-a": (gap(2, 3, "held"),), "uimage-b": ()}


def test_chain() -> None:
    """Re-issues are followed as long as each has one successor; a circle ends."""
    successors = {"a": {"b"}, "b": {"c"}, "x": {"y", "z"}, "o": {"p"}, "p": {"o"}}

    def after(image_id: str) -> set[str]:
        return successors.get(image_id, set())

    assert chain("a", after) == ["a", "b", "c"]
    assert chain("x", after) == ["x"]
    assert chain("o", after) == ["o", "p"]


def test_json() -> None:
    """Gaps are told in UTC, an end that has not come as null."""
    (row,) = timeline([stay(0, None)], [], {HOME: Coverage(troubles=[gap(1, None)])}, {}, now=at(20))
    told = row.as_dict()

    assert told["gaps"] == [{"unknown_from": "2026-06-01T01:00:00Z", "unknown_to": None, "reason": "failed"}]
    assert (told["valid_from"], told["valid_to"], told["not_before"]) == ("2026-06-01T00:00:00Z", None, None)


@st.composite
def layers(draw: st.DrawFn) -> list[list[Gap]]:
    """Draw layers of spans, each layer in order and without overlaps, one reason each."""
    drawn = []
    for reason in REASONS:
        edges = sorted(draw(st.lists(st.integers(0, 40), max_size=8, unique=True)))
        layer = [gap(first, last, reason) for first, last in zip(edges[::2], edges[1::2], strict=False)]
        if len(edges) % 2:
            layer.append(gap(edges[-1], None, reason))
        drawn.append(layer)
    return drawn


def covering(gaps: list[Gap], moment: datetime) -> list[Reason]:
    return [each.reason for each in gaps if each.unknown_from <= moment < (each.unknown_to or END_OF_TIME)]


@given(layers())
def test_overlay(drawn: list[list[Gap]]) -> None:
    """Every moment is covered once, by the first layer that covers it; neighbours with one reason are joined."""
    laid = overlay(*drawn)

    for hour in range(45):
        expected = [reason for layer in drawn for reason in covering(layer, at(hour))][:1]
        assert covering(laid, at(hour)) == expected
    assert laid == sorted(laid, key=lambda each: each.unknown_from)
    for one, other in pairwise(laid):
        assert one.unknown_to is not None
        assert (one.unknown_to, one.reason) != (other.unknown_from, other.reason)


@given(layers(), st.integers(0, 20), st.integers(1, 20) | st.none())
def test_clip(drawn: list[list[Gap]], first: int, length: int | None) -> None:
    """Within the span all stays as it was, outside nothing is left."""
    laid = overlay(*drawn)
    end = None if length is None else at(first + length)
    clipped = clip(laid, at(first), end)

    for hour in range(45):
        inside = at(first) <= at(hour) < (end or END_OF_TIME)
        assert covering(clipped, at(hour)) == (covering(laid, at(hour)) if inside else [])
