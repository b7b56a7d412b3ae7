"""When a digest is due, in a named time zone, over the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.domain.subscriptions import (
    Pin,
    When,
    is_due,
    latest_slot,
    parse_pin,
    parse_when,
    pin_lines,
    show_when,
)

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("every-run", When()),
        ("daily 09:00", When(at=time(9))),
        ("daily 9:05", When(at=time(9, 5))),
        ("Weekly  MON 23:59", When(at=time(23, 59), weekday=0)),
        ("weekly sun 00:00", When(at=time(0), weekday=6)),
    ],
)
def test_read_and_written(text: str, when: When) -> None:
    """The three forms are read, and written as they are read."""
    assert parse_when(text) == when
    assert parse_when(show_when(when)) == when


@pytest.mark.parametrize(
    "text", ["", "daily", "daily 24:00", "daily 9", "weekly 09:00", "weekly monday 09:00", "hourly"]
)
def test_nonsense(text: str) -> None:
    """Anything else is refused with what is right."""
    with pytest.raises(ValueError, match='"every-run", "daily 09:00" or "weekly mon 09:00"'):
        parse_when(text)


def due(text: str, last: str, now: str, zone: ZoneInfo = SHANGHAI) -> bool:
    """Return whether it is due, all times local."""
    moments = [datetime.fromisoformat(moment).replace(tzinfo=zone) for moment in (last, now)]
    return is_due(parse_when(text), zone, last=moments[0], now=moments[1])


@pytest.mark.parametrize(
    ("text", "last", "now", "expected"),
    [
        ("every-run", "2026-11-23T09:00", "2026-11-23T09:00", True),
        ("daily 09:00", "2026-11-23T08:50", "2026-11-23T08:59", False),
        ("daily 09:00", "2026-11-23T08:50", "2026-11-23T09:00", True),
        ("daily 09:00", "2026-11-23T09:00", "2026-11-23T23:59", False),
        ("daily 09:00", "2026-11-20T10:00", "2026-11-23T08:00", True),
        ("weekly mon 09:00", "2026-11-16T09:00", "2026-11-22T23:00", False),
        ("weekly mon 09:00", "2026-11-16T09:00", "2026-11-23T09:10", True),
        ("weekly tue 00:00", "2026-11-18T09:00", "2026-11-23T23:59", False),
    ],
)
def test_due(text: str, last: str, now: str, expected: bool) -> None:
    """A digest is due when its time has come since the last one, however late the run is."""
    assert due(text, last, now) is expected


def test_first_is_due_at_once() -> None:
    """A subscription that never was told anything need not wait: the way is to be proven."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    assert is_due(parse_when("weekly sun 03:00"), SHANGHAI, last=None, now=now)


def test_clocks_that_change() -> None:
    """A time that the clocks skip falls an hour later; of one that they repeat, the first counts, once."""
    skipped = latest_slot(parse_when("daily 02:30"), BERLIN, datetime(2026, 3, 29, 12, tzinfo=UTC))
    repeated = latest_slot(parse_when("daily 02:30"), BERLIN, datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert skipped == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert repeated == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@settings(deadline=None)
@given(
    st.sampled_from(["daily 02:30", "daily 00:00", "weekly mon 02:30", "weekly sun 23:59"]),
    st.sampled_from([SHANGHAI, BERLIN, ZoneInfo("America/Sao_Paulo"), ZoneInfo("UTC")]),
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),  # noqa: DTZ001
)
def test_once_per_slot(text: str, zone: ZoneInfo, begin: datetime) -> None:
    """Runs every 15 minutes over two weeks find it due once per slot, and never when none has passed."""
    when = parse_when(text)
    last, found = begin, []
    for step in range(1, 2 * 7 * 96 + 1):
        now = begin + timedelta(minutes=15 * step)
        if is_due(when, zone, last=last, now=now):
            found.append(latest_slot(when, zone, now))
            last = now

    assert found == sorted(set(found))
    assert abs(len(found) - (14 if when.weekday is None else 2)) <= 1


@pytest.mark.parametrize(
    ("when", "text"),
    [(When(), "every-run"), (When(at=time(9, 5)), "daily 09:05"), (When(at=time(0), weekday=6), "weekly sun 00:00")],
)
def test_written(when: When, text: str) -> None:
    """A time is written with two digits each, and its weekday by its short name."""
    assert show_when(when) == text


@pytest.mark.parametrize("text", ["daily 23:60", "daily 24:00", "weekly sun 09:60", "x daily 09:00", "Nothing"])
def test_no_time(text: str) -> None:
    """Hours end at 23 and minutes at 59; the sentence says what is right, and no more."""
    with pytest.raises(ValueError, match=r'^must be "every-run", "daily 09:00" or "weekly mon 09:00"$'):
        parse_when(text)


@pytest.mark.usefixtures("far_east")
def test_every_run_is_its_own_time() -> None:
    """After every run the last time is now, in UTC; one that falls at this very moment has come."""
    now = datetime(2026, 11, 23, 9, tzinfo=SHANGHAI)

    for text in ("every-run", "daily 09:00", "weekly mon 09:00"):
        slot = latest_slot(parse_when(text), SHANGHAI, now)
        assert (slot, slot.tzinfo) == (now, UTC)
    assert not is_due(parse_when("daily 09:00"), SHANGHAI, last=now, now=now)


@pytest.mark.parametrize(
    ("text", "now", "slot"),
    [
        ("daily 09:00", "2026-11-25T08:59", "2026-11-24T09:00"),
        ("weekly tue 09:00", "2026-11-25T08:59", "2026-11-24T09:00"),
        ("weekly tue 09:00", "2026-11-24T08:59", "2026-11-17T09:00"),
    ],
)
def test_last_time(text: str, now: str, slot: str) -> None:
    """The last time is the nearest that is over, yesterday's too."""
    moments = [datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI) for moment in (now, slot)]
    assert latest_slot(parse_when(text), SHANGHAI, moments[0]) == moments[1]


@pytest.mark.usefixtures("far_east")
def test_day_of_the_time_zone_that_is_named() -> None:
    """The day is that of the subscription's time zone, wherever this machine stands."""
    kiritimati = ZoneInfo("Pacific/Kiritimati")  # where a new day begins before any other place
    slot = latest_slot(parse_when("daily 00:15"), kiritimati, datetime(2026, 6, 10, 10, 30, tzinfo=UTC))

    assert (slot, slot.tzinfo) == (datetime(2026, 6, 10, 10, 15, tzinfo=UTC), UTC)


def test_pins() -> None:
    """A pin is a zone and an id with blanks between; one the wrong way round is told how to write it."""
    assert parse_pin(" hk-02\t uimage-vareox\n") == Pin("hk-02", "uimage-vareox")
    assert parse_pin("hk-02 other") == Pin("hk-02", "other")
    assert parse_pin("image-a uimage-b") == Pin("image-a", "uimage-b")
    for text in ("", "hk-02", "hk-* uimage-a", "hk-02 uimage-?", "hk-02 uimage-a x"):
        with pytest.raises(ValueError, match=r'^must be a zone and an image id, as in "hk-02 uimage-vareox"$'):
            parse_pin(text)
    for word in ("uimage-a", "IMAGE-a", "bsi-a"):
        with pytest.raises(ValueError, match="the zone and the image id in each other's place") as caught:
            parse_pin(f"{word} hk-02")
        assert str(caught.value) == (f'has the zone and the image id in each other\'s place: write "hk-02 {word}"')


def test_lines_of_pins() -> None:
    """Lines that hold a pin come with their number, counted from 1; a `#` and what follows it are no pin."""
    text = "# pins\n\n hk-02 uimage-a # one # two\nhk-03 uimage-b\n  #\n"

    assert list(pin_lines(text)) == [(3, "hk-02 uimage-a"), (4, "hk-03 uimage-b")]
