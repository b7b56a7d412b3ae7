"""Holds by hand: listed, accepted, rejected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from crawler.cli.app import cli
from crawler.config.models import Settings
from crawler.db.engine import begin, read
from crawler.db.pruning import prune
from crawler.domain.filters import Filters
from crawler.domain.rows import ChangeRow, HoldRow
from crawler.emulator import EmulatorServer, run_in_thread
from crawler.errors import UsageError
from crawler.queries import changes, history_lookup, holds, images, runs
from crawler.queries.history import HistoryRow
from tests.support.answers import NOON
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.diary import Diary, target
from tests.support.worlds import make_timeline

IMAGES = {"a": "CentOS 7.6", "b": "Ubuntu 20.04", "c": "Anolis 8.6"}
HOUR = timedelta(hours=1)


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    timeline = make_timeline(zones={"hk-02": IMAGES}, steps=[{"remove": {"hk-02": ["a", "b"]}}])
    with run_in_thread(timeline) as server:
        yield server


@pytest.fixture
def held(engine: Engine, database_url: str, cloud: EmulatorServer) -> Settings:
    """A history in which hk-02 suddenly lacked a and b at the second of two runs."""
    settings = settings_for(database_url, account_at(cloud.url))
    crawl_once(engine, settings, NOON)
    cloud.step = 2
    crawl_once(engine, settings, NOON + HOUR)
    return settings


def all_holds(engine: Engine) -> list[HoldRow]:
    with read(engine) as conn:
        return holds.holds(conn, include_resolved=True)


def withdrawals(engine: Engine) -> list[ChangeRow]:
    with read(engine) as conn:
        return list(changes.changes(conn, events=["withdrawn"]))


def states(engine: Engine, settings: Settings) -> dict[str, tuple[str, str | None]]:
    with read(engine) as conn:
        rows = images.images(conn, None, now=NOON + 3 * HOUR, stale_after=settings.stale_after)
        return {row.image_id: (row.state, row.reason) for row in rows}


def test_a_hold_is_listed_with_its_images(engine: Engine, held: Settings) -> None:
    """The list tells where, which images by name, since when, and how often confirmed."""
    (hold,) = all_holds(engine)
    assert (hold.target.zone, hold.run, hold.status, hold.confirmations) == ("hk-02", 2, "open", 0)
    assert hold.images == (("ImageSet", "a", "CentOS 7.6"), ("ImageSet", "b", "Ubuntu 20.04"))
    assert hold.not_before is not None
    assert hold.not_before < hold.held_at
    assert states(engine, held)["a"] == ("unknown", "held")


def test_a_held_image_has_the_name_that_its_own_target_had_for_it(engine: Engine) -> None:
    """That another zone lists an id under another name by now does not rename it where it is on hold."""
    diary = Diary(engine)
    names = {"a": "CentOS 7.6", "b": "Ubuntu 20.04"}
    own, other = target("hk-02"), target("sg-01")
    diary.run({own: names, other: names})
    diary.run({own: names, other: {**names, "a": "CentOS 7.9"}})
    diary.run({own: {}, other: {**names, "a": "CentOS 7.9"}})
    (hold,) = all_holds(engine)

    assert hold.images == (("ImageSet", "a", "CentOS 7.6"), ("ImageSet", "b", "Ubuntu 20.04"))


def test_accept_writes_the_withdrawals_with_the_first_date(engine: Engine, held: Settings) -> None:
    """An accepted hold is recorded at once, dated to the first held answer, and the next run adds nothing."""
    (hold,) = all_holds(engine)
    with begin(engine) as conn:
        assert holds.accept(conn, [hold.id], who="ops", now=NOON + 2 * HOUR) == 2

    rows = withdrawals(engine)
    assert {row.image_id for row in rows} == {"a", "b"}
    assert {(row.not_before, row.observed_at, row.recorded_at) for row in rows} == {
        (hold.not_before, hold.held_at, NOON + 2 * HOUR)
    }
    assert states(engine, held) == {"c": ("present", None)}
    (resolved,) = all_holds(engine)
    assert (resolved.status, resolved.resolved_by, resolved.resolved_at) == ("accepted", "ops", NOON + 2 * HOUR)

    result = crawl_once(engine, held, NOON + 3 * HOUR)
    assert result.summary.targets["ok"] == 1
    assert len(withdrawals(engine)) == 2


def test_what_is_accepted_is_counted_in_no_run(engine: Engine) -> None:
    """A run tells how many of its own withdrawals were re-issued, without those that somebody accepted after it."""
    diary = Diary(engine)
    here, there = target("hk-02"), target("sg-01")
    diary.run({here: {"a": "Ubuntu 20.04", "b": "Ubuntu 20.04"}, there: IMAGES})
    run_id = diary.run({here: {}, there: {"b": "Ubuntu 20.04", "c": "Anolis 8.6"}})
    (hold,) = all_holds(engine)
    with begin(engine) as conn:
        assert holds.accept(conn, [hold.id], who="ops", now=diary.tick()) == 2
    assert [(row.run, row.is_reissue) for row in withdrawals(engine)] == [(run_id, False), *[(run_id, True)] * 2]

    with read(engine) as conn:
        found = runs.run(conn, run_id)
    assert found is not None
    assert found.change_counts()["withdrawn"] == 1


def test_reject_keeps_the_images_and_judges_the_next_answer_afresh(engine: Engine, held: Settings) -> None:
    """A rejected hold writes nothing; the next answer that lacks the images is held anew, with its own date."""
    (first,) = all_holds(engine)
    with begin(engine) as conn:
        holds.reject(conn, [first.id], who="ops", now=NOON + 2 * HOUR)
    assert states(engine, held)["a"] == ("present", None)

    crawl_once(engine, held, NOON + 3 * HOUR)
    again = all_holds(engine)
    assert [hold.status for hold in again] == ["rejected", "open"]
    assert again[1].held_at >= NOON + 3 * HOUR
    assert withdrawals(engine) == []


@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_what_is_no_open_hold_is_refused_whole(engine: Engine, held: Settings, verb: str) -> None:
    """One wrong number among several changes nothing, and says what is wrong with it."""
    (hold,) = all_holds(engine)
    with begin(engine) as conn, pytest.raises(UsageError, match="there is no hold 77"):
        getattr(holds, verb)(conn, [hold.id, 77], who="ops", now=NOON + 2 * HOUR)
    assert all_holds(engine)[0].status == "open"


def test_the_commands_list_accept_and_log(engine: Engine, held: Settings) -> None:
    """`holds list`, `holds accept` and a second accept, as a person calls them."""
    runner = CliRunner()

    def call(*words: str) -> tuple[int, str]:
        result = runner.invoke(cli, ["--database", held.database, *words])
        return result.exit_code, result.output

    code, output = call("holds", "list", "--zone", "hk-02", "--wide")
    assert (code, "CentOS 7.6 a, Ubuntu 20.04 b" in output) == (0, True)
    code, output = call("holds", "accept", "1")
    assert (code, "2 withdrawals recorded" in output) == (0, True)
    code, output = call("holds", "accept", "1")
    assert (code, "hold 1 is accepted already" in output) == (2, True)
    assert "Nothing is on hold." in call("holds", "list")[1]
    assert '"status": "accepted"' in call("holds", "list", "--all", "-o", "json")[1]


def test_what_was_held_before_its_set_was_stated(engine: Engine) -> None:
    """
    An image of a machine whose ImageType is stated only later was on hold all the same: its past, which is under that
    set from then on, says so as before, when it came, and what ended the state before.
    """
    where, kind = target("hk-02")._replace(kind="uhost-image"), Filters(kind=("uhost-image",))
    diary = Diary(engine)

    def run(ids: str, **stated: str) -> None:
        records = [{"ImageId": one, "ImageName": f"Rocky {one}", **stated} for one in ids]
        records += [{"ImageId": "z", "ImageName": "Debian 12" if stated else "Debian", **stated}]
        diary.run({where: {"RetCode": 0, "TotalCount": len(records), "ImageSet": records}})

    def told(at: datetime) -> tuple[list[tuple[object, ...]], list[HistoryRow]]:
        with read(engine) as conn:
            listed = images.images(conn, at, kind, now=diary.now, stale_after=timedelta(hours=26))
            rows = sorted(listed, key=lambda row: row.image_id)
            known: list[tuple[object, ...]] = [(row.image_id, row.state, row.reason) for row in rows]
            past = history_lookup.history(conn, ["c", "z"], kind, now=diary.now, stale_after=timedelta(hours=26))
        return known, past

    run("ab")
    run("abc")
    run("")
    held_at = diary.now
    before, (_, arrived) = told(held_at)
    run("abc", ImageType="Base")
    after, (same, changed, ended) = told(held_at)

    assert before == [*((one, "unknown", "held") for one in "abc"), ("z", "present", None)]
    assert after == before
    assert (same.image_set, same.image_id) == ("Base", "c")
    assert (same.valid_from, same.not_before) == (arrived.valid_from, arrived.not_before)
    assert [gap.reason for gap in same.gaps] == [gap.reason for gap in arrived.gaps] == ["held"]
    assert same.gaps[0].unknown_to is not None
    assert (changed.image_set, changed.fields) == ("Base", {"image_name": ["Debian", "Debian 12"]})
    assert (ended.image_set, ended.ended_by, ended.valid_to) == ("unstated", "modified", changed.valid_from)

    prune(engine, None, before=diary.now, now=diary.now + HOUR)
    _, kept = told(diary.now)
    assert [(row.image_set, row.not_before, row.ended_by) for row in kept] == [
        (row.image_set, row.not_before, row.ended_by) for row in (same, changed, ended)
    ]
