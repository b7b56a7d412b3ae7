"""What took the place of a withdrawn image is told by the rule that `check` goes by, not by counterparts alone."""

from __future__ import annotations

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.domain.filters import Filters
from crawler.domain.subscriptions import Subscription
from crawler.notifications.delivery_store import digest_since
from crawler.notifications.rendering.render import render
from crawler.queries.check.rules import PinRule
from crawler.queries.check_lookup import check
from tests.support.diary import START, Diary, target
from tests.support.web import STALE

HERE = target("hk-02")
BESIDE = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
ALONE, REPLACED = "WITHDRAWN, NO SUCCESSOR", "WITHDRAWN, ANOTHER OF ITS NAME IS THERE"


@pytest.mark.parametrize(
    ("story", "gone", "outcome", "there"),
    [
        ("a ab abc bc", "a", "re-issued", "c"),
        ("a - c", "a", "re-issued", "c"),
        ("a bc", "a", "ambiguous", "bc"),
        ("abc bc", "a", "missing", ""),
        ("a ab abc | ab", "c", "missing", ""),
        ("a -", "a", "missing", ""),
    ],
)
def test_what_has_no_counterpart(engine: Engine, story: str, gone: str, outcome: str, there: str) -> None:
    """A mail of what comes behind the bar says that there is no successor where `check` says so, else what is there."""
    diary, since = Diary(engine), START
    for ids in story.split(" "):
        if ids == "|":
            since = diary.now + timedelta(minutes=1)
        else:
            diary.run({HERE: {**BESIDE, **{f"uimage-{letter}": "Ubuntu 20.04" for letter in ids if letter != "-"}}})
    now = diary.now + timedelta(minutes=1)
    subscription = Subscription(name="sre", timezone=ZoneInfo("UTC"))
    pin = PinRule(image_id=f"uimage-{gone}", zone="hk-02")
    with read(engine) as conn:
        digest = digest_since(conn, subscription, since, now=now, stale_after=STALE)
        (judged,) = check(conn, [pin], Filters(), now=now, stale_after=STALE, timezone=UTC)
    assert digest is not None
    (line,) = [line for line in digest.lines if line.topic == "withdrawn"]
    text = render(digest).text

    assert judged.outcome == outcome
    assert line.places[0].successors == tuple(f"uimage-{letter}" for letter in there)
    assert (ALONE in text, REPLACED in text) == (not there, bool(there))
    assert (f"uimage-{gone} (there now: {', '.join(line.places[0].successors)})" in text) == bool(there)
