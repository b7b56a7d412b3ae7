"""The rule for the successor of an image, against the sentence that states it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.reissues import newest, successors, the_one
from tests.support.facts import NOON


@dataclass(frozen=True)
class _Image:
    image_id: str
    present_since: datetime


_IMAGES = st.lists(
    st.builds(_Image, st.sampled_from("abcdef"), st.integers(0, 3).map(lambda hour: NOON + timedelta(hours=hour))),
    unique_by=lambda image: image.image_id,
)


@given(images=_IMAGES)
def test_successor(images: list[_Image]) -> None:
    """Of the others that came later it is the one that came last; those that came together are all named, by id."""
    for image in images:
        later = [other for other in images if other.present_since > image.present_since]
        expected = sorted(o.image_id for o in later if o.present_since == max(p.present_since for p in later))
        assert list(successors(image.present_since, newest(images))) == expected
        assert the_one(expected) == (expected[0] if len(expected) == 1 else None)


def test_nothing_is_no_successor() -> None:
    """Where nothing of the name is open, nothing succeeds."""
    assert successors(NOON, newest([])) == ()
