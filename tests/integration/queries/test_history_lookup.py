"""The history of an image, where a name is, two moments, two zones: each agrees with `images` at every moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from crawler.db.engine import begin, opened, read
from crawler.db.pruning import prune
from crawler.db.schema import Absence
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME, Target, normalise_name
from crawler.domain.rows import Gap, ImageRow
from crawler.errors import Ambiguous, UnknownKnowledge
from crawler.queries import diff_lookup, history_lookup, images
from crawler.queries import gaps as queries_gaps
from crawler.queries.compare import CompareRow
from crawler.queries.history import HistoryRow
from tests.support.diary import PERIOD, START, Answer, Diary, Refusal, target
from tests.support.plans import plan, statements

STALE = timedelta(hours=3)
TARGETS = [target(f"hk-{zone:02}", project=f"org-{project}") for zone in (1, 2) for project in (1, 2)]
NAMES = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-c": "UBuntu 20.04", "uimage-d": "Debian 12"}
REFUSALS = (
    Refusal(),
    Refusal(ret_code=150),
    Refusal(outcome="skipped", failure_class="deadline", ret_code=None),
    Refusal(failure_class="denied", ret_code=230),
)


Runs = list[tuple[datetime, datetime]]


def random_history(engine: Engine, seed: int) -> Runs:
    """Play thirty runs, some restricted, some killed, with refusals, holds, silences and absences; tell their spans."""
    rng = random.Random(seed)
    diary = Diary(engine)
    spans: Runs = []
    absent: dict[Target, datetime] = {}
    for number in range(30):
        diary.now += timedelta(minutes=rng.choice([15, 15, 60, 300]))
        asked = [where for where in TARGETS if where not in absent or absent[where] < diary.now]
        scope = rng.sample(asked, min(len(asked), rng.choice([1, 3, 4, 4, 4])))
        replies: dict[Target, Answer] = {
            where: rng.choice(REFUSALS)
            if rng.random() < 0.3
            else {image_id: NAMES[image_id] for image_id in rng.sample(list(NAMES), rng.choice([1, 3, 4, 4]))}
            for where in scope
        }
        dies = rng.random() < 0.2 and number < 29
        begun = diary.now
        run_id, recorder = diary.start(scope)
        for portion in (scope[:2], scope[2:]) if not dies else (scope[:1],):
            again = recorder.judge([diary.item(where, replies[where]) for where in portion])
            recorder.judge([diary.item(where, replies[where], is_reask=True) for where in again])
            recorder.commit()
        spans.append((begun, diary.now if dies else diary.finish(run_id, recorder)))
        if rng.random() < 0.15 and len(asked) == len(TARGETS):
            gone = rng.choice(TARGETS)
            absent[gone] = diary.now + timedelta(hours=rng.choice([1, 9]))
            absence(engine, diary.ids([gone])[gone], diary.now, absent[gone])
    return spans


def absence(engine: Engine, target_id: int, first: datetime, last: datetime) -> None:
    """Retire a target for a while."""
    with begin(engine) as conn:
        row = {"target_id": target_id, "reason": "retired", "valid_from": first, "valid_to": last}
        conn.execute(insert(Absence), [row])


def moments(runs: Runs) -> Iterator[datetime]:
    """Return moments at the ends of *runs*, around and between them, and long after."""
    rng = random.Random(7)
    last = runs[-1][1]
    for first, end in runs:
        yield from (first, end, end + timedelta(seconds=1), first - timedelta(seconds=1), first + timedelta(seconds=2))
    for _ in range(25):
        yield START + timedelta(seconds=rng.uniform(0, (last - START).total_seconds()))
    yield last + timedelta(hours=2)
    yield last + timedelta(days=2)


def between(runs: Runs) -> list[datetime]:
    """Return only the moments at which no run was under way: what it saw is known from its end on."""
    return [moment for moment in moments(runs) if not any(first < moment < end for first, end in runs)]


def available(conn: Any, at: datetime) -> list[ImageRow]:
    return list(images.images(conn, at, now=at, stale_after=STALE, include_retired=True))


def reason_at(gaps: tuple[Gap, ...], at: datetime) -> str | None:
    """Return the reason of the gap that covers a moment."""
    found = [gap.reason for gap in gaps if gap.unknown_from <= at < (gap.unknown_to or END_OF_TIME)]
    assert len(found) < 2
    return found[0] if found else None


def open_at(rows: list[HistoryRow], at: datetime) -> dict[tuple[Target, str], str | None]:
    """Return the images that a history says were there at a moment, each with the reason why that is unknown."""
    return {
        (row.target, row.image_id): reason_at(row.gaps, at)
        for row in rows
        if row.valid_from <= at < (row.valid_to or END_OF_TIME)
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_history_agrees_with_every_moment(engine: Engine, seed: int) -> None:
    """At any moment the history of all images, with its gaps, says what `images` says for that moment."""
    runs = random_history(engine, seed)
    now = runs[-1][1] + timedelta(days=3)
    with read(engine) as conn:
        rows = history_lookup.history(conn, NAMES, now=now, stale_after=STALE)
        for moment in between(runs):
            expected = {(row.target, row.image_id): row.reason for row in available(conn, moment)}
            assert open_at(rows, moment) == expected, moment
        present = {(row.target, row.image_id): (row.state, row.reason) for row in available(conn, now)}

    assert {(row.target, row.image_id): (row.state, row.reason) for row in rows if row.valid_to is None} == present
    assert len({gap.reason for row in rows for gap in row.gaps}) > 3, "too tame a history"


@pytest.mark.parametrize("seed", [1, 2])
def test_where_agrees_with_every_moment(engine: Engine, seed: int) -> None:
    """At any moment a name is where `images` lists it, and unknown where its target is."""
    runs = random_history(engine, seed)
    name = normalise_name("Ubuntu 20.04")
    with read(engine) as conn:
        for moment in moments(runs):
            listed: dict[Target, list[ImageRow]] = {}
            for row in available(conn, moment):
                if normalise_name(row.image_name) == name:
                    listed.setdefault(row.target, []).append(row)
            rows = history_lookup.where_is(conn, [name], moment, now=moment, stale_after=STALE, include_retired=True)
            assert {row.target for row in rows if row.present_since} == listed.keys(), moment
            for told in rows:
                here = listed.get(told.target, [])
                if not here:
                    assert told.state in ("withdrawn", "unknown", "never")
                    continue
                sure = [row for row in here if row.reason != "held"] or here
                newest = max(row.present_since for row in sure)
                assert (told.id_since, told.image_id) in {(newest, row.image_id) for row in sure}
                assert {told.image_id, *told.also_open} == {row.image_id for row in here}
                known = any(row.state == "present" for row in here)
                assert (told.state == "present") is known, (moment, told)
                assert told.present_since is not None
                assert told.present_since <= max(row.present_since for row in here)
                if known:
                    assert told.since == told.present_since


@pytest.mark.parametrize("seed", [1, 2])
def test_diff_agrees_with_both_moments(engine: Engine, seed: int) -> None:
    """Between any two moments the differences are those between what was known at both; turned round, they swap."""
    runs = random_history(engine, seed)
    rng = random.Random(seed)
    chosen = list(moments(runs))
    turned = {"appeared": "withdrawn", "withdrawn": "appeared", "modified": "modified", "unknown": "unknown"}
    with read(engine) as conn:
        for _ in range(30):
            first, second = rng.choice(chosen), rng.choice(chosen)
            rows = list(diff_lookup.moments_apart(conn, first, second, stale_after=STALE)[0])
            back = list(diff_lookup.moments_apart(conn, second, first, stale_after=STALE)[0])
            one, other = ({(r.target, r.image_id): r.state for r in available(conn, at)} for at in (first, second))
            for row in rows:
                place = (row.target, row.image_id)
                if row.event == "appeared":
                    assert (place in one, other[place]) == (False, "present")
                if row.event == "withdrawn":
                    assert (one[place], place in other) == ("present", False)
            both = {place for place in one.keys() & other.keys() if one[place] == other[place] == "present"}
            assert both.isdisjoint((row.target, row.image_id) for row in rows)
            assert {(r.target, r.image_id, turned[r.event], r.counterpart) for r in rows} == {
                (r.target, r.image_id, r.event, r.counterpart) for r in back
            }
        for moment in chosen[:20]:
            rows = list(diff_lookup.moments_apart(conn, moment, moment, stale_after=STALE)[0])
            assert {row.event for row in rows} <= {"unknown"}


@pytest.mark.parametrize("seed", [1, 2])
def test_after_pruning(engine: Engine, seed: int) -> None:
    """What was pruned is refused; the answers about the kept time stay right."""
    runs = random_history(engine, seed)
    kept_from, now = runs[15][1] + timedelta(seconds=1), runs[-1][1] + timedelta(hours=1)
    prune(engine, None, before=kept_from, now=now)
    with read(engine) as conn:
        rows = history_lookup.history(conn, history_lookup.image_ids(conn, "*"), now=now, stale_after=STALE)
        for moment in between(runs):
            if moment < kept_from:
                with pytest.raises(UnknownKnowledge, match="pruned"):
                    history_lookup.where_is(conn, ["ubuntu 20.04"], moment, now=now, stale_after=STALE)
                with pytest.raises(UnknownKnowledge, match="pruned"):
                    diff_lookup.moments_apart(conn, now, moment, stale_after=STALE)
                with pytest.raises(UnknownKnowledge, match="pruned"):
                    diff_lookup.zones_apart(conn, ["hk-01"], ["hk-02"], moment, now=now, stale_after=STALE)
            elif moment <= now:
                expected = {(row.target, row.image_id): row.reason for row in available(conn, moment)}
                assert open_at(rows, moment) == expected, moment


def test_what_was_there_before_anyone_looked_has_not_appeared(engine: Engine) -> None:
    """A zone that was first looked at between the two moments is unknown at the first, not full of arrivals."""
    diary = Diary(engine)
    home, away = TARGETS[0], TARGETS[2]
    diary.run({home: NAMES})
    first = diary.now
    diary.run({home: NAMES, away: NAMES})
    with read(engine) as conn:
        found, known = diff_lookup.moments_apart(conn, first, diary.now, stale_after=STALE)
        rows = list(found)

    assert {(row.target, row.event, row.first, row.first_reason) for row in rows} == {
        (away, "unknown", "unknown", "never_observed")
    }
    one, other = known[away]
    assert one is not None
    assert other is not None
    assert (one.reason, other.reason) == ("never_observed", None)


def test_diff_with_filters(engine: Engine) -> None:
    """An image that changed its name is modified, under either name; a re-issue knows its other half."""
    diary = Diary(engine)
    home = TARGETS[0]
    diary.run({home: {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-z": "Debian 12"}})
    first = diary.now
    diary.run({home: {"uimage-a": "CentOS 7.9", "uimage-c": "Ubuntu 20.04", "uimage-z": "Debian 12"}})

    def told(**filters: Any) -> set[tuple[str, str, str | None]]:
        with read(engine) as conn:
            rows, _ = diff_lookup.moments_apart(conn, first, diary.now, Filters(**filters), stale_after=STALE)
            return {(row.event, row.image_id, row.counterpart) for row in rows}

    renamed = ("modified", "uimage-a", None)
    gone, new = ("withdrawn", "uimage-b", "uimage-c"), ("appeared", "uimage-c", "uimage-b")
    assert told() == {renamed, gone, new}
    assert told(name=("CentOS 7.6",)) == told(name=("centos 7.9",)) == told(image_id=("uimage-a",)) == {renamed}
    assert told(name=("ubuntu*",)) == {gone, new}
    assert told(image_id=("uimage-b",)) == {gone}
    assert told(image_id=("uimage-z",)) == told(name=("Windows",)) == told(zone=("hk-02",)) == set()
    diary.run({home: Refusal()})
    renamed = ("unknown", "uimage-a", None)
    assert told(name=("CentOS 7.6",)) == told(name=("centos 7.9",)) == {renamed}, "whatever it is called on either side"


def test_set_that_is_stated_with_a_change(engine: Engine) -> None:
    """An image of a machine whose ImageType is stated only with a change of it has been there all the time."""
    home, diary = TARGETS[0]._replace(kind="uhost-image"), Diary(engine)

    def run(**stated: Any) -> datetime:
        records = [{"ImageId": one, "ImageName": "Rocky 9", **stated} for one in ("uimage-a", "uimage-b")]
        diary.run({home: {"RetCode": 0, "TotalCount": 2, "ImageSet": records}})
        return diary.now

    begun = run(ImageDescription="old")
    changed = run(ImageDescription="new", ImageType="Base")

    def told(first: datetime, second: datetime, **filters: Any) -> list[tuple[str, str, str]]:
        wanted = Filters(kind=("uhost-image",), **filters)
        with read(engine) as conn:
            rows, _ = diff_lookup.moments_apart(conn, first, second, wanted, stale_after=STALE)
            return [(row.event, row.image_set, row.image_id) for row in rows]

    modified = [("modified", "Base", "uimage-a"), ("modified", "Base", "uimage-b")]
    for moments in ((begun, changed), (changed, begun)):
        assert told(*moments) == told(*moments, image_set=("Base",)) == modified
        assert told(*moments, image_id=("uimage-b",)) == modified[1:]
        assert told(*moments, image_set=("unstated",)) == []
    for image_set in ((), ("Base",)):
        wanted = Filters(kind=("uhost-image",), image_set=image_set)
        with read(engine) as conn:
            rows = history_lookup.where_is(conn, ["rocky 9"], None, wanted, now=changed, stale_after=STALE)
        assert [(row.state, row.image_set, row.baseline) for row in rows] == [("present", "Base", True)]
        assert all(row.since is not None and row.since < begun for row in rows)
    wanted = Filters(kind=("uhost-image",))
    with read(engine) as conn:
        (row,) = history_lookup.where_is(conn, ["rocky 9"], begun, wanted, now=changed, stale_after=STALE)
    assert (row.state, row.image_set) == ("present", "unstated")


def test_zones_apart(engine: Engine) -> None:
    """Two zones are compared by name, and projects that are told the same share a row."""
    diary = Diary(engine)
    ubuntu = {"ImageName": "Ubuntu 20.04", "NotSupportGPU": False, "ZoneId": 1}
    first = {"uimage-a": "CentOS 7.6", "uimage-b": ubuntu, "uimage-d": "Debian 12"}
    second = {"uimage-1": "centos  7.6", "uimage-2": {**ubuntu, "NotSupportGPU": True, "ZoneId": 2}, "uimage-3": "SUSE"}
    diary.run({where: first if where.zone == "hk-01" else second for where in TARGETS})
    with read(engine) as conn:
        rows, _ = diff_lookup.zones_apart(conn, ["hk-01"], ["hk-02"], None, now=diary.now, stale_after=STALE)
        few, _ = diff_lookup.zones_apart(
            conn, ["hk-01"], ["hk-02"], None, Filters(image_id=("uimage-1",)), now=diary.now, stale_after=STALE
        )

    told = {
        row.image_name: (row.result, row.first and row.first.image_id, row.second and row.second.image_id)
        for row in rows
    }
    assert told == {
        "CentOS 7.6": ("same", "uimage-a", "uimage-1"),
        "Debian 12": ("only_first", "uimage-d", None),
        "SUSE": ("only_second", None, "uimage-3"),
        "Ubuntu 20.04": ("differs", "uimage-b", "uimage-2"),
    }
    assert {row.projects for row in rows} == {("prod/org-1", "prod/org-2")}
    assert rows[-1].fields == {"gpu": [True, False]}
    assert [row.image_name for row in few] == ["CentOS 7.6"]


def test_zones_apart_unknown(engine: Engine) -> None:
    """A zone that was not observed well lacks nothing: what only the other one lists is unknown, with the reason."""
    diary = Diary(engine)
    home, away = TARGETS[0], TARGETS[2]
    diary.run({home: {"uimage-a": "CentOS 7.6"}, away: {"uimage-b": "Ubuntu 20.04"}})
    diary.run({home: {"uimage-a": "CentOS 7.6"}, away: Refusal()})
    with read(engine) as conn:
        rows, known = diff_lookup.zones_apart(conn, ["hk-01"], ["hk-02"], None, now=diary.now, stale_after=STALE)

    assert {(row.image_name, row.result, row.reason) for row in rows} == {
        ("CentOS 7.6", "unknown", "failed"),
        ("Ubuntu 20.04", "unknown", "failed"),
    }
    assert (known[0][home].reason, known[1][away].reason) == (None, "failed")


def test_zones_apart_where_one_is_asked_no_more(engine: Engine) -> None:
    """A project that is asked no more in one of the zones is told so, and not that nobody ever looked there."""
    diary = Diary(engine)
    diary.run({where: {"uimage-a": "CentOS 7.6"} for where in TARGETS})
    absence(engine, diary.ids(TARGETS)[TARGETS[2]], diary.now, END_OF_TIME)
    zones = ("hk-01", "hk-02"), ("hk-02", "hk-01"), ("hk-01", "hk-0[29]")

    def apart(first: str, second: str) -> list[tuple[str, str | None, tuple[str, ...]]]:
        with read(engine) as conn:
            rows, known = diff_lookup.zones_apart(conn, [first], [second], None, now=diary.now, stale_after=STALE)
        assert all(TARGETS[2] not in side for side in known)
        return [(row.result, row.reason, row.projects) for row in rows]

    for one, other in zones:
        assert apart(one, other) == [("unknown", "retired", ("prod/org-1",)), ("same", None, ("prod/org-2",))]


def test_zones_apart_about_an_id_that_is_superseded(engine: Engine) -> None:
    """An id asks about its name, also where a later one is compared in its place; of its own project alone."""
    diary = Diary(engine)
    named = {"hk-01": "uimage-a", "hk-02": "uimage-c"}
    first = {where: {named[where.zone]: "CentOS 7.6", "uimage-x": ""} for where in TARGETS}
    diary.run(first)
    diary.run(first | {TARGETS[0]: {**first[TARGETS[0]], "uimage-b": "centos 7.6"}})

    def apart(*image_ids: str) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
        wanted = Filters(image_id=image_ids)
        with read(engine) as conn:
            rows, _ = diff_lookup.zones_apart(
                conn, ["hk-01"], ["hk-02"], None, wanted, now=diary.now, stale_after=STALE
            )
        return [(row.first and row.first.image_id, row.second and row.second.image_id, row.projects) for row in rows]

    own = ("uimage-b", "uimage-c", ("prod/org-1",))
    other = ("uimage-a", "uimage-c", ("prod/org-2",))
    assert apart("uimage-a") == [own, other]
    assert apart("uimage-b") == [own]
    assert apart("uimage-x") == [("uimage-x", "uimage-x", ("prod/org-1", "prod/org-2"))]
    assert apart("uimage-z") == []


def test_zones_apart_in_any_case(engine: Engine) -> None:
    """A zone that another project has in another case is the same zone; where one project has both, none is chosen."""
    diary = Diary(engine)
    own, asked = {"uimage-a": "CentOS 7.6"}, [TARGETS[0], target("HK-01", project="org-2"), *TARGETS[2:]]

    def apart() -> list[CompareRow]:
        with read(engine) as conn:
            return diff_lookup.zones_apart(conn, ["hk-01"], ["hk-02"], None, now=diary.now, stale_after=STALE)[0]

    diary.run(dict.fromkeys(asked, own))
    assert [(row.result, row.projects) for row in apart()] == [("same", ("prod/org-1", "prod/org-2"))]
    diary.run(dict.fromkeys([*asked, target("HK-01", project="org-1")], own))
    with pytest.raises(Ambiguous, match="Several zones fit: HK-01, hk-01"):
        apart()


def test_images_found_by_id_name_and_glob(engine: Engine) -> None:
    """An image is found by its id, by its name however written, or by a glob over either."""
    diary = Diary(engine)
    diary.run({TARGETS[0]: NAMES})
    with read(engine) as conn:
        assert history_lookup.image_ids(conn, "uimage-a") == ["uimage-a"]
        assert history_lookup.image_ids(conn, "ubuntu  20.04") == ["uimage-b", "uimage-c"]
        assert history_lookup.image_ids(conn, "*-[ad]") == ["uimage-a", "uimage-d"]
        assert history_lookup.image_ids(conn, "*20.04") == ["uimage-b", "uimage-c"]
        assert history_lookup.image_ids(conn, "uimage-e") == history_lookup.image_ids(conn, "  ") == []
        assert (
            history_lookup.image_names(conn, "uimage-c")
            == history_lookup.image_names(conn, "Ubuntu 20.04")
            == ["ubuntu 20.04"]
        )
        assert history_lookup.image_names(conn, "*[26]") == ["centos 7.6", "debian 12"]
        assert history_lookup.image_names(conn, "SUSE") == []


def test_the_first_run_goes_on(engine: Engine) -> None:
    """An image of the first answer is unknown, as `images` has it, until the run that got the answer has ended."""
    diary = Diary(engine)
    diary.run({TARGETS[0]: NAMES}, finish=False)
    with read(engine) as conn:
        (while_it_runs,) = history_lookup.history(conn, ["uimage-a"], now=diary.now, stale_after=STALE)
        (as_images,) = (row for row in available(conn, diary.now) if row.image_id == "uimage-a")
    assert (while_it_runs.state, while_it_runs.reason, while_it_runs.gaps) == ("unknown", "never_observed", ())
    assert (as_images.state, as_images.reason) == ("unknown", "never_observed")

    diary.run({TARGETS[0]: NAMES})
    with read(engine) as conn:
        (afterwards,) = history_lookup.history(conn, ["uimage-a"], now=diary.now, stale_after=STALE)
    assert (afterwards.state, afterwards.reason, afterwards.gaps) == ("present", None, ())


def test_silences_of_long_histories(engine: Engine) -> None:
    """Only the silences are told of a long row of runs, to the microsecond."""
    diary = Diary(engine)
    home = TARGETS[0]
    expected = []
    for number in range(60):
        if number in (20, 40):
            expected.append(diary.now + STALE)
            diary.now += 2 * STALE
        diary.run({home: NAMES})
        if number in (20, 40):
            expected.append(diary.now)
    now, ids = diary.now + 3 * STALE, list(diary.ids([home]).values())
    with read(engine) as conn:
        (known,) = queries_gaps.coverage(conn, ids, since=START, now=now, stale_after=STALE).values()
        none = queries_gaps.coverage(conn, ids, since=START, now=diary.now, stale_after=2 * STALE + PERIOD)

    edges = [edge for gap in known.silences for edge in (gap.unknown_from, gap.unknown_to)]
    assert edges == [*expected, diary.now + STALE, None]
    assert [own.silences for own in none.values()] == [[]]


def test_plans(sqlite_url: str) -> None:
    """No answer about an image scans runs, intervals or the change log."""
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        for number in range(3):
            diary.run({where: {**NAMES, f"uimage-{number}": "New"} for where in TARGETS})
        with read(engine) as conn:
            with statements(engine) as asked:
                history_lookup.history(conn, NAMES, now=diary.now, stale_after=STALE)
                history_lookup.where_is(conn, ["ubuntu 20.04"], None, now=diary.now, stale_after=STALE)
                filters = Filters(zone=("hk-01",))
                list(diff_lookup.moments_apart(conn, START + PERIOD, diary.now, filters, stale_after=STALE)[0])
                diff_lookup.zones_apart(conn, ["hk-01"], ["hk-02"], None, now=diary.now, stale_after=STALE)
            plans = {statement[0]: plan(conn, statement) for statement in asked}
    scans = [(sql, line) for sql, lines in plans.items() for line in lines if line.startswith("SCAN")]
    grown = ("runs", "r", "intervals", "exceptions", "changes", "scope_targets", "s", "holds", "hold_images")
    assert [(sql, line) for sql, line in scans if line.split()[1] in grown] == []
    assert len(plans) > 10
