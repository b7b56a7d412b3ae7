"""
Questions to every reader at random moments of a random history, by both doors; the oracle knows the answers.

Each `ask_…` makes up one question, asks it, and compares every row, every field of the contract, and the exit code.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crawler.db import changelog
from crawler.db.engine import address_of, read
from crawler.queries import changes
from crawler.queries.status import oldest_observation
from tests.simulation.doors import Answer, CommandDoor, PythonDoor, Question, Rule
from tests.simulation.expected_evidence import check_explanation
from tests.simulation.expected_gate import expected_check
from tests.simulation.expected_knowledge import GOOD, STALE_AFTER, name_of
from tests.simulation.expected_log import (
    EVENTS,
    check_gaps,
    expected_changes,
    expected_failures,
    expected_history,
    expected_runs,
    expected_status,
)
from tests.simulation.expected_moments import expected_compare, expected_diff
from tests.simulation.expected_names import expected_resolve, expected_where
from tests.simulation.expected_rows import Selection, compare_rows
from tests.simulation.past import normalised
from tests.simulation.run import Simulation
from tests.simulation.views import check_current_images
from tests.simulation.world import NAMES

TARGET = ("project", "region", "zone")
IMAGE = (*TARGET, "image_set", "image_id")
#: How many questions go to Python for one that goes to the command.
PYTHON_SHARE = 19
#: Never in any world.
UNHEARD = "Windows 2022"
NOWHERE = "moon-01"


class Readers:
    """Asks about one history."""

    def __init__(self, simulation: Simulation, rng: random.Random) -> None:
        self.oracle = simulation.oracle
        self.tally = simulation.tally.readers
        self.last: Question | None = None
        self._simulation = simulation
        self._rng = rng
        address = address_of(simulation.engine)
        database = address.url or str(address.path)
        self._python = PythonDoor(database)
        self._command = CommandDoor(database)
        self._asked = 0
        self._readers: tuple[Callable[[datetime, Sequence[datetime]], None], ...] = (
            self.ask_history,
            self.ask_changes,
            self.ask_diff,
            self.ask_compare,
            self.ask_where,
            self.ask_resolve,
            self.ask_check,
            self.ask_status,
            self.ask_runs,
            self.ask_explain,
            self.look_at_view,
        )

    @property
    def is_odd_moment(self) -> bool:
        """The last run was killed, or left something out; that lasts until the next one."""
        return any(ran.finished_at is None or "skipped" in ran.outcomes.values() for ran in self.oracle.runs[-1:])

    def close(self) -> None:
        """Close the door."""
        self._python.close()

    def ask_until(self, count: int) -> None:
        """Ask one reader after the other, until *count* questions were asked; now, or as if some time had passed."""
        if not any(ran.finished_at and {*ran.outcomes.values()} & {*GOOD} for ran in self.oracle.runs):
            return  # nothing is recorded, which the commands say instead of an answer
        while self._asked < count:
            later = self._rng.choice((timedelta(), timedelta(), timedelta(hours=3), STALE_AFTER, timedelta(hours=40)))
            self._readers[self._asked % len(self._readers)](self._simulation.clock() + later, self._simulation.moments)
            self._asked += 1

    # --- what happened -----------------------------------------------------------------------------------------------

    def ask_history(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask for every interval of an id, a name or a glob."""
        image = self._image()
        selection = self._selection(("zone", "project", "image_set"))
        rows = self._ask("history", now, (image,), selection).rows
        compare_rows(rows, expected_history(self.oracle, image, selection, now=now), (*IMAGE, "valid_from"))
        self._count("history gap", check_gaps(self.oracle, rows, now))
        self._count("history", (row["state"] or row["ended_by"] for row in rows))

    def ask_changes(self, now: datetime, moments: Sequence[datetime]) -> None:
        """Ask what was recorded in a time, of some events and images."""
        since, until = sorted((self._moment(moments), self._moment(moments)))
        bounds = {
            "since": since if self._rng.random() < 0.7 else None,
            "until": until if self._rng.random() < 0.7 else None,
        }
        events = tuple(self._rng.sample(EVENTS, self._rng.choice((0, 0, 1, 2))))
        selection = self._selection(("zone", "project", "image_set", "name", "image_id"))
        asked = self._ask("changes", now, (), {**selection, **bounds, "events": events}).rows
        rows = [row for row in asked if row["event"] in EVENTS]
        expected = expected_changes(self.oracle, selection, **bounds, events=events)
        compare_rows(rows, expected, (*IMAGE, "event", "observed_at"))
        assert [row["id"] for row in rows] == sorted({row["id"] for row in rows}), "not oldest first"
        self._count("changes", (row["event"] for row in rows))

    def ask_runs(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask for the ledger of runs, or for one of them with its failures."""
        if self._rng.random() < 0.5:
            limit = self._rng.choice((None, 1, 5))
            rows = self._ask("runs", now, (), {"limit": limit} if limit else {}).rows
            expected = expected_runs(self.oracle, limit)
            assert [row["run"] for row in rows] == [row["run"] for row in expected]
        else:
            ran = self._rng.choice(self.oracle.runs)
            rows = self._ask("runs show", now, (ran.number,), {}).rows
            expected = [expected_runs(self.oracle)[ran.number - 1]]
            compare_rows(rows[0]["failures"], expected_failures(ran), ("target", "outcome"))
        compare_rows(rows, expected, ("run",))
        self._count("runs", (row["status"] for row in rows))

    def ask_explain(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask for the answers behind one change, or behind one that is not there."""
        with read(self._simulation.engine) as conn:
            ids = [row.id for row in changes.changes(conn, events=EVENTS)]
            last = changelog.last_change(conn)
        number = self._rng.choice(ids) if ids and self._rng.random() < 0.95 else last + 1
        answer = self._ask("explain", now, (number,), {})
        if number > last:
            assert (answer.rows, answer.code in (None, 2)) == ([], True)
            self._count("explain", ["no such change"])
            return
        (told,) = answer.rows
        assert told["change"]["id"] == number
        self._count("explain", check_explanation(self.oracle, told))

    # --- two moments, two zones --------------------------------------------------------------------------------------

    def ask_diff(self, now: datetime, moments: Sequence[datetime]) -> None:
        """Ask what differs between two moments."""
        first, second = self._moment(moments), self._moment(moments)
        selection = self._selection(("zone", "project", "image_set", "name", "image_id"))
        answer = self._ask("diff", now, (first, second), selection)
        expected = expected_diff(self.oracle, first, second, selection)
        events = {row["event"] for row in expected}
        codes = {1} if events - {"unknown"} else {8} if events else {0, 8}
        if answer.code is not None and first == second:
            assert (answer.code, answer.rows) in ((0, []), (8, [])), "a moment does not differ from itself"
            return
        assert answer.code in (None, *codes), f"exit code {answer.code} for {events}"
        if answer.code != 8 or answer.rows:  # else it was refused: nobody had looked by then
            compare_rows(answer.rows, expected, IMAGE)
        self._count("diff", (row["event"] for row in answer.rows))

    def ask_compare(self, now: datetime, moments: Sequence[datetime]) -> None:
        """Ask for two zones side by side."""
        zones = self._known("zone")
        first, second = self._rng.choice(zones), self._rng.choice(zones)
        at = self._moment(moments) if self._rng.random() < 0.6 else now
        selection = self._selection(("project", "image_set"))
        answer = self._ask("compare", now, (first, second), {**selection, "at": at})
        expected = expected_compare(self.oracle, first, second, at, selection)
        if answer.code == 8:
            assert {row["result"] for row in expected} <= {"unknown"}, "what is known was refused"
        else:
            for row in answer.rows:
                row["ids"] = [side and side["image_id"] for side in (row["first"], row["second"])]
            compare_rows(answer.rows, expected, ("image_set", "projects", "result", "ids"))
            self._count("compare", (row["result"] for row in answer.rows))

    # --- one name ----------------------------------------------------------------------------------------------------

    def ask_where(self, now: datetime, moments: Sequence[datetime]) -> None:
        """Ask where a name is, or was."""
        name = self._image()
        at = self._moment(moments) if self._rng.random() < 0.6 else now
        retired = self._rng.random() < 0.5
        selection = self._selection(("zone", "project"))
        answer = self._ask("where", now, (name,), {**selection, "at": at, "retired": retired})
        expected = expected_where(self.oracle, name, at, selection, include_retired=retired)
        if answer.code == 8:
            assert {row["state"] for row in expected} <= {"unknown"}, "what is known was refused"
        else:
            for row in answer.rows:
                row["key"] = normalised(row["image_name"])
            compare_rows(answer.rows, expected, (*TARGET, "key", "image_set", "image_id", "state"))
            self._count("where", (row["state"] for row in answer.rows))

    def ask_resolve(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask for the one id to use now."""
        zone, name = self._rng.choice(self._known("zone")), self._name()
        if self._rng.random() < 0.03:
            zone = NOWHERE
        gpu = self._rng.random() < 0.3
        max_age = self._rng.choice((None, None, timedelta(hours=1), timedelta(days=5)))
        selection = self._selection(("project", "image_set"))
        if "*" in selection.get("project", ("",))[0]:
            selection = {}
        options = {**selection, "gpu": gpu, "max_age": max_age}
        answer = self._ask("resolve", now, (zone, name), options)
        code, rows = expected_resolve(
            self.oracle, zone, name, now=now, gpu=gpu, max_age=max_age or STALE_AFTER, selection=selection
        )
        assert answer.code == code, f"exit code {answer.code}, expected {code} {rows}"
        compare_rows(answer.rows, rows, ("zone", "image_id"))
        self._count("resolve", [str(code)])

    # --- the gate, and how fresh it all is ---------------------------------------------------------------------------

    def ask_check(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask whether some rules hold."""
        rules = tuple(self._rule() for _ in range(self._rng.choice((1, 1, 1, 2, 4))))
        selection = self._selection(("zone",)) if self._rng.random() < 0.2 else {}
        answer = self._ask("check", now, (), selection, rules)
        code, rows = expected_check(self.oracle, rules, selection, now=now)
        compare_rows(answer.rows, rows, ("rule", "zone", "image_id", "outcome"))
        assert answer.code == code, f"exit code {answer.code}, expected {code}: {rows}"
        self._count("check", (row["outcome"] for row in answer.rows))
        self._count("check", [str(code)])

    def ask_status(self, now: datetime, _moments: Sequence[datetime]) -> None:
        """Ask how fresh the targets are."""
        retired = self._rng.random() < 0.6
        selection = self._selection(("zone", "project", "region"))
        rows = self._ask("status", now, (), {**selection, "retired": retired}).rows
        compare_rows(rows, expected_status(self.oracle, selection, now=now, include_retired=retired), TARGET)
        self._count("status", (row["outcome"] or "never" for row in rows))
        asked = expected_status(self.oracle, {}, now=now, include_retired=False)
        seen = [row["last_ok_at"] for row in asked if row["outcome"] != "denied"]
        with read(self._simulation.engine) as conn:
            totals = oldest_observation(conn, now=now)
        assert totals == (min(filter(None, seen), default=None), seen.count(None))

    def look_at_view(self, _now: datetime, _moments: Sequence[datetime]) -> None:
        """Look at the present as SQL users do."""
        self.last = None
        found = check_current_images(self._simulation.engine, self.oracle, self._simulation.clock())
        self.tally["view asked"] += 1
        self._count("view", found)

    # -----------------------------------------------------------------------------------------------------------------

    def _ask(
        self,
        reader: str,
        now: datetime,
        words: tuple[Any, ...],
        options: Mapping[str, Any],
        rules: tuple[Rule, ...] = (),
    ) -> Answer:
        question = Question(reader=reader, now=now, words=words, options=options, rules=rules)
        self.last = question
        is_command = self._rng.randrange(PYTHON_SHARE + 1) == 0
        self.tally[f"{reader.split()[0]} asked"] += 1
        self.tally["commands"] += is_command
        return (self._command if is_command else self._python).ask(question)

    def _count(self, reader: str, words: Any) -> None:
        self.tally.update(f"{reader} {word}" for word in (words.elements() if isinstance(words, Counter) else words))

    # --- random words ------------------------------------------------------------------------------------------------

    def _moment(self, moments: Sequence[datetime]) -> datetime:
        moment = self._rng.choice(moments)
        match self._rng.randrange(6):
            case 0:
                moment += timedelta(microseconds=self._rng.choice((-1, 1)))
            case 1:
                moment += timedelta(seconds=self._rng.uniform(-10_000, 100_000))
        return moment

    def _known(self, part: str) -> list[str]:
        """Return the words that the history knows."""
        if part in TARGET:
            return sorted({getattr(spot, part) for spot in self.oracle.pasts})
        spans = [span for past in self.oracle.pasts.values() for span in past.spans]
        of_part = {"image_set": lambda s: s.key.image_set, "image_id": lambda s: s.key.image_id, "name": name_of}
        return sorted({word for span in spans if (word := of_part[part](span))}) or [UNHEARD]

    def _selection(self, parts: Sequence[str]) -> Selection:
        """Narrow a question by one part, or not at all."""
        if self._rng.random() < 0.5:
            return {}
        part = self._rng.choice(parts)
        word = self._rng.choice(self._known(part))
        if part == "name" and self._rng.random() < 0.5:
            word = self._rng.choice(("ubuntu*", word.upper()))
        elif self._rng.random() < 0.3:
            word = f"{word[: self._rng.randint(2, len(word))]}*"
        return {part: (word,)}

    def _name(self) -> str:
        return self._rng.choice((*NAMES, "ubuntu*", "*", UNHEARD, self._rng.choice(self._known("name"))))

    def _image(self) -> str:
        return self._rng.choice((self._name(), self._rng.choice(self._known("image_id")), "uimage-0001?"))

    def _rule(self) -> Rule:
        rng = self._rng
        rule: dict[str, Any] = {"kind": rng.choice(("require", "pinned", "pinned"))}
        zones = self._known("zone")
        if rule["kind"] == "require":
            rule["name"] = self._name()
            if rng.random() < 0.6:
                rule["zones"] = tuple(rng.sample((*zones, f"{rng.choice(zones)[:2]}*"), rng.choice((1, 2))))
        else:
            ids = self._known("image_id")
            rule["ids"] = tuple({rng.choice((*ids, "uimage-unheard")) for _ in range(rng.choice((1, 1, 3)))})
            if rng.random() < 0.6:
                rule["zones"] = (rng.choice(zones),)
        if rng.random() < 0.3:
            rule["gpu"] = rng.random() < 0.8
        if rng.random() < 0.1:
            rule["projects"] = (rng.choice(self._known("project")),)
        if rng.random() < 0.05:
            rule["variant"] = ("g-v100",)
        return rule
