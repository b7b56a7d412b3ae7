"""`history`, `diff`, `compare`, `where` and `explain` over the demo's history, with the ids that UCloud published."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from crawler.demo import play
from crawler.emulator import demo, run_in_thread
from tests.support.command import NOW, call, keys, rows
from tests.support.worlds import make_timeline

TARGET = ["account", "project", "region", "zone", "kind", "variant"]
SHAPES = {
    "history": [*TARGET, "image_set", "image_id", "image_name", "valid_from", "valid_to", "not_before", "reason"],
    "diff": [*TARGET, "image_set", "image_id", "image_name", "event", "fields"],
    "compare": ["image_set", "image_name", "result", "first", "second"],
    "where": [*TARGET, "image_name", "image_id", "state", "since", "previous_ids"],
}
#: The five runs of the demo began 24, 18, 12, 6 and 0 hours before NOW.
LATER = NOW + timedelta(minutes=5)
CHAIN = ["uimage-vareox", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5"]
Database = tuple[str, str]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Play the demo once."""
    path = tmp_path_factory.mktemp("played") / "demo.db"
    play(path, clock=lambda: NOW)
    return path


@pytest.fixture
def database(played: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Return the option that names the demo's history; no other configuration is near."""
    monkeypatch.chdir(played.parent)
    before = played.read_bytes()
    yield ("--database", str(played))
    assert played.read_bytes() == before, "a reader wrote"


def ask(*words: object, **options: Any) -> list[dict[str, Any]]:
    return rows(*words, now=LATER, **options)


@pytest.mark.parametrize(
    "words",
    [
        ("history", "Ubuntu 20.04"),
        ("history", "uimage-vareox"),
        ("diff", "23h", "now"),
        ("diff", "23h", "now", "--unknown"),
        ("compare", "hk-02", "sg-01"),
        ("where", "Ubuntu 20.04"),
        ("where", "*", "--at", "13h"),
    ],
    ids=" ".join,
)
def test_shapes(database: Database, words: tuple[str, ...]) -> None:
    """The rows have the promised fields, the same in json, jsonl and csv."""
    array = ask(*database, *words)
    lines = [json.loads(line) for line in call(*database, *words, "-o", "jsonl", now=LATER).stdout.splitlines()]
    table = list(csv.reader(io.StringIO(call(*database, *words, "-o", "csv", now=LATER).stdout)))

    assert array == lines
    assert set(SHAPES[words[0]]) <= array[0].keys()
    assert [list(row) for row in array] == [table[0]] * len(array)
    assert len(table) == len(array) + 1 > 1
    times = [
        value for row in array for name, value in row.items() if re.search("_at$|_from$|_to$|since$", name) and value
    ]
    assert all(time.endswith("Z") for time in times)


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_of_an_id(database: Database) -> None:
    """An id's interval: since before anyone looked, until its successor came."""
    (row,) = ask(*database, "history", "uimage-vareox")

    assert (row["zone"], row["baseline"], row["not_before"], row["reason"]) == ("hk-02", True, None, None)
    assert row["valid_from"].startswith("2026-11-22T11:00:00")
    assert row["valid_to"].startswith("2026-11-22T23:00:00")
    assert row["ended_not_before"].startswith("2026-11-22T17:00:00")
    assert (row["ended_by"], row["replaced_by"], row["gaps"]) == ("withdrawn", "uimage-rccvz4l9itr", [])
    said = call(*database, "history", "uimage-vareox", now=LATER)
    assert f"{' → '.join(CHAIN)}; `crawler history 'Ubuntu 20.04'` shows them all." in said.stderr


def test_history_of_a_name(database: Database) -> None:
    """A name has the intervals of all its ids, in the order in which they came, however the name is written."""
    found = ask(*database, "history", "ubuntu  20.04", "--zone", "hk-02")

    assert [row["image_id"] for row in found] == CHAIN
    assert [row["replaces"] for row in found] == [None, *CHAIN[:2]]
    assert [row["valid_to"] for row in found[:2]] == [row["valid_from"] for row in found[1:]]
    assert (found[-1]["valid_to"], found[-1]["state"]) == (None, "present")
    assert ask(*database, "history", "UBUNTU*", "--zone", "hk-02") == found


def test_history_with_gaps(database: Database) -> None:
    """What nobody observed is shown: an open end that is unknown, withdrawals that waited on a hold."""
    (unknown,) = ask(*database, "history", "Ubuntu 20.04", "--zone", "kr-seoul-01")
    (withdrawn,) = ask(*database, "history", "Ubuntu 20.04", "--zone", "th-bkk-01")

    assert (unknown["valid_to"], unknown["state"], unknown["reason"]) == (None, "unknown", "failed")
    ((began, ended, why),) = [tuple(gap.values()) for gap in unknown["gaps"]]
    assert began.startswith("2026-11-23T11:00:0")
    assert (ended, why) == (None, "failed")
    assert withdrawn["valid_to"].startswith("2026-11-22T17:00:00")
    table = call(*database, "history", "Ubuntu 20.04", "--zone", "kr-seoul-01", now=LATER).stdout.splitlines()
    assert re.match("ZONE +IMAGE ID +FROM +TO +STATE +WHAT$", table[0])
    assert "gap (failed)" in table[2]
    assert table[-1].endswith("times of 2026 in Asia/Shanghai")


# --- where -----------------------------------------------------------------------------------------------------------


def test_where(database: Database) -> None:
    """One name over all zones: the newest id, the ids before, present since when, withdrawn, unknown."""
    found = {row["zone"]: row for row in ask(*database, "where", "Ubuntu 20.04")}

    assert len(found) == 24
    assert (found["hk-02"]["image_id"], found["hk-02"]["previous_ids"]) == (CHAIN[2], CHAIN[:2])
    assert found["hk-02"]["since"].startswith("2026-11-22T11:00:00")
    assert found["hk-02"]["id_since"].startswith("2026-11-23T11:00:00")
    assert (found["th-bkk-01"]["state"], found["th-bkk-01"]["image_id"]) == ("withdrawn", "uimage-qdhhdc")
    assert found["th-bkk-01"]["since"].startswith("2026-11-22T17:00:00")
    assert (found["kr-seoul-01"]["state"], found["kr-seoul-01"]["reason"]) == ("unknown", "failed")
    assert {row["state"] for zone, row in found.items() if zone not in ("th-bkk-01", "kr-seoul-01")} == {"present"}
    said = call(*database, "where", "Ubuntu 20.04", now=LATER).stderr
    assert said == (
        "Ubuntu 20.04: present in 22 of 24 zones; unknown in 1: kr-seoul-01 (failed); withdrawn in 1: th-bkk-01.\n"
    )


def test_where_in_the_past(database: Database) -> None:
    """As of a past moment, with what was known then."""
    (then,) = ask(*database, "where", "Ubuntu 20.04", "--at", "20h", "--zone", "hk-02")
    (gone,) = ask(*database, "where", "Ubuntu 20.04", "--at", "13h", "--zone", "th-bkk-01")
    (never,) = ask(*database, "where", "Anolis 8.6", "--zone", "th-bkk-01")

    assert (then["image_id"], then["previous_ids"]) == (CHAIN[0], [])
    assert (gone["state"], gone["since"][:16]) == ("withdrawn", "2026-11-22T17:00")
    assert (never["state"], never["image_id"], never["since"]) == ("never", None, None)
    assert ask(*database, "where", "uimage-vareox", "--zone", "hk-02")[0]["image_id"] == CHAIN[2]


def test_where_rolls_out(tmp_path: Path) -> None:
    """A new name is seen to reach one region after the other; who still has the older id is told."""
    zones = {
        "hk-02": {"uimage-a": "Debian 12"},
        "sg-01": {"uimage-a": "Debian 12", "uimage-c": "CentOS 7.6"},
        "cn-bj2-02": {"uimage-a": "Debian 12"},
    }
    timeline = make_timeline(
        zones=zones,
        steps=[
            {"add": {"hk-02": [{"ImageId": "uimage-n", "ImageName": "Debian 13"}]}},
            {
                "add": {
                    "cn-bj2-02": [{"ImageId": "uimage-n", "ImageName": "Debian 13"}],
                    "sg-01": [{"ImageId": "uimage-b", "ImageName": "Debian 12"}],
                },
                "remove": {"sg-01": ["uimage-a"]},
            },
        ],
    )
    path = ("--database", tmp_path / "crawler.db")
    with run_in_thread(timeline) as server:
        for step in range(len(timeline.worlds)):
            server.step = step + 1
            now = NOW + step * timedelta(hours=27)
            call(*path, "-qq", "run", environ=keys(server.url), now=now)
    new = {row["zone"]: row for row in rows(*path, "where", "Debian 13", now=now)}
    said = call(*path, "where", "Debian 1*", now=now)

    assert {zone: (row["state"], row["lag_seconds"]) for zone, row in new.items()} == {
        "hk-02": ("present", 0),
        "cn-bj2-02": ("present", 27 * 3600),
        "sg-01": ("never", None),
    }
    old = {row["zone"]: row["newer_elsewhere"] for row in rows(*path, "where", "Debian 12", now=now)}
    assert old == {"hk-02": "uimage-b", "cn-bj2-02": "uimage-b", "sg-01": None}
    assert "+1d 3h" in said.stdout
    assert "First seen in hk at 2026-11-24 22:00:00, cn-bj2 +1d 3h.\n" in said.stderr
    assert "An older id is still there in cn-bj2-02, hk-02.\n" in said.stderr


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff(database: Database) -> None:
    """From the first run to the last: what appeared and went, the halves of a re-issue knowing each other."""
    found = {
        (row["zone"], row["event"], row["image_id"], row["counterpart"]) for row in ask(*database, "diff", "23h", "now")
    }

    assert found == {
        ("hk-02", "withdrawn", CHAIN[0], CHAIN[2]),
        ("hk-02", "appeared", CHAIN[2], CHAIN[0]),
        ("hk-02", "withdrawn", "uimage-yjoh5a", None),
        ("th-bkk-01", "withdrawn", "uimage-s2w523", None),
        ("th-bkk-01", "withdrawn", "uimage-qdhhdc", None),
    }
    turned = {"appeared": "withdrawn", "withdrawn": "appeared"}
    back = {
        (row["zone"], row["event"], row["image_id"], row["counterpart"]) for row in ask(*database, "diff", "now", "23h")
    }
    assert back == {(zone, turned[event], *rest) for zone, event, *rest in found}


def test_diff_table(database: Database) -> None:
    """In the table a re-issue is one line; what was not known is said, and shown on demand."""
    said = call(*database, "diff", "23h", "now", now=LATER)

    assert len(said.stdout.partition("Everywhere")[0].splitlines()) == 1 + 4
    assert f"re-issued  Ubuntu 20.04  {CHAIN[0]} → {CHAIN[2]}" in said.stdout
    assert said.stderr == "Not known at 2026-11-23 19:05:00, so not compared: kr-seoul-01 (failed).\n"
    unknown = [row for row in ask(*database, "diff", "23h", "now", "--unknown") if row["event"] == "unknown"]
    assert {(row["zone"], row["first"], row["second"], row["second_reason"]) for row in unknown} == {
        ("kr-seoul-01", "present", "unknown", "failed")
    }
    assert len(unknown) == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("23h", "now"), 1),
        (("now", "23h"), 1),
        (("2026-11-23T12:00Z", "2026-11-23T12:00Z"), 0),
        (("5h", "2h"), 0),
        (("23h", "17h", "--zone", "hk-02"), 0),
        (("23h", "17h", "--zone", "th-bkk-01"), 1),
        (("23h", "now", "--zone", "kr-seoul-01"), 8),
        (("23h", "now", "--name", "CentOS*", "--zone", "hk-02"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_diff_exit_code(database: Database, words: tuple[str, ...], code: int) -> None:
    """With --exit-code 1 says that they differ, 8 that nothing known does, but not all is known; without it is 0."""
    call(*database, "diff", *words, now=LATER)
    call(*database, "diff", *words, "--exit-code", now=LATER, code=code)


# --- compare ---------------------------------------------------------------------------------------------------------


def test_compare(database: Database) -> None:
    """Zones are compared by name; ids differ."""
    found = {row["image_name"]: row for row in ask(*database, "compare", "hk-02", "sg-01")}

    assert {name: row["result"] for name, row in found.items()} == {
        "Anolis 8.6": "only_second",
        "CentOS 7.6": "same",
        "Ubuntu 20.04": "same",
    }
    assert found["Ubuntu 20.04"]["first"]["image_id"] == CHAIN[2]
    assert found["Ubuntu 20.04"]["second"]["image_id"] == "uimage-r52fqi"
    assert found["Anolis 8.6"]["first"] is None
    before = {row["image_name"]: row["result"] for row in ask(*database, "compare", "hk-02", "sg-01", "--at", "20h")}
    assert before["Anolis 8.6"] == "same"
    assert {row["result"] for row in ask(*database, "compare", "sg-01", "sg-01")} == {"same"}
    said = call(*database, "compare", "hk-02", "sg-01", now=LATER)
    assert re.match(r"NAME +RESULT +hk-02 +sg-01\n", said.stdout)
    assert said.stderr == "2 same, 1 only in sg-01.\n"


def test_compare_unknown(database: Database) -> None:
    """A zone that nobody could observe lacks nothing."""
    found = ask(*database, "compare", "hk-02", "kr-seoul-01")

    assert {(row["result"], row["reason"]) for row in found} == {("unknown", "failed")}


# --- explain ---------------------------------------------------------------------------------------------------------


def number_of(database: Database, image_id: str, event: str = "withdrawn") -> int:
    (change,) = [row for row in ask(*database, "changes") if (row["image_id"], row["event"]) == (image_id, event)]
    number: int = change["id"]
    return number


def test_explain(database: Database) -> None:
    """The two answers, the records in which they differ, the runs and the request ids."""
    number = number_of(database, CHAIN[0])
    document = json.loads(call(*database, "explain", number, "-o", "json").stdout)
    text = call(*database, "explain", number).stdout
    table = list(csv.DictReader(io.StringIO(call(*database, "explain", number, "-o", "csv").stdout)))

    assert (document["change"]["image_id"], document["change"]["counterpart"]) == (CHAIN[0], CHAIN[1])
    assert [record["image_id"] for record in document["records"]] == CHAIN[:2]
    assert [document["runs"][name]["run"] for name in ("seen", "observed", "written")] == [2, 3, 3]
    for side, image_id in (("before", CHAIN[0]), ("after", CHAIN[1])):
        listed = {record["ImageId"] for record in document[side]["document"]["ImageSet"]}
        assert listed & set(CHAIN) == {image_id}
        assert document[side]["request_uuid"] in text
    assert {(row["image_id"], row["field"], row["before"], row["after"]) for row in table} >= {
        (CHAIN[0], "ImageName", "Ubuntu 20.04", ""),
        (CHAIN[1], "ImageName", "", "Ubuntu 20.04"),
    }
    assert f"change    {number}, withdrawn {CHAIN[0]} (Ubuntu 20.04, ImageSet)" in text
    assert f"re-issue  as {CHAIN[1]}" in text
    assert re.search(rf"ImageSet {CHAIN[0]} +ImageId +{CHAIN[0]} +→ +not listed", text)


def test_explain_a_hold(database: Database) -> None:
    """A withdrawal that was confirmed later shows the answer that was not believed, and when it was."""
    number = number_of(database, "uimage-qdhhdc")
    document = json.loads(call(*database, "explain", number, "-o", "json").stdout)

    assert [document["runs"][name]["run"] for name in ("seen", "observed", "written")] == [1, 2, 4]
    assert document["after"]["document"]["ImageSet"] == []
    assert "written   run 4" in call(*database, "explain", number).stdout


# --- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("history", "uimage-varoex"), 2, "no image id or name 'uimage-varoex'; the nearest: uimage-vareox"),
        (("history", "uimage-nope"), 2, "no image id or name 'uimage-nope'; `crawler images` lists what it knows"),
        (("history", "Ubunto 20.04"), 2, "no image id or name 'Ubunto 20.04'; the nearest: Ubuntu 20.04"),
        (("history", "Win*"), 2, "no image id or name 'Win*'; `crawler images` lists what it knows"),
        (("history", "uimage-vareox", "--zone", "hk-20"), 2, "no zone 'hk-20'; the nearest: hk-02"),
        (("where", "anolis"), 2, "no image name 'anolis'; the nearest: Anolis 8.6"),
        (
            ("where", "Ubuntu 20.04", "--at", "2026-11-01"),
            8,
            "Nobody had looked by 2026-11-01 00:00:00 (Asia/Shanghai)",
        ),
        (("where", "Ubuntu 20.04", "--at", "2026-02-30"), 2, "'2026-02-30' is no time"),
        (("diff", "2026-11-01", "now"), 8, "the first run ended at 2026-11-22 19:00:0"),
        (("diff", "now", "2020-01-01"), 8, "Nobody had looked by 2020-01-01 00:00:00"),
        (("diff", "now", "9999-12-31"), 2, "'9999-12-31' is too far away to be a time"),
        (("diff", "whenever", "now"), 2, "'whenever' is no time: use 2026-06-01"),
        (("diff", "now"), 2, "Missing argument 'T2'"),
        (("compare", "hk-02", "hk-20"), 2, "no zone 'hk-20'; the nearest: hk-02"),
        (("compare", "hk-02", "sg-01", "--at", "3d"), 8, "Nobody had looked by"),
        (("explain", "99"), 2, "There is no change 99: they go from 1 to 7"),
        (("explain", "0"), 2, "0 is not in the range 1<=x<="),
        (("explain", str(2**63)), 2, "9223372036854775808 is not in the range"),
        (("runs", "show", str(2**63)), 2, "9223372036854775808 is not in the range"),
        (("runs", "--limit", str(2**63)), 2, "9223372036854775808 is not in the range"),
        (("holds", "accept", str(2**63)), 2, "9223372036854775808 is not in the range"),
        (("holds", "reject", "1", "0"), 2, "0 is not in the range"),
        (("history", "\udcff"), 2, "no image id or name '\\udcff'"),
        (("where", "\udcff*"), 2, "no image name '\\udcff*'"),
        (("explain", "a/b/c/d/e/\udcff"), 2, "No answer of a target a/b/c/d/e/\\udcff was kept"),
        (("explain", "a/\udcff/c/d/e/f"), 2, "No answer of a target a/\\udcff/c/d/e/f was kept"),
        (("report", "list", "\udcff"), 2, "There is no report '\\udcff'; the history has none."),
        (("report", "skip", "\udcff"), 2, "there is no report '\\udcff' in the history"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_words(database: Database, words: tuple[str, ...], code: int, sentence: str) -> None:
    """What the history cannot answer gets one sentence that says what to do, and its exit code."""
    said = call(*database, *words, now=LATER, code=code)

    assert sentence in said.stderr
    assert said.stdout == ""


def test_empty_answers(database: Database) -> None:
    """An empty answer says why."""
    said = call(*database, "history", "uimage-vareox", "--zone", "sg-01", now=LATER)

    assert said.stdout == ""
    assert "No intervals of uimage-vareox fit --zone sg-01" in said.stderr
    same = call(*database, "diff", "2026-11-23T12:00Z", "2026-11-23T12:00Z", now=LATER)
    assert same.stderr.startswith("No difference between 2026-11-23 20:00:00 and 2026-11-23 20:00:00 (Asia/Shanghai)")


@pytest.mark.parametrize("words", [("history", "x"), ("where", "x"), ("diff", "1h", "now"), ("compare", "a", "b")])
def test_nothing_recorded(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Before the first run nothing is known, which is not an unknown word."""
    path = tmp_path / "crawler.db"
    with run_in_thread(demo()) as server:
        dead = {**keys(server.url), "UCLOUD_PRIVATE_KEY": "wrong"}
        call("--database", path, "-qq", "run", environ=dead, code=None)
    said = call("--database", path, *words, code=8)

    assert "Nothing is recorded yet: `crawler run`" in said.stderr


@pytest.mark.parametrize("late", [timedelta(seconds=30), timedelta(hours=20)])
def test_a_reader_whose_clock_is_behind(database: Database, late: timedelta) -> None:
    """
    What was recorded has happened, whatever a reader's clock says: nobody hears that what is there was withdrawn.

    A clock that is far behind is told, and where a script goes by the answer there is none.
    """

    def said(*words: object, at: timedelta = timedelta(minutes=-1), **options: Any) -> Result:
        return call(*database, *words, now=NOW - at, **options)

    for words in (
        ("images", "--zone", "hk-02"), ("where", "Ubuntu 20.04"), ("status",), ("inventory", "--kind", "uk8s-image"),
        ("history", "uimage-vareox"), ("compare", "hk-02", "sg-01"),
        ("images", "--at", "now"), ("inventory", "--at", "now"), ("where", "Ubuntu 20.04", "--at", "NOW"),
        ("compare", "hk-02", "sg-01", "--at", "now"), ("changes", "--until", "now"),
        ("diff", "2026-11-23T16:00", "now"), ("diff", "now", "2026-11-23T16:00"),
    ):  # fmt: skip
        assert said(*words, at=late).stdout == said(*words).stdout
    is_far = late > timedelta(minutes=5)
    pinned = {"stdin": "hk-02 uimage-x7zezb1gcv5\n", "code": 8 if is_far else 0}
    between = said("diff", "1h", "now", at=late)
    for result in (said("check", "-", at=late, **pinned), said("images", at=late), between):
        assert ("set the clock right" in result.stderr) == is_far
