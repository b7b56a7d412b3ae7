"""
Where the answers of the grammar meet the product: a real server on loopback, the real client, the real Recorder.

Two accounts see three zones each. One of the six targets, the victim, gets the answers of the grammar; the others get
true ones. What an example may do to the history is checked after every run.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

from hypothesis import strategies as st
from sqlalchemy import Connection

from crawler.client.api_options import Timing
from crawler.config.models import Limits
from crawler.crawl.run import RunResult, crawl
from crawler.db.engine import opened, read
from crawler.domain.rows import ChangeRow
from crawler.errors import ExitCode
from crawler.queries import changes as queries_changes
from crawler.queries import images
from tests.simulation.expected_log import EVENTS
from tests.simulation.grammar import MANNERS, SHOTS, TRUE, Manner, Shot, Truth, Wire
from tests.simulation.seeds import template
from tests.support.crawling import account_at, settings_for
from tests.support.scratch import scratch

ACCOUNTS = ("one", "two")
#: Region, number in the catalog.
ZONES = {"hk-01": ("hk", 3001), "hk-02": ("hk", 3002), "sg-01": ("sg", 4001)}
#: Images of every zone, by set; their ids end in the zone.
IMAGES = {"ImageSet": ("a", "b", "c"), "PHostImageSet": ("d", "e"), "CustomImageSet": ("f",)}
CONFIRMATIONS = 2
#: Answers of an example that may be read as lists of nothing: fewer than confirm each other.
MOST_EMPTY = CONFIRMATIONS
#: How much faster waits go by here, and the deadline of a run in its own time.
SPEED = 1000.0
DEADLINE_SECONDS = 20.0
GRACE_SECONDS = 5.0
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Example:
    """What happens to the victim, run after run, after a first run in which all is well."""

    account: str
    zone: str
    manner: Manner
    #: What each run is answered, and whether the first request alone is.
    shots: tuple[tuple[Shot, bool], ...]
    #: Images that are gone from the run of this number on.
    gone: frozenset[str]
    gone_from: int

    def ids(self, run: int) -> dict[str, tuple[str, ...]]:
        """Return what the victim has in a *run*."""
        gone = self.gone if run >= self.gone_from else frozenset()
        return {name: tuple(i for i in ids if i not in gone) for name, ids in ids_of(self.zone).items()}


def ids_of(zone: str) -> dict[str, tuple[str, ...]]:
    """Return the images of a zone by set."""
    return {name: tuple(f"uimage-{zone}-{letter}" for letter in letters) for name, letters in IMAGES.items()}


def keys_of(ids: Mapping[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    """Return images by set and id."""
    return {(image_set, image_id) for image_set, part in ids.items() for image_id in part}


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Return an example; at most so many of its answers may be read as empty as do not confirm each other."""
    shots = draw(st.lists(st.tuples(SHOTS, st.booleans().map(lambda often: not often)), min_size=1, max_size=2))
    kept: list[tuple[Shot, bool]] = []
    for shot, is_once in shots:
        if shot.mark != "empty" or sum(one.mark == "empty" for one, _ in kept) < MOST_EMPTY:
            kept.append((shot, is_once))
    zone = draw(st.sampled_from(sorted(ZONES)))
    ids = [image_id for ids in ids_of(zone).values() for image_id in ids]
    return Example(
        account=draw(st.sampled_from(ACCOUNTS)),
        zone=zone,
        manner=draw(st.sampled_from(MANNERS)),
        shots=tuple(kept),
        gone=frozenset(draw(st.lists(st.sampled_from(ids), min_size=1, max_size=6, unique=True))),
        gone_from=draw(st.integers(0, len(kept))),
    )


class Arena:
    """A server, and a history for every manner to begin with."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self.runs = 0
        self._runner = asyncio.Runner()
        self._folder = Path(tempfile.mkdtemp(prefix="crawler-arena-", dir=scratch(room=2**28)))
        self._begun: dict[tuple[str, str, str], Path] = {}
        self._path = self._folder / "example.db"
        self._opened = ExitStack()
        self._engine = self._opened.enter_context(opened(self._path))
        self._server = self._runner.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self._accounts = tuple(
            replace(
                account_at(f"http://127.0.0.1:{port}/", name),
                public_key=name,
                limits=Limits(rate=5_000, attempts=2, timeout_seconds=5, run_deadline_seconds=DEADLINE_SECONDS * SPEED),
            )
            for name in ACCOUNTS
        )
        self._example: Example | None = None
        self._run = 0
        self._shot, self._is_once = TRUE, False
        self._asked = 0
        self._skipped = 0.0

    def close(self) -> None:
        """Close the server, and remove what was made."""
        self._opened.close()
        self._server.close()
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- an example --------------------------------------------------------------------------------------------------

    def play(self, example: Example) -> None:
        """Play *example*; raise AssertionError where it did to the history what no answer of it may do."""
        self._example = example
        self._begin_with(self._beginning(example))
        for number, (shot, is_once) in enumerate(example.shots):
            self._observe(number, shot, is_once)
        gone = keys_of(ids_of(example.zone)) - keys_of(example.ids(len(example.shots)))
        for number in range(len(example.shots), len(example.shots) + CONFIRMATIONS + 1):
            self._observe(number, TRUE, False)
            if not (left := gone & self._open()):
                break
        assert not left, f"still there after {CONFIRMATIONS + 1} true answers without them: {sorted(left)}"
        there = keys_of(example.ids(len(example.shots)))
        assert there <= self._open(), f"not there, and listed: {sorted(there - self._open())}"

    def _observe(self, number: int, shot: Shot, is_once: bool) -> None:
        """Run once over the answers of *shot*, and check what that did."""
        assert self._example is not None
        changes = self._crawl(number, shot, is_once)
        victim = (self._example.account, self._example.zone)
        others = [row for row in changes if (row.target.account, row.target.zone) != victim]
        assert not others, f"another target's history changed: {others}"
        if shot.mark == "nothing" and not is_once:
            assert not changes, f"recorded from no answer: {changes}"
        there = keys_of(self._example.ids(number))
        wrong = [row.image_id for row in changes if row.event == "withdrawn" and (row.image_set, row.image_id) in there]
        assert not wrong or self._may_hide(number), f"withdrawn, and still there: {wrong}"

    def _may_hide(self, number: int) -> bool:
        """
        Return whether an answer may have no more unreadable records than a good one before it had.

        By the contract an image that is missing in it for the first time is judged as always then, though it may be the
        one that cannot be read now: nobody can tell it from the one that could not before.
        """
        assert self._example is not None
        unreadable = [self._fewest_unreadable(earlier) for earlier in range(number + 1)]
        good = (shot.mark == "partial" for shot, _ in self._example.shots[:number])
        before = max((count for count, is_good in zip(unreadable, good, strict=False) if is_good), default=0)
        return 0 < unreadable[-1] <= before

    def _fewest_unreadable(self, number: int) -> int:
        """Return how many records of an answer of the example, all of which are there, have lost their ids at least."""
        assert self._example is not None
        shot, _ = self._example.shots[number] if number < len(self._example.shots) else (TRUE, False)
        if shot.name == "some unreadable":
            readable: int = shot.detail[1]
            return max(0, len(keys_of(self._example.ids(number))) - readable)
        return 1 if shot.name == "not understood" else 0

    def _crawl(self, number: int, shot: Shot, is_once: bool) -> list[ChangeRow]:
        self._run, self._shot, self._is_once, self._asked = number, shot, is_once, 0
        self._skipped += 900
        before = self._clock()
        began = time.monotonic()
        result = self._runner.run(self._crawled())
        seconds = time.monotonic() - began
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.runs += 1
        assert seconds <= DEADLINE_SECONDS + GRACE_SECONDS, f"took {seconds:.1f} s"
        assert result.exit_code in (ExitCode.DONE, ExitCode.INCOMPLETE), f"exit {result.exit_code}"
        self._check_outcomes(result)
        with read(self._engine) as conn:
            return list(queries_changes.changes(conn, since=before, events=EVENTS))

    def _check_outcomes(self, result: RunResult) -> None:
        assert self._example is not None
        summary = result.summary
        victim = (self._example.account, self._example.zone)
        others = [row for row in summary.failures if (row.target.account, row.target.zone) != victim]
        assert not others, f"another target was not observed: {others}"
        assert summary.targets["total"] == len(ACCOUNTS) * len(ZONES)
        told = [row for row in summary.failures if row not in others]
        if self._shot.mark == "nothing" and not self._is_once:
            # Records of which none can be read are no fault of the answer where a good one before had as many such.
            may_be_held = self._shot.name == "not understood" and self._may_hide(self._run)
            outcomes = ("failed", "denied", *(["held"] if may_be_held else []))
            assert [row.outcome in outcomes for row in told] == [True], f"no answer, and {told or 'ok'}"
            assert len(told[0].message) <= 2000, f"a message of {len(told[0].message)} characters"
        if self._shot.mark == "true":
            assert all(row.outcome == "held" for row in told), f"a true answer was refused: {told}"

    async def _crawled(self) -> RunResult:
        settings = settings_for("sqlite://", *self._accounts)
        timing = Timing(clock=self._clock, monotonic=self._monotonic, sleep=_sleep)
        return await crawl(settings, self._engine, _NoFence(), timing=timing)

    def _clock(self) -> datetime:
        return START + timedelta(seconds=self._monotonic())

    def _monotonic(self) -> float:
        return self._skipped + SPEED * time.monotonic()

    def _open(self) -> set[tuple[str, str]]:
        """Return the images that count as available at the victim."""
        assert self._example is not None
        victim = (self._example.account, self._example.zone)
        with read(self._engine) as conn:
            rows = images.images(conn, self._clock(), now=self._clock(), stale_after=timedelta(days=9))
            return {(row.image_set, row.image_id) for row in rows if (row.target.account, row.target.zone) == victim}

    def _beginning(self, example: Example) -> Path:
        """Return a history in which the victim of *example* was observed well, with its manner, once."""
        same = (example.account, example.zone, example.manner.name)
        if same not in self._begun:
            self._begin_with(template())
            self._crawl(-1, TRUE, False)
            self._engine.dispose()
            self._begun[same] = self._folder / f"{len(self._begun)}.db"
            shutil.copyfile(self._path, self._begun[same])
        return self._begun[same]

    def _begin_with(self, history: Path) -> None:
        """Go on with a copy of *history*, in the same place: what is compiled of statements is kept with the engine."""
        self._engine.dispose()
        shutil.copyfile(history, self._path)

    # --- the server --------------------------------------------------------------------------------------------------

    async def _serve(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        with closing(outgoing):
            try:
                while True:
                    head = (await incoming.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                    size = int(head.partition("content-length:")[2].partition("\r\n")[0])
                    form = dict(parse_qsl((await incoming.readexactly(size)).decode(), keep_blank_values=True))
                    if not self._answer(form, outgoing):
                        return
                    await outgoing.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                return

    def _answer(self, form: dict[str, str], outgoing: asyncio.StreamWriter) -> bool:
        """Write one answer; tell whether the connection stays open."""
        wire = self._wire(form)
        if not wire.status:
            return False
        named = {name.lower() for name, _ in wire.headers}
        headers = [("Content-Length", str(len(wire.body))), ("X-UCLOUD-REQUEST-UUID", "uuid-1"), *wire.headers]
        headers += [] if "content-type" in named else [("Content-Type", "application/json")]
        lines = [f"HTTP/1.1 {wire.status} Said", *(f"{name}: {value}" for name, value in headers), "", ""]
        outgoing.write("\r\n".join(lines).encode() + wire.body[: len(wire.body) - wire.cut])
        return wire.status == 200 and not wire.cut

    def _wire(self, form: dict[str, str]) -> Wire:
        match form.get("Action"):
            case "GetRegion":
                rows = [
                    {"Region": region, "Zone": zone, "RegionId": number, "IsDefault": False}
                    for zone, (region, number) in ZONES.items()
                ]
                return Wire(json.dumps({"RetCode": 0, "Action": "GetRegionResponse", "Regions": rows}).encode())
            case "GetProjectList":
                projects = [{"ProjectId": f"org-{form['PublicKey']}", "ProjectName": "default", "IsDefault": True}]
                return Wire(json.dumps({"RetCode": 0, "ProjectSet": projects}).encode())
        assert self._example is not None
        zone = form["Zone"]
        truth = _truth(zone, form.get("ProjectId", ""), ids_of(zone))
        if (form["PublicKey"], zone) != (self._example.account, self._example.zone):
            return TRUE.answer(truth, MANNERS[0])
        self._asked += 1
        shot = TRUE if self._is_once and self._asked > 1 else self._shot
        return shot.answer(replace(truth, ids=self._example.ids(self._run)), self._example.manner)


def _truth(zone: str, project: str, ids: dict[str, tuple[str, ...]]) -> Truth:
    region, number = ZONES[zone]
    other = next(name for name in ZONES if name != zone)
    there = tuple(image_id for part in ids_of(other).values() for image_id in part)
    return Truth(region, zone, number, project, ids, (ZONES[other][0], other, ZONES[other][1]), there)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


class _NoFence:
    """Nobody else is at the database."""

    def check(self, _connection: Connection, /) -> None:
        """Let everything pass."""


@contextmanager
def arena() -> Iterator[Arena]:
    """Open an arena for a `with` block."""
    with closing(Arena()) as opened_arena:
        yield opened_arena
