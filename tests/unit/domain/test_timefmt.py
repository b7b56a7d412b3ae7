"""Times and durations as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.timefmt import parse_duration, parse_moment, show_duration, show_moment, tell_moment, titled
from crawler.errors import UsageError

NOW = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        ("26h", timedelta(hours=26)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(hours=36)),
        ("1.5h", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("1m", timedelta(minutes=1)),
        ("1mo", timedelta(days=30)),
        ("1mo1m", timedelta(days=30, minutes=1)),
        ("2Y", timedelta(days=730)),
        ("1y6mo", timedelta(days=545)),
    ],
)
def test_duration(text: str, expected: timedelta) -> None:
    """A duration is numbers with units, added up."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "7", "7 days", "-7d", "d", "7x", "7o", "mo", "1m0", "٣d", "9" * 400 + "w"])
def test_no_duration(text: str) -> None:
    """What is no duration is refused."""
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10_000_000))
def test_duration_round_trip(seconds: int) -> None:
    """A shown duration reads back as the same."""
    assert parse_duration(show_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-01", "2026-05-31T16:00:00+00:00"),  # midnight in Shanghai
        ("2026-06-01T12:00", "2026-06-01T04:00:00+00:00"),
        ("2026-06-01 12:00:30", "2026-06-01T04:00:30+00:00"),
        ("2026-06-01T12:00Z", "2026-06-01T12:00:00+00:00"),
        ("2026-06-01T12:00+02:00", "2026-06-01T10:00:00+00:00"),
        ("90m", "2026-11-23T09:30:00+00:00"),
        ("7d", "2026-11-16T11:00:00+00:00"),
        ("2w", "2026-11-09T11:00:00+00:00"),
        ("now", "2026-11-23T11:00:00+00:00"),
        ("today", "2026-11-22T16:00:00+00:00"),
        ("yesterday", "2026-11-21T16:00:00+00:00"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    """Times without an offset are in the configured zone, ages count back from now."""
    assert parse_moment(text, now=NOW, zone=SHANGHAI).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-02-30", "day is out of range for month"),
        ("2026-13-01", "month must be in 1..12"),
        ("2026-06-01T25:00", "hour must be in 0..23"),
        ("2026-06-01T12:00+24:00", "use 2026-06-01"),
        ("soon", "use 2026-06-01"),
        ("", "use 2026-06-01"),
        ("9999w" * 400, "too far away"),
        ("0001-01-01T00:00+14:00", "too far away"),
    ],
)
def test_impossible_moment(text: str, said: str) -> None:
    """What cannot be a time is refused in one sentence that says why."""
    with pytest.raises(UsageError, match=said) as caught:
        parse_moment(text, now=NOW, zone=SHANGHAI)

    assert "\n" not in str(caught.value)


def test_moment_that_its_zone_cannot_tell() -> None:
    """A time that is too early to be written in the configured zone is refused where it is read."""
    with pytest.raises(UsageError, match="too far away"):
        parse_moment("0001-01-01T00:00Z", now=NOW, zone=ZoneInfo("America/New_York"))


def test_skipped_hour() -> None:
    """A time that the clocks skipped is refused, and the way out is named."""
    with pytest.raises(UsageError, match="the clocks of Europe/Berlin skipped it; add an offset"):
        parse_moment("2026-03-29T02:30", now=NOW, zone=BERLIN)


def test_a_day_without_midnight() -> None:
    """Where the clocks skip midnight a date means the first instant of its day."""
    assert parse_moment("2018-11-04", now=NOW, zone=SAO_PAULO) == datetime(2018, 11, 4, 3, tzinfo=UTC)
    noon = datetime(2018, 11, 4, 14, tzinfo=UTC)
    assert parse_moment("today", now=noon, zone=SAO_PAULO) == datetime(2018, 11, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        (datetime(2026, 11, 23, 15, 59, tzinfo=UTC), "today", "2026-11-22T16:00:00+00:00"),
        (datetime(2026, 11, 23, 16, 0, tzinfo=UTC), "today", "2026-11-23T16:00:00+00:00"),
        (datetime(2026, 11, 23, 15, 59, tzinfo=UTC), "yesterday", "2026-11-21T16:00:00+00:00"),
        (datetime(2026, 11, 23, 16, 0, tzinfo=UTC), "yesterday", "2026-11-22T16:00:00+00:00"),
    ],
)
def test_days_are_those_of_the_zone(now: datetime, text: str, expected: str) -> None:
    """Today begins when the day does in the configured zone, whichever day it is in UTC."""
    assert parse_moment(text, now=now, zone=SHANGHAI).isoformat() == expected


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-23T11:00:00+00:00"),
        ("today", "2026-11-22T16:00:00+00:00"),
        ("yesterday", "2026-11-21T16:00:00+00:00"),
        ("90m", "2026-11-23T09:30:00+00:00"),
        ("2026-06-01", "2026-05-31T16:00:00+00:00"),
        ("2026-06-01T12:00", "2026-06-01T04:00:00+00:00"),
        ("2026-06-01T12:00+02:00", "2026-06-01T10:00:00+00:00"),
    ],
)
def test_moments_on_a_machine_elsewhere(text: str, expected: str) -> None:
    """A moment is the same and given in UTC, whatever zone the machine is set to."""
    assert parse_moment(text, now=NOW, zone=SHANGHAI).isoformat() == expected


def test_repeated_hour() -> None:
    """Of a time that came twice the earlier is meant."""
    assert parse_moment("2026-10-25T02:30", now=NOW, zone=BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_show() -> None:
    """Times are shown in the configured zone, which the heading names."""
    assert show_moment(NOW, SHANGHAI) == "2026-11-23 19:00:00"
    assert show_moment(None, SHANGHAI) == "-"
    assert titled("SINCE", SHANGHAI) == "SINCE (Asia/Shanghai)"
    assert titled("SINCE", UTC) == "SINCE (UTC)"
    assert titled("SINCE", timezone(timedelta(hours=8))) == "SINCE (UTC+08:00)"


def test_shown_to_the_minute_or_the_second() -> None:
    """A moment is written in its zone, to the second unless the minute is enough."""
    moment = datetime(2026, 11, 23, 11, 4, 9, tzinfo=UTC)
    assert show_moment(moment, SHANGHAI) == "2026-11-23 19:04:09"
    assert show_moment(moment, SHANGHAI, seconds=False) == "2026-11-23 19:04"


@pytest.mark.parametrize(
    ("text", "says_month"),
    [
        ("2026-13-01", True),
        ("2026-1301", False),
        ("20261301", False),  # bare digits are rather meant for something else
        ("soon", False),
        ("2026-01-01T25:00", False),
    ],
)
def test_what_is_wrong_with_a_time(text: str, says_month: bool) -> None:
    """Python's words are told where they say what is wrong, and else how a time is written."""
    with pytest.raises(UsageError) as caught:
        parse_moment(text, now=NOW, zone=SHANGHAI)
    assert "isoformat" not in str(caught.value).lower()
    assert ("month must be" in str(caught.value)) is says_month


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (1, "1s"),
        (90, "90s"),
        (60, "1m"),
        (5_400, "90m"),
        (3_600, "1h"),
        (93_600, "26h"),
        (86_400, "1d"),
        (604_800, "1w"),
        (1_209_600, "2w"),
        (6_048_000, "10w"),
        (0.5, "0.5s"),
        (0.000001, "0.000001s"),
        (100, "100s"),
    ],
)
def test_show_duration(seconds: float, shown: str) -> None:
    """A duration is written in the largest unit that says it exactly."""
    assert show_duration(timedelta(seconds=seconds)) == shown


def test_the_longest_duration() -> None:
    """A thousand years is a duration, and a second more is longer than any history."""
    assert parse_duration(" 365000D ") == timedelta(days=365_000)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is compared below
        parse_duration("365000d1s")
    assert str(caught.value) == "is longer than any history"


def test_no_duration_says_how() -> None:
    """What is no duration is answered with how one is written."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is compared below
        parse_duration("soon")
    assert str(caught.value) == "is no duration; write a number and s, m, h, d, w, mo or y, such as 90m, 26h, 7d, 6mo"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            " soon ",
            "'soon' is no time: use 2026-06-01, 2026-06-01T12:00+08:00, or an age such as 90m, 7d, 2w, 6mo, 2y",
        ),
        ("2026-13-01", "'2026-13-01' is no time: month must be in 1..12"),
        ("20260230", "'20260230' is no time: day is out of range for month"),
        (
            "12345678",
            "'12345678' is no time: use 2026-06-01, 2026-06-01T12:00+08:00, or an age such as 90m, 7d, 2w, 6mo, 2y",
        ),
        ("365001d", "'365001d' is too far away to be a time"),
        (
            "2026-03-29T02:30",
            "'2026-03-29T02:30' is no time: the clocks of Europe/Berlin skipped it; "
            "add an offset, as in 2026-03-29T02:30Z",
        ),
    ],
)
def test_the_sentence_of_an_impossible_moment(text: str, said: str) -> None:
    """The sentence names what was written, without the blanks around it, and what is wrong with it."""
    with pytest.raises(UsageError) as caught:
        parse_moment(text, now=NOW, zone=BERLIN)
    assert str(caught.value) == said


@pytest.mark.parametrize("text", ["now", " NOW ", "0s"])
def test_a_moment_is_in_utc(text: str) -> None:
    """A moment is given in UTC, wherever the present is stated."""
    moment = parse_moment(text, now=NOW.astimezone(SHANGHAI), zone=SHANGHAI)
    assert (moment, moment.tzinfo) == (NOW, UTC)


def test_tell_moment() -> None:
    """A sentence has the moment in its zone, and the zone's name."""
    assert tell_moment(NOW, SHANGHAI) == "2026-11-23 19:00:00 (Asia/Shanghai)"
    assert tell_moment(NOW, UTC) == "2026-11-23 11:00:00 (UTC)"
