"""What may confirm an absence: answers that are none to the question, or not understood, through the whole run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Engine, func, select, update

from crawler.client.api import hash_of
from crawler.crawl.run import RunResult
from crawler.db.engine import begin, read
from crawler.db.pruning import prune
from crawler.db.schema import OutcomeSpan, Setting, TargetRow
from crawler.domain.objections import TOLERATED, Tolerable
from crawler.domain.rows import HoldRow
from crawler.emulator import EmulatorServer, run_in_thread
from crawler.queries import changes, holds
from crawler.queries import status as queries_status
from crawler.web.answers import answer_schemas
from tests.support.answers import NOON
from tests.support.command import call
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline, region_of, zone_number

ZONES = ("hk-01", "hk-02", "sg-01")
HERE = "hk-02"
NAMES = {"a": "Ubuntu 20.04", "b": "CentOS 7.6", "c": "Anolis 8.6", "d": "Debian 12"}
HOUR = timedelta(hours=1)
Record = dict[str, Any]
Document = dict[str, Any]


def record(letter: str, zone: str = HERE, **more: Any) -> Record:
    return {"ImageId": f"{zone}-{letter}", "ImageName": NAMES.get(letter, letter), "ZoneId": zone_number(zone), **more}


def without_id(letter: str) -> Record:
    return {"UImageId": f"{HERE}-{letter}", "ImageName": NAMES.get(letter, letter)}


def listing(*records: Any, **more: Any) -> Document:
    """Return an answer of the usual shape; *more* adds members, or takes one away with None for `Action`."""
    document = {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": list(records), **more}
    return {name: value for name, value in document.items() if not (name == "Action" and value is None)}


def images(letters: str = "abcd", zone: str = HERE) -> list[Record]:
    return [record(letter, zone) for letter in letters]


@dataclass
class World:
    """A cloud of three zones, of which one says what it is told to say, and the history of its runs."""

    cloud: EmulatorServer
    engine: Engine
    database: str
    at: datetime = NOON
    options: dict[str, Any] = field(default_factory=dict)
    #: The ids of its projects; None: one.
    projects: tuple[str, ...] | None = None

    def run(
        self,
        document: Document | None = None,
        *,
        regions: Document | None = None,
        projects: Document | None = None,
        **fault: Any,
    ) -> RunResult:
        """Let an hour pass and crawl; hk-02 answers *document* (None: the truth), others *regions*, *projects*."""
        said = [
            ("DescribeUK8SImage", {"zone": HERE, **fault}, document),
            ("GetRegion", {}, regions),
            ("GetProjectList", {}, projects),
        ]
        self.cloud.play(
            make_timeline(
                zones={zone: {f"{zone}-{letter}": name for letter, name in NAMES.items()} for zone in ZONES},
                projects=self.projects,
                faults=[{"action": action, **where, "body": json.dumps(body)} for action, where, body in said if body],
            )
        )
        self.at += HOUR
        settings = settings_for(self.database, account_at(self.cloud.url, **self.options))
        return crawl_once(self.engine, settings, self.at)

    def outcome(self, document: Document | None = None, **more: Any) -> str:
        """Crawl, and give the outcome of hk-02 with the letters of what was withdrawn there."""
        before = len(self.withdrawn)
        self.run(document, **more)
        gone = "".join(sorted(self.withdrawn[before:]))
        return f"{self.status.outcome} {gone}".strip()

    @property
    def status(self) -> Any:
        with read(self.engine) as conn:
            return next(row for row in queries_status.status(conn, now=self.at) if row.target.zone == HERE)

    @property
    def withdrawn(self) -> list[str]:
        with read(self.engine) as conn:
            rows = list(changes.changes(conn, events=["withdrawn"]))
        ids = [row.image_id or "" for row in rows if row.target.zone == HERE]
        return [image_id.removeprefix(f"{HERE}-") for image_id in ids]

    @property
    def holds(self) -> list[HoldRow]:
        with read(self.engine) as conn:
            return holds.holds(conn, include_resolved=True)

    def questions(self) -> int:
        """Count how often hk-02 was asked so far."""
        return sum(line.zone == HERE and line.action == "DescribeUK8SImage" for line in self.cloud.log)


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[World]:
    with run_in_thread(make_timeline(zones=ZONES)) as cloud:
        yield World(cloud, engine, database_url)


#: Answers that are none to the question, or not understood, each with what the status says.
DOUBTED: Mapping[str, tuple[Document, str]] = {
    "renamed id": (listing(*map(without_id, "abcd")), "none of its 4 records could be read"),
    "wrapped set": (listing() | {"ImageSet": {"Items": images()}}, "none of its 4 records"),
    "objects by id": (listing() | {"ImageSet": {row["ImageId"]: row for row in images()}}, "none of its 4 records"),
    "set as a text": (listing() | {"ImageSet": json.dumps(images())}, "none of its 4 records"),
    "set renamed": ({"RetCode": 0, "Images": images()}, "objects under Images"),
    "deep in another member": ({"RetCode": 0, "Data": {"Page": {"Rows": images()}}}, "objects under Data"),
    "list of projects": (
        {"RetCode": 0, "Action": "GetProjectListResponse", "ProjectCount": 1, "ProjectSet": [{"ProjectId": "x"}]},
        "its Action is GetProjectListResponse, not DescribeUK8SImageResponse",
    ),
    "list of projects without Action": ({"RetCode": 0, "ProjectSet": [{"ProjectId": "x"}]}, "objects under ProjectSet"),
    "empty, of another action": (listing(Action="GetRegion"), "its Action is GetRegion,"),
    "same list, of another action": (listing(*images(), Action="DescribeImageResponse"), "its Action is DescribeImage"),
    "an object as Action": (listing(*images("a"), Action={"Name": "GetRegion"}), "its Action is {'Name': 'GetRegion'}"),
    "another zone's records": (listing(*images(zone="hk-01")), "each of its 4 records states the ZoneId of another"),
    "another zone named": (listing(*images("a"), Zone="HK-01"), "about another Zone: HK-01, not hk-02"),
    "another region named": (listing(*images("a"), region="sg"), "about another Region: sg, not hk"),
    "another project named": (listing(*images("a"), ProjectId="org-b/x"), "about another ProjectId: org-b/x, not org-"),
    "another zone in a list": (listing(*images("a"), Zone=["hk-01"]), "about another Zone: hk-01, not hk-02"),
    "a text in another member": ({"RetCode": 0, "Data": json.dumps({"ImageSet": images()})}, "objects under Data"),
    "records as texts": ({"RetCode": 0, "Data": [json.dumps(row) for row in images()]}, "objects under Data"),
    "page of a longer list": (listing(*images("abc"), TotalCount=4), "it lists 3 of 4 records"),
    "page by a count of an odd type": (listing(*images("abc"), TotalCount="4.0"), "it lists 3 of 4 records"),
    "page by a count beyond 64 bits": (listing(*images("abc"), TotalCount="9" * 40), "it lists 3 of 922337203685477"),
    "page by the set's count": (listing(*images("abc"), ImageSetCount="4"), "it lists 3 of 4 records"),
    "where the rest begins": (listing(*images("abc"), NextToken="eyJ"), "it says with NextToken that there is more"),
    "more in another member": (listing(*images("abc"), Page={"HasMore": True}), "it says with HasMore that there is"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTED)
def test_an_answer_that_is_not_believed_changes_nothing(world: World, case: str) -> None:
    """However often it comes, its target fails and nothing is opened or closed; then all goes on as before."""
    document, sentence = DOUBTED[case]
    world.run()
    world.run()
    before = world.questions()
    results = [world.run(document) for _ in range(4)]

    assert [result.exit_code for result in results] == [3] * 4
    assert [dict(result.summary.targets) for result in results] == [
        {"total": 3, "ok": 2, "held": 0, "denied": 0, "failed": 1, "skipped": 0}
    ] * 4
    assert {count for result in results for count in result.summary.changes.values()} == {0}
    assert world.questions() - before == 8, "asked again once"
    (failure,) = results[-1].summary.failures
    assert (failure.failure_class, failure.ret_code) == ("defect", None)
    assert sentence in failure.message
    assert world.outcome() == "ok"
    assert (world.withdrawn, world.holds) == ([], [])


@pytest.mark.parametrize("case", [case for case in DOUBTED if case not in ("another zone's records",)])
def test_a_first_answer_that_is_not_believed_is_no_baseline(world: World, case: str) -> None:
    """A target whose first answer is not believed has no baseline yet, but for a count, which is told."""
    document, _ = DOUBTED[case]
    first = world.run(document)
    if case.startswith("page"):
        assert first.summary.baseline["targets"] == 3
        assert any("records are listed" in notice for notice in first.summary.notices)
    else:
        assert first.summary.baseline["targets"] == 2
        assert world.run().summary.baseline == {"targets": 1, "images": 4}


def test_the_answer_is_kept_and_shown(world: World) -> None:
    """`explain TARGET` shows the last answer that was not believed, and why; it outlives the history before it."""
    world.run()
    document, sentence = DOUBTED["list of projects"]
    world.run(document)
    world.run(document)
    last, other = DOUBTED["empty, of another action"]
    name = f"prod/org-example/hk/{HERE}/uk8s-image/default"

    def explained(*words: str, code: int = 0) -> str:
        return call("--database", world.database, "explain", name, *words, code=code).output

    found = json.loads(explained("-o", "json"))
    jsonschema.validate(found, answer_schemas()["explain TARGET"])
    assert (found["zone"], found["answer"]["document"]) == (HERE, document)
    assert sentence in found["message"]
    assert '"ProjectId": "x"' in explained()
    for also in (f"prod/ORG-Example/HK/{HERE.upper()}/uk8s-image/default", name.replace("org-example", "Default")):
        assert call("--database", world.database, "explain", also).output == explained(), "places in any case"
    for none in (f"PROD{name[4:]}", name.replace("/hk/", "/*/"), f"{name}/x", name[:-1]):
        call("--database", world.database, "explain", none, code=2)
    with read(world.engine) as conn:
        assert conn.execute(select(func.count(OutcomeSpan.payload_id))).scalar_one() == 1, "kept once"
    world.run(last)
    assert other in json.loads(explained("-o", "jsonl"))["message"]
    prune(world.engine, None, before=world.at + HOUR / 2, now=world.at + HOUR)
    assert json.loads(explained("-o", "json"))["answer"]["document"] == last
    name = "prod/org-example/hk/hk-01/uk8s-image/default"
    assert "No answer of a target prod/org-example/hk/hk-01" in explained(code=2)


def test_a_single_odd_answer_is_asked_again(world: World) -> None:
    """Where the second answer is a good one the target is `ok`, and nothing tells of the first."""
    world.run()
    document, _ = DOUBTED["page of a longer list"]
    result = world.run(document, attempts=[1])
    assert (world.status.outcome, result.exit_code, result.summary.failures) == ("ok", 0, ())
    assert result.summary.notices == ()


EVERYDAY: Mapping[str, Callable[[str], Document]] = {
    "a record unreadable all along": lambda now: listing(*images(now), without_id("x")),
    "a constant excess": lambda now: listing(*images(now), TotalCount=len(now) + 3),
    "empty members": lambda now: listing(*images(now), Meta={}, Data=[], Rows=None),
    "null sets": lambda now: listing(*images(now), PHostImageSet=None, CustomImageSet="", CustomPHostImageSet={}),
    "null records": lambda now: listing(None, *images(now), {}),
    "lower-case keys": lambda now: {
        "retcode": 0,
        "action": "describeuk8simageresponse",
        "imageset": [{name.lower(): value for name, value in row.items()} for row in images(now)],
    },
    "no Action": lambda now: listing(*images(now), Action=None),
    "an empty Action": lambda now: listing(*images(now), Action=""),
    "the asked Action": lambda now: listing(*images(now), Action="DescribeUK8SImage"),
    "no ZoneId": lambda now: listing(*({**row, "ZoneId": None} for row in images(now))),
    "custom sets as ids": lambda now: listing(*images(now), CustomImageSet=["hk-02-x", "hk-02-y"]),
    "blanks around ids": lambda now: listing(*({**row, "ImageId": f" {row['ImageId']}\n"} for row in images(now))),
    "one custom record": lambda now: listing(*images(now), CustomImageSet="hk-02-x", PHostImageSet=record("z")),
    "echoes": lambda now: listing(*images(now), Region="HK", Zone="Hk-02", ProjectId="org-example/sub"),
    "empty echoes": lambda now: listing(*images(now), Region="", Zone=None, ProjectId=""),
    "objects elsewhere": lambda now: listing(*images(now), Prices=[{"Price": 1}]),
    "a smaller count": lambda now: listing(*images(now), TotalCount=1),
}  # fmt: skip


@pytest.mark.parametrize("case", EVERYDAY)
def test_what_was_always_odd_goes_on(world: World, case: str) -> None:
    """Oddities that a brand always shows keep no target from `ok`, and a real withdrawal comes at once."""
    answers = [EVERYDAY[case](now) for now in ("abcd", "abcd", "abcd", "bcd", "bcd")]
    assert [world.outcome(document) for document in answers] == ["ok", "ok", "ok", "ok a", "ok"]


@pytest.mark.parametrize("odd", [listing(), listing(TotalCount=0), listing(*images("a"), TotalCount=1)])
def test_a_held_answer_is_no_measure(world: World, odd: Document) -> None:
    """What is usual of a target is not forgotten over an answer that lacks too much, nor over one without a count."""
    usual = {now: listing(*images(now), without_id("x"), TotalCount=9) for now in ("abcd", "bcd")}
    usual["bcd"]["TotalCount"] = 8
    said = [usual["abcd"], odd, odd, usual["abcd"], listing(*images(), without_id("x")), usual["abcd"], usual["bcd"]]
    assert [world.outcome(document) for document in said] == ["ok", "held", "held", "ok", "ok", "ok", "ok a"]


def test_a_neighbours_list_by_ids_alone_is_held(world: World) -> None:
    """Namesakes of all images, under ids that were never seen here and without a ZoneId, replace nothing at once."""
    world.run()
    theirs = listing(*({**row, "ZoneId": None} for row in images(zone="hk-01")))
    assert [world.outcome(theirs) for _ in range(2)] == ["held", "held"]
    assert world.outcome() == "ok hk-01-ahk-01-bhk-01-chk-01-d"
    assert [hold.status for hold in world.holds] == ["dissolved"]


@pytest.mark.parametrize("gone", [{}, {"CustomImageSet": None}, {"CustomImageSet": []}])
def test_a_set_that_vanishes_is_held_then_believed(world: World, gone: Document) -> None:
    """A set of two among many images waits for two confirmations, and is withdrawn with the date of the first."""
    many = images("abcdefgh")
    ours = {"CustomImageSet": ["hk-02-x", "hk-02-y"]}
    assert world.outcome(listing(*many, **ours)) == "ok"
    assert [world.outcome(listing(*many, **gone)) for _ in range(4)] == ["held", "held", "ok xy", "ok"]


def test_an_unreadable_record_keeps_its_image(world: World) -> None:
    """An image that lost its id waits for ever, while another that goes beside it is withdrawn as usual."""
    world.run()
    said = [listing(*images("abc"), without_id("d")), listing(*images("bc"), without_id("d"))]
    assert [world.outcome(said[0]) for _ in range(5)] == ["held"] * 5
    assert "1 of 4 images is not listed any more" in world.status.message
    assert "no more unreadable records than before" in world.status.message
    assert [world.outcome(said[1]) for _ in range(5)] == ["held a", *["held"] * 4]
    assert world.outcome(listing(*images("bcd"))) == "ok"
    assert [(hold.status, hold.waits_for) for hold in world.holds] == [("dissolved", "readable")]
    assert world.withdrawn == ["a"]


def unread(letters: str, count: int) -> Document:
    """Return an answer that lists these images, and as many records without an id."""
    return listing(*images(letters), *(without_id(f"x{number}") for number in range(count)))


@pytest.mark.parametrize(
    ("said", "outcomes"),
    [
        # readable again: doubted as a whole, and from then on as readable as before
        ([("ab", 6), ("ab", 0), ("a", 1), ("a", 1), ("a", 1)], ["held"] * 5),
        ([("a", 7), ("a", 0), ("", 1), ("", 1), ("", 1)], ["held", "held", *["failed"] * 3]),
        # the same where the doubt was there before
        ([("a", 0), ("a", 7), ("a", 0), ("", 1), ("", 1)], ["held", "held", "held", "failed", "failed"]),
    ],
)
def test_the_measure_while_an_answer_is_doubted(world: World, said: list[tuple[str, int]], outcomes: list[str]) -> None:
    """It is what the good answer before the hold left unread, not an unreadable one since."""
    world.run(unread("abcdefgh", 0))
    assert [world.outcome(unread(*answer)) for answer in said] == outcomes
    assert world.withdrawn == []


def test_the_measure_after_an_answer_that_proved_wrong(world: World) -> None:
    """It is what the good answer before that left unread: an empty answer makes no usual oddity unusual for ever."""
    world.run(unread("abcdefgh", 0))
    said = [("abcdefg", 1), ("", 0), ("", 0), ("abcdef", 1), ("abcde", 1)]
    assert [world.outcome(unread(*answer)) for answer in said] == ["held", "held", "held", "held g", "held f"]
    assert world.withdrawn == ["g", "f"]


@pytest.mark.parametrize(
    "wrapped",
    [
        {"Items": images()},
        {row["ImageId"]: row for row in images()},
        json.dumps(images()),
        json.dumps({"Items": images()}),
        [images()],
        [images("ab"), images("cd")],
    ],
)
def test_a_wrapped_set_beside_a_usual_oddity(world: World, wrapped: Any) -> None:
    """A target of which one record was never readable does not take a whole wrapped set for that record."""
    assert [world.outcome(unread("abcd", 1)) for _ in range(2)] == ["ok", "ok"]
    assert [world.outcome(listing() | {"ImageSet": wrapped}) for _ in range(4)] == ["failed"] * 4
    assert world.outcome(unread("bcd", 1)) == "ok a"


def test_a_set_of_which_one_image_waits(world: World) -> None:
    """A set that held two images empties when the second goes too, though the first waits already."""
    world.run(listing(*images("abcdefgh"), CustomImageSet=["hk-02-x", "hk-02-y"]))
    odd = without_id("y")
    assert world.outcome(listing(*images("abcdefgh"), CustomImageSet=["hk-02-x", odd])) == "held"
    emptied = listing(*images("abcdefgh"), CustomImageSet=[odd])
    assert [world.outcome(emptied) for _ in range(4)] == ["held", "held", "held x", "held"]


def test_what_a_hold_waits_for_is_listed(world: World) -> None:
    """`holds list` says whether a hold waits for confirmations or for readable records, and JSON too."""
    world.run()
    world.run(listing(*images("abc"), without_id("d")))
    table = call("--database", world.database, "holds", "list", now=world.at).stdout
    (hold,) = json.loads(call("--database", world.database, "holds", "list", "-o", "json", now=world.at).stdout)
    assert "WAITS FOR" in table
    assert " readable " in table
    assert (hold["waits_for"], hold["confirmations"]) == ("readable", 0)


def test_readable_again_without_the_image(world: World) -> None:
    """When the records can be read as before and the image is still missing, it was withdrawn at the first such one."""
    world.run(listing(*images(), without_id("x")))
    world.run(listing(*images("abc"), without_id("x"), without_id("d")))
    held_at = world.at
    world.run(listing(*images("abc"), without_id("x"), without_id("d")))
    assert world.outcome(listing(*images("abc"), without_id("x"))) == "ok d"
    with read(world.engine) as conn:
        (change,) = changes.changes(conn, events=["withdrawn"])
    assert held_at <= change.observed_at < held_at + HOUR
    assert change.not_before is not None
    assert held_at - HOUR <= change.not_before < held_at


def test_one_of_two_images_returns(world: World) -> None:
    """The image that can be read again is there; the other, which cannot, goes on waiting, and may be accepted."""
    world.run()
    world.run(listing(*images("ab"), without_id("c"), without_id("d")))
    assert world.outcome(listing(*images("abc"), without_id("d"))) == "held"
    waiting, back = world.holds
    assert (waiting.status, [image[1] for image in waiting.images]) == ("open", ["hk-02-d"])
    assert (back.status, [image[1] for image in back.images]) == ("dissolved", ["hk-02-c"])
    with begin(world.engine) as conn:
        assert holds.accept(conn, [waiting.id], who="ops", now=world.at + HOUR / 2) == 1
    assert world.withdrawn == ["d"]
    assert world.outcome(listing(*images("abc"), without_id("d"))) == "ok"


def test_a_rejected_wait_begins_again(world: World) -> None:
    """Somebody who says that the image is there does not have it withdrawn by the next answer that is as unreadable."""
    world.run()
    garbled = listing(*images("abc"), without_id("d"))
    assert world.outcome(garbled) == "held"
    with begin(world.engine) as conn:
        holds.reject(conn, [hold.id for hold in world.holds], who="ops", now=world.at + HOUR / 2)
    assert [world.outcome(garbled) for _ in range(3)] == ["held"] * 3
    assert [hold.status for hold in world.holds] == ["rejected", "open"]


def test_much_that_could_not_be_read_meets_the_guard(world: World) -> None:
    """Most images, unreadable and then missing from a readable answer, wait for confirmations like any such loss."""
    world.run()
    assert world.outcome(listing(*images("a"), *map(without_id, "bcd"))) == "held"
    assert [world.outcome(listing(*images("a"))) for _ in range(4)] == ["held", "held", "ok bcd", "ok"]


def test_unreadable_answers_confirm_no_hold(world: World) -> None:
    """A loss that waits for confirmations gets none from answers that cannot be read."""
    world.run()
    assert world.outcome(listing(*images("a"))) == "held"
    garbled = listing(*images("a"), *map(without_id, "bcd"))
    assert [world.outcome(garbled) for _ in range(4)] == ["held"] * 4
    assert world.outcome() == "ok"
    assert world.withdrawn == []


TOLERABLE: Mapping[Tolerable, str] = {
    "action": "same list, of another action",
    "echo": "another zone named",
    "foreign": "another zone's records",
    "count": "page of a longer list",
}


@pytest.mark.parametrize("check", TOLERABLE)
def test_a_check_that_is_switched_off(world: World, check: Tolerable) -> None:
    """`tolerate` lets exactly its own check pass, and each run says so."""
    world.options["tolerate"] = (check,)
    told = world.run().summary.notices
    assert any(notice.startswith("prod: tolerate is set") and TOLERATED[check] in notice for notice in told)
    for name, case in TOLERABLE.items():
        outcome = world.outcome(DOUBTED[case][0])
        assert outcome.startswith("failed") == (name != check), name
        world.run()


def test_a_check_that_is_switched_on_again(world: World) -> None:
    """An answer that was tolerated is judged again, though it equals the last, once `tolerate` is taken away."""
    document = listing(*images(), Action="DescribeImageResponse")
    world.options["tolerate"] = ("action",)
    assert [world.outcome(document) for _ in range(2)] == ["ok", "ok"]
    world.options["tolerate"] = ()
    assert [world.outcome(document) for _ in range(2)] == ["failed", "failed"]
    world.options["tolerate"] = ("action",)
    assert [world.outcome(document) for _ in range(2)] == ["ok", "ok"]
    assert world.withdrawn == []


def test_an_answer_that_another_version_believed(world: World) -> None:
    """A new version of the program judges an answer again that equals the last: the one before read it otherwise."""
    document, sentence = DOUBTED["set renamed"]
    world.run()
    with begin(world.engine, None) as conn:
        conn.execute(update(TargetRow).values(body_hash=hash_of(json.dumps(document).encode())))
    assert world.outcome(document) == "ok", "the version that believed it goes on"
    with begin(world.engine, None) as conn:
        conn.execute(update(Setting).where(Setting.name.startswith("judged_")).values(value='{"version": "0.0.9"}'))
    assert [world.outcome(document) for _ in range(2)] == ["failed", "failed"]
    assert sentence in world.status.message
    assert (world.outcome(), world.withdrawn) == ("ok", [])


def test_a_foreign_list_of_regions_is_no_discovery(world: World) -> None:
    """An answer to GetRegion that calls itself by another action is asked again, and the last catalog stands in."""
    world.run()
    regions = {"RetCode": 0, "Action": "GetProjectListResponse", "Regions": [{"Region": "xx", "Zone": "xx-01"}]}
    before = len(world.cloud.log)
    result = world.run(regions=regions)
    assert [line.action for line in world.cloud.log[before:]].count("GetRegion") == 2
    assert result.summary.targets["ok"] == 3
    assert any("GetRegion: the answer is one to another question" in notice for notice in result.summary.notices)
    assert any("asking what the last good catalog lists" in notice for notice in result.summary.notices)
    world.options["tolerate"] = ("action",)
    assert world.run(regions=regions).summary.targets["total"] == 4


def row(zone: str) -> Document:
    return {"Region": region_of(zone), "Zone": zone, "RegionId": zone_number(zone)}


INCOMPLETE: Mapping[str, tuple[list[Any], Document]] = {
    "a zone that is null": ([*map(row, ("hk-01", "sg-01")), {**row(HERE), "Zone": None}], {}),
    "a number for a region": ([row("hk-01"), {**row(HERE), "Region": 7}, {**row("sg-01"), "Region": 8}], {}),
    "a row that is no object": ([*map(row, ("hk-01", "sg-01")), HERE], {}),
    "a count of more": ([*map(row, ("hk-01", "sg-01"))], {"TotalCount": 3}),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_an_incomplete_list_of_regions_retires_nothing(world: World, case: str) -> None:
    """However often it comes, what it lacks is asked on and is no change; a whole list without it counts as ever."""
    rows, counts = INCOMPLETE[case]
    world.run()
    results = [world.run(regions={"RetCode": 0, "Regions": rows, **counts}) for _ in range(10)]

    assert [result.summary.targets["ok"] for result in results] == [3] * 10
    assert {count for result in results for count in result.summary.changes.values()} == {0}
    told = [sum("so the list is incomplete" in notice for notice in result.summary.notices) for result in results]
    assert told == [1] * 10
    whole = {"RetCode": 0, "Regions": [*map(row, ("hk-01", "sg-01"))]}
    assert [world.run(regions=whole).summary.changes["target_retired"] for _ in range(3)] == [0, 0, 1]


def test_an_incomplete_list_of_projects_retires_nothing(world: World) -> None:
    """A project that it adds is asked; one that cannot be read, or is counted alone, is asked on."""
    world.projects = ("org-a", "org-b", "org-c", "org-d")
    listed = [{"ProjectId": name, "ProjectName": name} for name in world.projects]
    world.run(projects={"RetCode": 0, "ProjectSet": listed[:3]})
    cut = {"RetCode": 0, "ProjectCount": 4, "ProjectSet": listed[:1]}
    garbled = {"RetCode": 0, "ProjectSet": [listed[0], {"ProjectId": 12}, {"ProjectId": None}, listed[3]]}

    results = [world.run(projects=document) for document in [cut] * 10 + [garbled] * 10]
    assert [result.summary.targets["ok"] for result in results] == [9] * 10 + [12] * 10
    assert sum(result.summary.changes["target_retired"] for result in results) == 0
    assert sum(result.summary.changes["target_added"] for result in results) == 3


@pytest.mark.parametrize("name", [{}, {"ProjectName": ""}, {"ProjectName": "lab"}])
def test_a_list_of_projects_that_is_refused_later_retires_nothing(world: World, name: Document) -> None:
    """With names or without, the projects that it listed are asked on, and the run says so."""
    world.projects = ("org-a", "org-b")
    world.run(projects={"RetCode": 0, "ProjectSet": [{"ProjectId": project, **name} for project in world.projects]})
    refused = {"RetCode": 299, "Action": "GetProjectListResponse", "Message": "no permission"}
    results = [world.run(projects=refused) for _ in range(4)]

    assert [dict(result.summary.targets)["ok"] for result in results] == [6] * 4
    assert [result.summary.targets["total"] for result in results] == [6] * 4
    assert {count for result in results for count in result.summary.changes.values()} == {0}
    assert all(any("asking those it listed then" in said for said in result.summary.notices) for result in results)


def test_variant_whose_parameters_nobody_knows(tmp_path: Path, sqlite_url: str) -> None:
    """A variant that is configured no more is not asked without its parameters, also where another is named `g-*`."""
    fitting = (("a", ["O"]), ("b", ["O", "G"]), ("c", ["G"]))
    there = [record(letter) | {"_when": {"MachineType": machines}} for letter, machines in fitting]
    with run_in_thread(make_timeline(zones={HERE: there})) as cloud:
        user = Driver(tmp_path, sqlite_url)
        for name, gpu_type in (("g-v100", "V100"), ("g-*", "A100")):
            user.configure(
                account(cloud.url, variants=[{"name": name, "MachineType": "G", "GPUType": gpu_type}]),
                guard={"min_images": 3},
            )
            user.run()

    assert [(row["event"], row["variant"]) for row in user.rows("changes")] == [("target_added", "g-*")]
    assert {row["variant"] for row in user.rows("status")} == {"default", "g-*"}


def test_a_whole_run_after_a_narrowed_first_one(tmp_path: Path, database_url: str) -> None:
    """What the first catalog listed is no news when it is first asked; what comes later is, to either kind of run."""
    zones = ["hk-01", "hk-02", "sg-01", "sg-02", "hk-03", "sg-03", "hk-04"]
    steps = [{"zones": zones[:count]} for count in (5, 6, 7)]
    with run_in_thread(make_timeline(zones=zones[:4], steps=steps)) as cloud:
        user = Driver(tmp_path, database_url).configure(account(cloud.url, private_key="wrong"))
        user.run(code=5)
        user.configure(account(cloud.url))
        ran = [user.run("--zone", "hk-01"), user.run("--region", "hk")]
        cloud.advance()
        ran.append(user.run("--region", "hk"))
        cloud.advance()
        ran += [user.run(), user.run()]
        cloud.advance()
        ran.append(user.run("--region", "hk"))

    assert [one.changes for one in ran] == [{}, {}, {"target_added": 1}, {"target_added": 1}, {}, {"target_added": 1}]
    assert [row["zone"] for row in user.rows("changes")] == ["hk-03", "sg-03", "hk-04"]
