"""What `check` has to answer: each rule in each zone, each target by what is known there now; unknown never passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from tests.simulation.expected_knowledge import (
    GOOD,
    STALE_AFTER,
    away_at,
    held_since,
    last_good_at,
    name_of,
    newest,
    seen_by,
    successors,
)
from tests.simulation.expected_rows import Row, Selection, name_fits, pasts_of
from tests.simulation.model import Spot
from tests.simulation.oracle import Oracle
from tests.simulation.past import Past, Span

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """How a rule turned out at one target."""

    outcome: str
    image_id: str | None = None
    successor: str | None = None
    #: Those between which nothing tells, and whether the one is surely there: where they differ, the rows are two.
    several: tuple[str, ...] = ()
    is_certain: bool = False


@dataclass(frozen=True)
class _Place:
    """One target and what is known of it now."""

    spot: Spot
    past: Past
    now: datetime

    @property
    def is_out(self) -> bool:
        """It is asked no more, or never was open to this key."""
        seen = seen_by(self.past, self.now)
        is_closed = bool(seen) and seen[-1].outcome == "denied" and last_good_at(self.past, self.now) is None
        return away_at(self.past, self.now) is not None or is_closed

    @property
    def ignorance(self) -> str | None:
        """Why nothing is known of it now."""
        good_at = last_good_at(self.past, self.now)
        if good_at is None or away_at(self.past, self.now) or seen_by(self.past, self.now)[-1].outcome not in GOOD:
            return "unknown"
        return "stale" if self.now - good_at > STALE_AFTER else None

    @property
    def open(self) -> list[Span]:
        """The images that count as there."""
        return [span for span in self.past.spans if span.valid_to is None]

    def is_held(self, span: Span) -> bool:
        """Its withdrawal is not believed yet."""
        return held_since(self.past, span.key, self.now) is not None


# --- rules -----------------------------------------------------------------------------------------------------------


def expected_check(
    oracle: Oracle, rules: Iterable[Rule], selection: Selection, *, now: datetime
) -> tuple[int, list[Row]]:
    """Return the exit code and the rows."""
    places = [_Place(spot, past, now) for spot, past in pasts_of(oracle, selection).items()]
    left_out = {spot.zone for spot in oracle.pasts} - {place.spot.zone for place in places}
    rows = [row for rule in rules for row in _rule_rows(rule, places, left_out)]
    bad = {row["outcome"] for row in rows} - {"ok", "superseded"}
    code = 0 if not bad else 8 if bad <= {"unknown", "stale", "not-asked"} else 1
    return code, rows


def _rule_rows(rule: Rule, places: list[_Place], left_out: set[str]) -> Iterator[Row]:
    if rule["kind"] == "require":
        yield from _required(rule, places, left_out)
        return
    for image_id in rule["ids"]:
        for zone in rule.get("zones", (None,)):
            if zone not in left_out:
                yield from _pinned(rule, image_id, zone, places)


def _wants(rule: Rule, place: _Place) -> bool:
    variants, projects = rule.get("variant", ("default",)), rule.get("projects", ("*",))
    return "default" in variants and any(fnmatchcase(place.spot.project, glob) for glob in projects)


def _row(label: str, zone: str | None, verdict: Verdict) -> Row:
    found = {"outcome": verdict.outcome, "image_id": verdict.image_id, "successor": verdict.successor}
    return {"rule": label, "zone": zone, **found}


def _once(label: str, zone: str, verdicts: Iterable[Verdict]) -> list[Row]:
    """Return a row for the targets of a zone that agree."""
    return [_row(label, zone, verdict) for verdict in dict.fromkeys(verdicts)]


# --- required names --------------------------------------------------------------------------------------------------


def _required(rule: Rule, places: list[_Place], left_out: set[str]) -> Iterator[Row]:
    """
    Judge a name in every zone that is asked; one that is not, only where the rule names it.

    Nowhere is no pass, nor is it by one word of a rule for zones beside another.
    """
    globs = rule.get("zones", ("*",))
    label = f"require {rule['name']}{' (gpu)' if rule.get('gpu') else ''}"
    zones = sorted({p.spot.zone for p in places if any(fnmatchcase(p.spot.zone, glob) for glob in globs)})
    rows: list[Row] = []
    for zone in zones:
        here = [place for place in places if place.spot.zone == zone]
        wanted = [place for place in here if _wants(rule, place)]
        judged = [place for place in wanted if not place.is_out] or (wanted if zone in globs else [])
        if judged:
            rows += _once(label, zone, (_required_at(rule, place) for place in judged))
        elif not all(place.is_out for place in here):
            rows.append(_row(label, zone, Verdict("not-asked")))
    is_elsewhere = not zones and any(fnmatchcase(zone, glob) for zone in left_out for glob in globs)
    yield from rows or ([] if is_elsewhere else [_row(label, None, Verdict("not-asked"))])
    told = {row["zone"] for row in rows}
    for glob in globs if rows else ():
        known = any(fnmatchcase(zone, glob) for zone in zones)
        is_elsewhere = not known and any(fnmatchcase(zone, glob) for zone in left_out)
        if not is_elsewhere and not any(fnmatchcase(zone, glob) for zone in told):
            yield _row(label, None if "*" in glob else glob, Verdict("not-asked"))


def _required_at(rule: Rule, place: _Place) -> Verdict:
    if place.ignorance:
        return Verdict(place.ignorance)
    wants_gpu = rule.get("gpu", False)
    called = [span for span in place.open if name_fits(name_of(span), rule["name"])]
    held = [span for span in called if place.is_held(span)]
    there = [span for span in called if not place.is_held(span)]
    good = [span for span in there if not wants_gpu or span.stated.get("gpu") is True]
    if good:
        return Verdict("ok", _last(good))
    # One on hold may be there; where it surely has no GPU, that does not help.
    hopeful = [span for span in held if not wants_gpu or span.stated.get("gpu") is not False]
    if hopeful:
        return Verdict("unknown", _last(hopeful))
    if there and any("gpu" not in span.stated for span in there):
        return Verdict("unknown", _last(there))
    if there or held:
        return Verdict("gpu-lost", _last(there or held))
    was_here = any(name_fits(name_of(span), rule["name"]) for span in place.past.spans)
    return Verdict("missing" if was_here else "never-seen")


def _last(spans: Sequence[Span]) -> str:
    return max(span.key.image_id for span in newest(spans))


# --- pinned ids ------------------------------------------------------------------------------------------------------


def _pinned(rule: Rule, image_id: str, zone: str | None, places: list[_Place]) -> Iterator[Row]:
    """Judge an id in its own zone; a bare one in every zone where it ever was."""
    label = f"pinned {image_id}"
    wanted = [place for place in places if _wants(rule, place)]
    lives = [place for place in wanted if any(span.key.image_id == image_id for span in place.past.spans)]
    if zone is None and not lives:
        doubts = [place.ignorance for place in wanted if not place.is_out]
        if doubts and all(doubts):
            outcome = "stale" if set(doubts) == {"stale"} else "unknown"
        else:
            outcome = "never-seen" if doubts else "not-asked"
        yield _row(label, None, Verdict(outcome, image_id))
        return
    for name in [zone] if zone else sorted({place.spot.zone for place in lives}):
        yield from _pinned_in(rule, image_id, name, label, (places, wanted, lives))


def _pinned_in(rule: Rule, image_id: str, zone: str, label: str, found: tuple[list[_Place], ...]) -> Iterator[Row]:
    places, wanted, lives = ([place for place in some if place.spot.zone == zone] for some in found)
    if not places:
        yield _row(label, zone, Verdict("unknown", image_id))
        return
    if not wanted:
        yield _row(label, zone, Verdict("not-asked", image_id))
        return
    about = lives or wanted
    judged = [place for place in about if not place.is_out] or about
    yield from _once(label, zone, (_pinned_at(rule, image_id, place) for place in judged))


def _pinned_at(rule: Rule, image_id: str, place: _Place) -> Verdict:
    if place.ignorance:
        return Verdict(place.ignorance, image_id)
    spans = [span for span in place.past.spans if span.key.image_id == image_id]
    if not spans:
        return Verdict("never-seen", image_id)
    there = [span for span in spans if span.valid_to is None]
    if not there:
        gone = max(spans, key=lambda span: span.valid_from)
        heirs = successors(gone, place.open)
        outcome = "missing" if not heirs else "re-issued" if len(heirs) == 1 else "ambiguous"
        return _succeeded(outcome, image_id, heirs, place)
    span = there[0]
    if place.is_held(span):
        return Verdict("unknown", image_id)
    heirs, gpu = successors(span, place.open), span.stated.get("gpu")
    had_gpu = any(one.stated.get("gpu") is True for one in spans)
    if gpu is False and (rule.get("gpu") or (rule.get("gpu") is None and had_gpu)):
        return _succeeded("gpu-lost", image_id, heirs, place)
    if gpu is None and rule.get("gpu"):
        return Verdict("unknown", image_id)
    return _succeeded("superseded" if heirs else "ok", image_id, heirs, place)


def _succeeded(outcome: str, image_id: str, heirs: Sequence[str], place: _Place) -> Verdict:
    if len(heirs) != 1:
        return Verdict(outcome, image_id, several=tuple(heirs))
    is_certain = any(span.key.image_id == heirs[0] and not place.is_held(span) for span in place.open)
    return Verdict(outcome, image_id, heirs[0], is_certain=is_certain)
