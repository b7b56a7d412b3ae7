"""Which image succeeds another: on random histories every reader, the view and the mail say what the rule says."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler.db.engine import read
from crawler.domain.filters import Filters
from crawler.domain.guard import GuardPolicy
from crawler.domain.models import Target, normalise_name
from crawler.errors import Ambiguous
from crawler.notifications.digest import build_digest
from crawler.notifications.models import NotifiedState
from crawler.queries import check_lookup, history_lookup, images, resolve_lookup
from crawler.queries.check.rules import PinRule
from tests.support.diary import PERIOD, Diary, target
from tests.support.reporting import facts_of, subscribe

STALE = timedelta(hours=26)
TARGETS = [target(f"hk-{zone:02}") for zone in (1, 2, 3)]
IDS = [f"uimage-{letter}" for letter in "abcdef"]
NAMES = ["Ubuntu 20.04", "UBuntu  20.04", "Ubuntu 20.04", "Debian 12", ""]


@dataclass
class Memory:
    """What each target listed last, since when, and the last of what it lists no more."""

    open: dict[Target, dict[str, tuple[str, datetime]]] = field(default_factory=lambda: {t: {} for t in TARGETS})
    gone: dict[Target, dict[str, tuple[str, datetime]]] = field(default_factory=lambda: {t: {} for t in TARGETS})

    def take(self, where: Target, listed: Mapping[str, str], at: datetime) -> None:
        before = self.open[where]
        # a name that is not stated any more stays the last known one
        self.open[where] = {
            i: (name or before.get(i, ("",))[0], before[i][1] if i in before else at) for i, name in listed.items()
        }
        self.gone[where].update({i: stay for i, stay in before.items() if i not in listed})

    def called(self, where: Target, name: str) -> dict[str, datetime]:
        """Return the open images of a name with the time each came."""
        key = normalise_name(name)
        return {i: came for i, (own, came) in self.open[where].items() if key and normalise_name(own) == key}

    def successors(self, where: Target, image_id: str) -> list[str]:
        """Return what the rule says of an image that was ever listed."""
        name, came = self.open[where].get(image_id) or self.gone[where][image_id]
        return last({i: at for i, at in self.called(where, name).items() if at > came})


def last(images: Mapping[str, datetime]) -> list[str]:
    return sorted(image_id for image_id, came in images.items() if came == max(images.values()))


def play(engine: Engine, seed: int) -> tuple[Diary, Memory]:
    """Record runs in which images come, go, come back and change their names; each absence is believed at once."""
    rng = random.Random(seed)
    diary, memory = Diary(engine, policy=GuardPolicy(confirmations=0)), Memory()
    for _ in range(8):
        answers: dict[Target, Any] = {}
        for where in TARGETS:
            names = {i: name for i, (name, _) in memory.open[where].items()}
            listed = {i: names.get(i, rng.choice(NAMES)) for i in rng.sample(IDS, rng.choice([2, 3, 4]))}
            if rng.random() < 0.3:
                listed[rng.choice(list(listed))] = rng.choice(NAMES)
            answers[where] = listed
        begun = diary.now + PERIOD - timedelta(seconds=diary.now.second % 60)
        diary.run(answers)
        for number, where in enumerate(TARGETS, start=1):
            memory.take(where, answers[where], begun + timedelta(seconds=number))
    return diary, memory


def the_one(ids: Iterable[str]) -> str | None:
    found = list(ids)
    return found[0] if len(found) == 1 else None


@pytest.mark.parametrize("seed", range(12))
def test_readers_and_view_agree(engine: Engine, seed: int) -> None:
    """`images`, `where`, `resolve` and the view name the successor and the newest that the rule names."""
    diary, memory = play(engine, seed)
    expected = {(w.zone, i): the_one(memory.successors(w, i)) for w in TARGETS for i in memory.open[w]}
    with read(engine) as conn:
        view = conn.execute(text("SELECT zone, image_id, superseded_by FROM current_images")).all()
        assert {(row.zone, row.image_id): row.superseded_by for row in view} == expected
        rows = images.images(conn, None, now=diary.now, stale_after=STALE)
        assert {(row.target.zone, row.image_id): row.superseded_by for row in rows} == expected
        for where in TARGETS:
            newest = last(memory.called(where, "Ubuntu 20.04"))
            filters = Filters(zone=(where.zone,))
            (row,) = history_lookup.where_is(conn, ["ubuntu 20.04"], None, filters, now=diary.now, stale_after=STALE)
            if len(newest) > 1:
                with pytest.raises(Ambiguous, match=", ".join(newest)):
                    resolve_lookup.resolve(conn, "Ubuntu 20.04", filters, now=diary.now, stale_after=STALE)
            elif newest:
                found, _ = resolve_lookup.resolve(conn, "Ubuntu 20.04", filters, now=diary.now, stale_after=STALE)
                assert found.image_id == newest[0]
            assert not newest or row.image_id == newest[-1]


@pytest.mark.parametrize("seed", range(12))
def test_check_and_mails_agree(engine: Engine, seed: int) -> None:
    """What `check` says of a pinned id, that it is gone, superseded or fine and what to use, the mail says too."""
    diary, memory = play(engine, seed)
    pins = [(w.zone, i) for w in TARGETS for i in sorted({*memory.open[w], *memory.gone[w]})]
    subscription = subscribe(pins=[" ".join(pin) for pin in pins])
    with read(engine) as conn:
        rules = [PinRule(image_id=image_id, zone=zone) for zone, image_id in pins]
        rows = check_lookup.check(conn, rules, Filters(), now=diary.now, stale_after=STALE)
        digest = build_digest(
            subscription, facts_of(conn, now=diary.now, stale_after=STALE), NotifiedState(introduced=True)
        )
    lines = {(line.pin.zone, line.pin.image_id): line for line in (digest.pins if digest else ())}
    for where, row in [(w, row) for w in TARGETS for row in rows if row.zone == w.zone]:
        assert row.image_id is not None
        heirs = memory.successors(where, row.image_id)
        if row.image_id in memory.open[where]:
            outcome, state = ("superseded", "superseded") if heirs else ("ok", None)
        else:
            outcome, state = [("missing", "withdrawn"), ("re-issued", "reissued"), ("ambiguous", "ambiguous")][
                min(len(heirs), 2)
            ]
        assert (row.outcome, row.successor) == (outcome, the_one(heirs))
        line = lines.get((where.zone, row.image_id))
        assert (line and line.state, line and line.successor) == (state, the_one(heirs))
        if len(heirs) > 1:
            assert ", ".join(heirs) in row.detail
            assert line is not None
            assert list(line.candidates) == heirs
