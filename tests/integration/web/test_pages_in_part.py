"""What pages say where not all projects are known, answers were pruned, or a moment was chosen."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import Engine

from crawler.db.engine import begin, read
from crawler.db.pruning import prune
from crawler.db.targets import apply_reconciliation
from crawler.domain.models import Target
from crawler.domain.targets import Reconciliation
from crawler.queries.changes import changes
from tests.integration.web.test_pages import html_of, words_in
from tests.support.diary import START, Diary, Refusal, target


@pytest.mark.parametrize("beside", ["never open", "asked since", "asked no more"])
def test_unknown_beside_who_was_not_asked(beside: str, engine: Engine) -> None:
    """
    A time in which nobody knew is hatched, counted and has its reason, beside a project that was not asked then.

    Whether that was never open to the key, came later, or is asked no more, and though its name comes first.
    """
    diary = Diary(engine)
    own, other = target("hk-02", "org-b"), target("hk-02", "org-a")
    images = {"uimage-a": "Ubuntu 20.04"}
    refused = Refusal("denied", 292, "no such project", "denied")
    asked = {"never open": range(16), "asked since": range(12, 16), "asked no more": range(2)}[beside]
    for number in range(16):
        answers: dict[Target, Any] = {own: Refusal() if 4 <= number < 8 else images}
        if number in asked:
            answers[other] = refused if beside == "never open" else images
        if number == 2 and beside == "asked no more":
            gone = Reconciliation(asked=(), deselected=(other,))
            with begin(engine) as conn:
                apply_reconciliation(conn, diary.account_id, gone, 1, diary.tick())
        diary.run(answers, at=START + timedelta(days=number / 2))
    now = diary.now + timedelta(minutes=1)
    bar, coverage = (html_of(engine, page, now) for page in ("names/ubuntu-20.04", "coverage"))

    assert re.findall(r'<rect class="u"[^>]*><title>not known \(([^)]*)\), ', bar) == ["no good answer"]
    (share,) = re.findall(r'class="share">([\d.]+) %', coverage)
    assert 60 < float(share) < 80
    days = re.findall(r'<rect class="d"[^>]*><title>([^<]*)</title>', coverage)
    assert days
    assert all("no good answer" in day for day in days), days


def test_back_to_now(engine: Engine) -> None:
    """The way back from a moment keeps the name, region, project and variant that were chosen."""
    diary = Diary(engine)
    diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
    chosen = {"q": "ubuntu", "region": "hk", "project": "org-x", "variant": "default"}
    html = html_of(engine, "now", diary.now, is_private=True, at=diary.now.isoformat(), **chosen)
    (link,) = re.findall(r'href="now\?([^"]*)">Back to now', html)

    assert dict(parse_qsl(unescape(link))) == chosen


def test_evidence_without_records(engine: Engine) -> None:
    """The page of a change says why no records stand side by side: they were pruned, or it is not about an image."""
    diary = Diary(engine)
    here, there = target("hk-01"), target("hk-02")
    rest = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    for listed in ({"uimage-a": "Ubuntu 20.04"}, {}, {}):
        diary.run({here: {**rest, **listed}, there: rest})
    prune(engine, None, before=diary.now + timedelta(seconds=1), now=diary.now + timedelta(minutes=1))
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, Reconciliation(asked=(here,), retired=(there,)), 3, diary.tick())
    diary.run({here: rest})
    with read(engine) as conn:
        numbers = {row.event: row.id for row in changes(conn)}
    said = {
        event: words_in(html_of(engine, f"evidence/{number}", diary.now, is_private=True))
        for event, number in numbers.items()
    }

    assert said.keys() == {"withdrawn", "target_retired"}
    assert "of its answers nothing is left" in said["withdrawn"]
    assert "from what the cloud said exists" in said["target_retired"]
    assert "the same records" not in "".join(said.values())


def test_bar_of_what_only_the_unknown_list(engine: Engine) -> None:
    """An image that is withdrawn for all projects that are known is hatched where one that is not lists it still."""
    diary = Diary(engine)
    first, second = target("hk-02", "org-a"), target("hk-02", "org-b")
    beside = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    old, new = ({image: "Ubuntu 20.04", **beside} for image in ("uimage-a", "uimage-b"))
    answers: list[tuple[Any, Any]] = [(old, old), (old, Refusal()), (new, Refusal()), (new, Refusal()), (new, new)]
    told = []
    for number, (one, other) in enumerate(answers):
        diary.run({first: one, second: other}, at=START + timedelta(hours=6 * number))
        html = html_of(engine, "names/ubuntu-20.04", diary.now)
        bars = re.findall(r'<rect class="u" x="([^"]*)%" width="([^"]*)%"', html)
        told.append([(round(float(begin_at)), round(float(width))) for begin_at, width in bars])

    assert told == [[], [], [(100, 0)], [(67, 33)], [(50, 50)]]
    assert html.count("no good answer") == 1


def test_withdrawn_while_another_of_its_name_is_there(engine: Engine) -> None:
    """What was withdrawn while a newer image of its name is there went not without a successor on any page."""
    diary = Diary(engine)
    beside = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    for ids in ("a", "ab", "abc", "bc"):
        diary.run({target("hk-02"): {**beside, **{f"uimage-{letter}": "Ubuntu 20.04" for letter in ids}}})
    for is_private in (False, True):
        assert "Nothing is wrong." in html_of(engine, "", diary.now, is_private=is_private)
        said = words_in(html_of(engine, "changes", diary.now, is_private=is_private))
        assert "Withdrawn, another of its name is there" in said
        assert "uimage-a (there now: uimage-c )" in said
