"""From facts to a digest: each change once, folded, the worst first; what nobody saw, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.subscriptions import Subscription, Watch, When
from crawler.notifications.digest import build_digest
from crawler.notifications.models import Digest, DigestFacts, Line, NotifiedState
from tests.support.reporting import Story, at, subscribe, target

KNOWN = NotifiedState(introduced=True)


def tell(facts: DigestFacts, subscription: Subscription | None = None, told: NotifiedState = KNOWN) -> Digest:
    digest = build_digest(subscription or subscribe(), facts, told)
    assert digest is not None
    return digest


def lines(story: Story, *runs: int, **more: Any) -> list[Line]:
    return list(tell(story.facts(*runs), subscribe(**more)).lines)


def brief(line: Line) -> tuple[str, tuple[str, ...], list[str]]:
    return line.topic, line.names, [place.zone for place in line.places]


# --- folding ---------------------------------------------------------------------------------------------------------


def test_one_line_over_zones() -> None:
    """The same event of the same image over many zones is one line, whatever the ids and the spelling."""
    story = Story(zones=14)
    for number in range(1, 10):
        name = "UBuntu 22.04" if number == 4 else "Ubuntu 22.04"
        story.change("appeared", f"uimage-{number}", name, where=f"zone-{number:02}")
    (line,) = lines(story)

    assert brief(line) == ("appeared", ("Ubuntu 22.04",), [f"zone-{number:02}" for number in range(1, 10)])
    assert (line.zone_count, line.image_count) == (14, 9)
    assert line.places[3].image_ids == ("uimage-4",)


def test_roll_out_over_runs() -> None:
    """A new image over 14 zones in 4 runs gives at most 4 lines: one per digest, and one when told at once."""
    story = Story(zones=14)
    for number in range(1, 15):
        story.change("appeared", f"uimage-{number}", where=f"zone-{number:02}", run=2 + number % 4)

    assert [len(lines(story, run)) for run in (2, 3, 4, 5)] == [1, 1, 1, 1]
    assert len(lines(story, 2, 3, 4, 5)) == 1


def test_projects_fold() -> None:
    """What all projects of a zone see is one place; what some see names them."""
    story = Story(zones=2, projects=("org-a", "org-b", "org-c"))
    story.project_names["prod", "org-b"] = "Team B"
    for project in ("org-a", "org-b", "org-c"):
        story.change("withdrawn", where=target("zone-01", project))
    story.change("withdrawn", where=target("zone-02", "org-b"))
    (line,) = lines(story)

    whole, part = line.places
    assert (whole.zone, whole.projects, whole.project_count) == ("zone-01", (), 0)
    assert (part.zone, part.projects, part.project_count) == ("zone-02", ("Team B",), 3)
    assert len(line.change_ids) == 4


def test_reissue_chain() -> None:
    """Re-issues that follow one another are one line with the whole chain, and nothing else is told of their ids."""
    story = Story()
    story.change("withdrawn", "uimage-a", run=2, counterpart="uimage-b")
    story.change("appeared", "uimage-b", run=2, counterpart="uimage-a")
    story.change("withdrawn", "uimage-b", run=3, counterpart="uimage-c")
    story.change("appeared", "uimage-c", run=3, counterpart="uimage-b")
    (line,) = lines(story, 2, 3)

    assert (line.topic, line.places[0].image_ids, line.places[0].is_chain) == (
        "reissued", ("uimage-a", "uimage-b", "uimage-c"), True
    )  # fmt: skip
    assert (line.between.after, line.between.by) == (at(1), at(3))


def test_reissue_that_ends() -> None:
    """A chain whose last id is withdrawn too is a withdrawal without a successor."""
    story = Story()
    story.change("withdrawn", "uimage-a", run=2, counterpart="uimage-b")
    story.change("appeared", "uimage-b", run=2)
    story.change("withdrawn", "uimage-b", run=3)
    (line,) = lines(story, 2, 3)

    assert (line.topic, line.places[0].image_ids) == ("withdrawn", ("uimage-a", "uimage-b"))


def test_reissue_that_is_away_for_a_while() -> None:
    """A chain whose last id was away and is there again by now is a re-issue."""
    story = Story()
    story.change("withdrawn", "uimage-a", run=2, counterpart="uimage-b")
    story.change("appeared", "uimage-b", run=2, counterpart="uimage-a")
    story.change("withdrawn", "uimage-b", run=3)
    story.change("returned", "uimage-b", run=4)
    (line,) = lines(story, 2, 3, 4)

    assert (line.topic, line.places[0].image_ids) == ("reissued", ("uimage-a", "uimage-b"))


def test_late_reissue_joins_its_chain() -> None:
    """A withdrawal that was held, and so recorded after the next one, still stands first in its chain."""
    story = Story()
    story.change("withdrawn", "uimage-b", run=3, counterpart="uimage-c")
    story.change("withdrawn", "uimage-a", run=4, counterpart="uimage-b", observed_at=at(2), not_before=at(1))
    (line,) = lines(story, 2, 3, 4)

    assert line.places[0].image_ids == ("uimage-a", "uimage-b", "uimage-c")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["withdrawn", "returned"], ("flapped", True)),
        (["withdrawn", "returned", "withdrawn", "returned"], ("flapped", True)),
        (["appeared", "withdrawn"], ("flapped", False)),
        (["returned", "withdrawn"], ("flapped", False)),
        (["withdrawn", "returned", "withdrawn"], ("withdrawn", False)),
        (["appeared", "withdrawn", "returned"], ("appeared", True)),
        (["returned", "withdrawn", "returned"], ("returned", True)),
    ],
)
def test_flaps(events: list[str], expected: tuple[str, bool]) -> None:
    """What comes back to where it was is one line that says so; what does not is told by its end."""
    story = Story()
    for run, event in enumerate(events, start=2):
        story.change(event, run=run)
    (line,) = lines(story, *range(2, 2 + len(events)))

    assert (line.topic, line.is_present) == expected
    assert line.change_ids == tuple(range(1, len(events) + 1))


def test_round_trip_of_ids() -> None:
    """An id replaced and put back is a flap, not a re-issue."""
    story = Story()
    story.change("withdrawn", "uimage-a", run=2, counterpart="uimage-b")
    story.change("appeared", "uimage-b", run=2)
    story.change("withdrawn", "uimage-b", run=3, counterpart="uimage-a")
    story.change("returned", "uimage-a", run=3)

    assert {line.topic for line in lines(story, 2, 3)} == {"flapped"}


def test_same_fields_fold() -> None:
    """The same fields changing on many images are one line; equal values are told, unequal ones are not."""
    story = Story(zones=5)
    for number in range(1, 6):
        fields: dict[str, list[Any]] = {"os_name": ["Ubuntu", "Ubuntu Linux"], "size_gb": [20, 20 + number]}
        story.change("modified", f"uimage-{number}", f"Image {number}", where=f"zone-{number:02}", fields=fields)
    (line,) = lines(story)

    assert (line.topic, line.image_count, len(line.names), len(line.places)) == ("modified", 5, 5, 5)
    assert [(change.field, change.values) for change in line.fields] == [
        ("os_name", ("Ubuntu", "Ubuntu Linux")), ("size_gb", None)
    ]  # fmt: skip


def test_fields_to_and_fro() -> None:
    """A field is told from its first value to its last; one that is back where it was is a flap."""
    story = Story()
    story.change("modified", "uimage-a", run=2, fields={"size_gb": [20, 30]})
    story.change("modified", "uimage-a", run=3, fields={"size_gb": [30, 40]})
    story.change("modified", "uimage-b", run=2, fields={"size_gb": [20, 30]})
    story.change("modified", "uimage-b", run=3, fields={"size_gb": [30, 20]})
    found = {line.topic: line for line in lines(story, 2, 3)}

    assert found.keys() == {"modified", "flapped"}
    assert found["modified"].fields[0].values == (20, 40)


def test_severities() -> None:
    """Withdrawn, re-issued and GPU lost come first, whatever the order they happened in."""
    story = Story(zones=8)
    story.change("appeared", "uimage-1", "New", where="zone-01")
    story.change("modified", "uimage-2", "Changed", where="zone-02", fields={"size_gb": [1, 2]})
    story.change("returned", "uimage-3", "Back", where="zone-03")
    story.change("modified", "uimage-4", "Lost", where="zone-04", fields={"gpu": [True, False]})
    story.change("target_added", None, where="zone-05")
    story.change("target_retired", None, where="zone-06")
    story.change("withdrawn", "uimage-7", "Old", where="zone-07", counterpart="uimage-8")
    story.change("withdrawn", "uimage-9", "Gone", where="zone-08")

    assert [line.topic for line in lines(story)] == [
        "withdrawn", "reissued", "gpu_lost", "closed", "appeared", "returned", "modified", "opened"
    ]  # fmt: skip


def test_gaining_a_gpu_is_no_loss() -> None:
    """Only true → false is a lost GPU."""
    story = Story()
    story.change("modified", fields={"gpu": [False, True]})

    assert [line.topic for line in lines(story)] == ["modified"]


def test_confirmed_withdrawals() -> None:
    """A withdrawal that was held says how many runs confirmed it, or that later runs did."""
    story = Story()
    story.change("withdrawn", run=4, observed_at=at(2) + timedelta(seconds=10), not_before=at(1))

    assert lines(story, 1, 2, 3, 4)[0].confirmed_by == 3
    assert lines(story, 4)[0].confirmed_by == 0
    story.change("withdrawn", "uimage-b", "CentOS", run=4)
    assert [line.confirmed_by for line in lines(story, 4)] == [1, 0]


# --- zones and projects ----------------------------------------------------------------------------------------------


def test_zone_closes_once() -> None:
    """A zone that closes is one line, not one per project; it says how many images are unknown there now."""
    projects = tuple(f"org-{number}" for number in range(10))
    story = Story(zones=3, projects=projects)
    for project in projects:
        story.set(target("zone-02", project), outcome="retired", images=4)
        story.change("target_retired", None, where=target("zone-02", project))
    (line,) = lines(story)

    assert (brief(line), line.image_count, line.project) == (("closed", (), ["zone-02"]), 4, None)


def test_project_and_zone() -> None:
    """A project that comes with all its zones is one line, beside a zone that opens for all projects."""
    story = Story(zones=5, projects=("org-a", "org-b", "org-new"))
    for number in range(1, 6):
        story.change("target_added", None, where=target(f"zone-{number:02}", "org-new"))
    for project in ("org-a", "org-b"):
        story.change("target_added", None, where=target("zone-05", project))
    zone, project_line = sorted(lines(story), key=lambda line: line.project or "")

    assert ([place.zone for place in zone.places], zone.project) == (["zone-05"], None)
    assert (len(project_line.places), project_line.project) == (5, "org-new")


# --- what is watched -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        (Watch(), {1, 2, 3, 4}),
        (Watch(zone=("zone-01",)), {1, 2, 4}),
        (Watch(region=("zo*",), account=("prod",)), {1, 2, 3, 4}),
        (Watch(account=("dev*",)), set()),
        (Watch(name=("ubuntu  20.04",)), {1, 4}),
        (Watch(name=("Cent*",)), {2, 3, 4}),
        (Watch(zone=("ZONE-01",)), {1, 2, 4}),
        (Watch(region=("ZO*",)), {1, 2, 3, 4}),
        (Watch(account=("PROD",)), set()),
        (Watch(event=("withdrawn",)), {1, 2}),
        (Watch(event=("re-issued",)), {2}),
        (Watch(gpu=True), {1, 3, 4}),
        (Watch(gpu=False), {2, 3, 4}),
        (Watch(project=("team*",)), {1, 2, 3, 4}),
        (Watch(project=("org-z",)), set()),
        (Watch(kind=("uk8s-*",)), {1, 2, 3, 4}),
    ],
)
def test_filters(watch: Watch, expected: set[int]) -> None:
    """A subscription is told what its filters want; what is not known to be without a GPU is told to both sides."""
    story = Story(zones=2)
    story.project_names["prod", "org-a"] = "Team A"
    story.change("withdrawn", "uimage-a", "Ubuntu 20.04", where="zone-01")
    story.change("withdrawn", "uimage-b", "CentOS 7.6", where="zone-01", counterpart="uimage-d")
    story.change("appeared", "uimage-c", "CentOS 7.9", where="zone-02")
    story.change("target_retired", None, where="zone-01")
    story.gpu = {("ImageSet", "uimage-a"): True, ("ImageSet", "uimage-b"): False}
    digest = build_digest(subscribe(watch=watch), story.facts(), KNOWN)

    assert {row.id for row in digest.changes} == expected if digest else expected == set()


@pytest.mark.parametrize(
    ("name", "is_told"), [("ubuntu 20.04", True), ("Old*", True), ("!Old*", True), ("CentOS*", False)]
)
def test_a_name_that_is_lost(name: str, is_told: bool) -> None:
    """Who watches a name is told when an image loses it, as who watches the new one is told that it has it."""
    story = Story()
    names = ["Ubuntu 20.04", "Old Ubuntu"]
    story.change("modified", name=names[-1], fields={"image_name": names})

    assert bool(build_digest(subscribe(watch=Watch(name=(name,))), story.facts(), KNOWN)) == is_told


def test_first_digest_says_what_is_watched() -> None:
    """The first digest is made without any news, and says what is watched; the second needs news."""
    story = Story(zones=2)
    first = tell(story.facts(), subscribe(pins=["zone-01 uimage-a"]), NotifiedState())

    assert first.introduction is not None
    assert (first.introduction.zone_count, first.introduction.image_count) == (2, 6)
    assert first.notified.introduced
    assert build_digest(subscribe(), story.facts(), first.notified) is None


def test_a_zone_of_two_accounts_counts_once() -> None:
    """Zones and the images in them are counted once, whichever accounts see them; the places are told for each."""
    story = Story(zones=2)
    twice = [target(zone, account=account) for zone in ("zone-01", "zone-02") for account in ("prod", "test")]
    for where in twice:
        story.set(where)
    first = tell(story.facts(), subscribe(), NotifiedState())
    for where in twice[:2]:
        story.change("appeared", "uimage-new", where=where)
    for where in twice[2:]:
        story.change("target_retired", None, where=where)
    digest = tell(story.facts())
    new, closed = digest.lines if digest.lines[0].topic == "appeared" else digest.lines[::-1]

    assert first.introduction is not None
    assert (first.introduction.zone_count, first.introduction.image_count) == (2, 6)
    assert (first.coverage.observed, first.coverage.total) == (2, 2)
    assert (new.zone_count, new.image_count) == (2, 1)
    assert [(place.account, place.zone) for place in new.places] == [("prod", "zone-01"), ("test", "zone-01")]
    assert (closed.image_count, [place.account for place in closed.places]) == (3, ["prod", "test"])


@pytest.mark.parametrize(("blind", "observed"), [([], 2), (["prod"], 1), (["test"], 1), (["prod", "test"], 1)], ids=str)
def test_a_zone_that_one_account_does_not_observe(blind: list[str], observed: int) -> None:
    """It counts as one that is not observed, and once where both do not."""
    story = Story(zones=["zone-01"])
    for account in ("prod", "test"):
        outcome = "failed" if account in blind else "ok"
        story.set(target("zone-01", account=account), outcome=outcome, since=at(-5), message="no route")
        story.set(target("zone-02", account=account))
    digest = tell(story.facts(), subscribe(empty=True))

    assert (digest.coverage.observed, digest.coverage.total) == (observed, 2)
    assert [gap.account for gap in digest.gaps] == blind


def test_empty() -> None:
    """Without news there is no digest, unless the subscription wants one that says how well was observed."""
    story = Story(zones=3)
    digest = tell(story.facts(), subscribe(empty=True))

    assert build_digest(subscribe(), story.facts(), KNOWN) is None
    assert (digest.lines, digest.coverage.observed, digest.coverage.total) == ((), 3, 3)


@pytest.mark.parametrize(
    ("when", "hour", "is_told"),
    [
        (When(), 32, False),
        (When(), 33.1, True),
        (When(at=time(9)), 14, False),
        (When(at=time(9)), 32, True),
        (When(at=time(9), weekday=0), 32, False),
    ],
)
def test_stock_alone(when: When, hour: float, is_told: bool) -> None:
    """Stock alone is told once a day, of a schedule at its time, also on the day on which clocks are put forward."""
    zone, story = ZoneInfo("Europe/Berlin"), Story()
    story.change("modified", "O", fields={"status": ["Normal", "Soldout"]})
    midnight = datetime(2026, 3, 28, tzinfo=zone).astimezone(UTC)
    told = replace(KNOWN, stock_at=midnight + timedelta(hours=9))
    facts = story.facts(now=midnight + timedelta(hours=hour))

    assert (build_digest(subscribe(when=when, timezone=zone), facts, told) is not None) == is_told
    assert build_digest(subscribe(when=when, timezone=zone, empty=True), facts, told) is not None


# --- what was not observed -------------------------------------------------------------------------------------------


def test_failure_makes_two_notices() -> None:
    """A target that fails for 24 runs makes two digests: one after the patience, one when it is observed again."""
    subscription, told = subscribe(patience=timedelta(hours=3)), KNOWN
    story = Story()
    digests = []
    for run in range(2, 30):
        failing = run < 26
        story.set(
            target("zone-01"),
            outcome="failed" if failing else "ok",
            since=at(2) if failing else at(26),
            last_ok_at=at(1) if failing else at(run),
            message="cut",
        )
        digest = build_digest(subscription, story.facts(run), told)
        if digest is not None:
            told = digest.notified
            digests.append((run, digest))

    (started, start), (ended, end) = digests
    assert (started, [gap.zones for gap in start.gaps], start.coverage.observed) == (5, [("zone-01",)], 2)
    assert (ended, [gap.zones for gap in end.recovered], end.coverage.observed) == (26, [("zone-01",)], 3)
    assert (end.gaps, told.unobserved) == ((), frozenset())


def test_told_failures_stay_in_the_coverage() -> None:
    """A failure told before stands in the line on coverage of digests with other news; a young one in full."""
    story = Story()
    story.set(target("zone-01"), outcome="failed", since=at(1), last_ok_at=at(0))
    story.set(target("zone-02"), outcome="failed", since=at(9), last_ok_at=at(8))
    story.change("withdrawn", where="zone-03", run=9)
    told = replace(KNOWN, unobserved=frozenset({str(target("zone-01"))}))
    digest = tell(story.facts(9), told=told)

    assert [gap.zones for gap in digest.gaps] == [("zone-02",)]
    assert [gap.zones for gap in digest.coverage.still] == [("zone-01",)]
    assert digest.notified.unobserved == told.unobserved


def test_gaps_fold() -> None:
    """Zones that fail for one reason since one time are one line; what is retired or never was open is none."""
    story = Story(zones=12, projects=("org-a", "org-b"))
    for number in range(1, 10):
        for project in ("org-a", "org-b"):
            story.set(target(f"zone-{number:02}", project), outcome="failed", since=at(2), message="no route")
    story.set(target("zone-10", "org-a"), outcome="failed", since=at(2), message="no route")
    story.set(target("zone-11", "org-a"), outcome="denied", last_ok_at=None)
    story.set(target("zone-12", "org-a"), outcome="retired")
    digest = tell(story.facts(9))

    assert [(len(gap.zones), gap.projects) for gap in digest.gaps] == [(9, ()), (1, ("org-a",))]
    assert (digest.coverage.observed, digest.coverage.total) == (2, 12)


def test_gaps_of_one_run() -> None:
    """What began to fail within a minute of each other is one line, also where another minute begins between them."""
    story = Story(zones=3)
    for number, seconds in ((1, 0), (2, 50), (3, 400)):
        since = at(2) + timedelta(seconds=seconds)
        story.set(target(f"zone-{number:02}"), outcome="failed", since=since, message="no route")
    story.set(
        target("zone-01", variant="gpu"), outcome="failed", since=at(2) + timedelta(seconds=70), message="no route"
    )

    assert [(gap.zones, gap.since) for gap in tell(story.facts(9)).gaps] == [
        (("zone-01", "zone-02"), at(2)),
        (("zone-03",), at(2) + timedelta(seconds=400)),
    ]


def test_holds() -> None:
    """What is on hold stands in digests that are made anyway, one entry per zone, and makes none."""
    story = Story()
    story.hold("uimage-a", "uimage-b")
    assert build_digest(subscribe(), story.facts(), KNOWN) is None
    story.change("appeared", where="zone-02")

    (held,) = tell(story.facts()).held
    assert (held.zone, held.image_count) == ("zone-01", 2)


@pytest.mark.parametrize("outcome", ["retired", "deselected"])
def test_holds_where_nobody_asks(outcome: str) -> None:
    """Of a zone that is asked no more no mail says that later runs will confirm a hold: none does."""
    story = Story()
    story.hold("uimage-a", where="zone-01")
    story.hold("uimage-b", where="zone-02")
    story.set(target("zone-01"), outcome=outcome)
    story.change("appeared", where="zone-02")

    assert [held.zone for held in tell(story.facts()).held] == ["zone-02"]


# --- whatever happens ------------------------------------------------------------------------------------------------

EVENTS = st.tuples(
    st.sampled_from(["appeared", "returned", "withdrawn", "modified", "target_added", "target_retired"]),
    st.sampled_from(["uimage-a", "uimage-b", "uimage-c"]),
    st.sampled_from(["zone-01", "zone-02", "zone-03"]),
    st.sampled_from(["org-a", "org-b"]),
    st.sampled_from([None, "uimage-a", "uimage-b", "uimage-c"]),
    st.integers(2, 5),
)


@given(st.lists(EVENTS, max_size=25))
def test_every_change_once(events: list[tuple[str, str, str, str, str | None, int]]) -> None:
    """Whatever happens in whatever order, each change is told by exactly one line."""
    story = Story(zones=3, projects=("org-a", "org-b"))
    for event, image_id, zone, project, counterpart, run in sorted(events, key=lambda event: event[-1]):
        is_image = not event.startswith("target")
        story.change(
            event,
            image_id if is_image else None,
            where=target(zone, project),
            run=run,
            counterpart=counterpart if event == "withdrawn" and counterpart != image_id else None,
            fields={"size_gb": [1, 2]} if event == "modified" else {},
        )
    digest = build_digest(subscribe(empty=True), story.facts(2, 3, 4, 5), KNOWN)

    assert digest is not None
    told = [change_id for line in digest.lines for change_id in line.change_ids]
    assert sorted(told) == [row.id for row in digest.changes] == [row.id for row in story.changes]
