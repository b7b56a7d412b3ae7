"""What a reader of answers says of their oddities: each once, a bounded number, and long names cut."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.kinds import UK8S_IMAGE
from crawler.domain.models import Snapshot
from crawler.domain.parsing import MAX_NOTICES, SHOWN_CHARACTERS, parse
from tests.support.answers import answer, image_key


def read(document: dict[str, Any], zone: str = "hk-02", zone_of: dict[int, str] | None = None) -> Snapshot:
    return parse(document, UK8S_IMAGE, zone, zone_of or {})


@pytest.mark.parametrize(("kinds", "last"), [(MAX_NOTICES, None), (MAX_NOTICES + 1, 2), (MAX_NOTICES + 9, 10)])
def test_most_notices(kinds: int, last: int | None) -> None:
    """As many notices as may be are told as they come; of more the first by name, and how many more there are."""
    snapshot = read(answer(**{f"Odd{number:03}": 5 for number in reversed(range(kinds))}))
    told = [f"unknown field Odd{number:03} in the answer" for number in range(kinds)]
    if last is None:
        assert snapshot.notices == tuple(reversed(told))
    else:
        assert snapshot.notices == (*told[: MAX_NOTICES - 1], f"and {last} more kinds of notices")


def test_sentences_of_notices() -> None:
    """Each notice says what was met, and where."""
    record = {"ImageId": "a", "Arch": "x", "ImageSize": "big"}
    snapshot = read({"RetCode": 0, "ImageSet": [record, {}, {"ImageName": "x"}], "Quota": 5, "TotalCount": 9})
    assert set(snapshot.notices) == {
        "unknown field Quota in the answer",
        "unknown field Arch of an image, kept in extra",
        "ImageSize was not understood in at least one record",
        "ImageSet: a record without ImageId",
        "TotalCount is 9, and 2 records are listed",
    }
    assert snapshot.excess == 7
    assert read({"RetCode": 0, "OddImageSet": ["a"]}).notices == ("unknown image set OddImageSet",)


def test_the_longest_name_that_is_shown_whole() -> None:
    """A name of as many characters as are shown is whole, and a longer one ends in an ellipsis."""
    for name, shown in [("n" * SHOWN_CHARACTERS, "n" * 80), ("n" * (SHOWN_CHARACTERS + 1), "n" * 79 + "…")]:
        assert read(answer(**{name: 5})).notices == (f"unknown field {shown} in the answer",)


def test_foreign_notice() -> None:
    """Records that state another zone's number are left out, counted, and named with the zone that was asked."""
    snapshot = read(answer({"ImageId": "a", "ZoneId": 7}, {"ImageId": "b", "ZoneId": 8}), zone_of={7: "x", 8: "hk-02"})
    assert list(snapshot.images) == [image_key("b")]
    assert snapshot.foreign == {image_key("a")}
    assert snapshot.notices == ("hk-02: records that belong to another zone and were left out: 1",)
    assert (snapshot.is_elsewhere, snapshot.zone_number) == (False, None)
