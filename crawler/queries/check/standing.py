"""How an image stands at one target: what is open there now and what was there before, found by id or by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import translate
from functools import cache
from types import MappingProxyType

from crawler.domain.endings import end_soon
from crawler.domain.filters import is_glob, known_name
from crawler.domain.kinds import KINDS
from crawler.domain.models import Target, normalise_name
from crawler.domain.pins import PinnedImages, PinStanding
from crawler.domain.reissues import newest
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow, Stay
from crawler.domain.scanner.words import name_in_comment
from crawler.domain.staleness import reason_of
from crawler.domain.timefmt import show_moment, tell_moment
from crawler.queries.check.rules import CheckOutcome, PinRule, Require

NOTHING_REVOKED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PinPast:
    """What has to be looked up in the history: ids, and normalised names."""

    image_ids: frozenset[str]
    name_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinVerdict:
    """How a rule turned out at one target."""

    outcome: CheckOutcome
    image_id: str | None = None
    successor: str | None = None
    #: Ids between which nothing tells which succeeds.
    several: tuple[str, ...] = ()
    detail: str = ""
    image_name: str = ""
    #: The last good observation listed the successor.
    is_certain: bool = False


class Index:
    """The rows of the readers, found by target, id and name without looking at the others."""

    def __init__(
        self,
        status: Iterable[StatusRow],
        images: Iterable[ImageRow],
        now: datetime,
        stale_after: timedelta,
        zone: tzinfo = UTC,
        revoked: Mapping[str, str] = NOTHING_REVOKED,
    ) -> None:
        """*zone* is the time zone in which details tell times; *revoked* ids have the reason why."""
        self.now = now
        self.revoked = revoked
        self._slugs: dict[str, list[str]] | None = None
        self.stale_after = stale_after
        self.zone = zone
        rows = list(status)
        self.status: dict[Target, StatusRow] = {row.target: row for row in rows}
        #: One spelling of each zone by its small letters: that of who still asks about it goes first.
        self._spelled: dict[str, str] = {}
        asked = dict.fromkeys(row.target.zone for row in rows if not row.is_absent)
        for called in asked | dict.fromkeys(row.target.zone for row in rows):
            self._spelled.setdefault(called.casefold(), called)
        #: The targets of each zone, in whatever case they write it.
        self.zones: dict[str, list[Target]] = {}
        for row in rows:
            self.zones.setdefault(self.zone_called(row.target.zone), []).append(row.target)
        self.open_by_key: dict[str, dict[Target, list[ImageRow]]] = {}
        #: Names as written, each with its normalised form.
        self.keys: dict[str, str] = {}
        self._known_keys: set[str] = set()
        self.targets_by_key: dict[str, set[Target]] = {}
        self._gone_for: dict[tuple[Target, str], ChangeRow] = {}
        listed = list(images)
        self.pinned = PinnedImages(listed)
        for image in listed:
            name = image.image_name or image.image_id  # versions and machine types have no other name
            self.open_by_key.setdefault(self.key_of(name), {}).setdefault(image.target, []).append(image)

    def key_of(self, name: str) -> str:
        """Return the normalised form of *name*, worked out once per name."""
        key = self.keys.get(name)
        if key is None:
            key = self.keys[name] = normalise_name(name)
            self._known_keys.add(key)
        return key

    def called_in_comment(self, slug: str, target: Target, image_set: str | None) -> Sequence[ImageRow]:
        """
        Return the images to use that came last at *target* of those that a comment calls *slug*.

        Of *image_set* (None: the one that `resolve` and the published ids are of), else of the only set that has any.
        None where nothing tells which of several sets or names is meant.
        """
        if self._slugs is None:
            self._slugs = {}
            for key in self.open_by_key:
                self._slugs.setdefault(name_in_comment(key), []).append(key)
        found: dict[str, dict[str, list[ImageRow]]] = {}
        for key in self._slugs.get(slug, ()):
            for one in self.open_by_key[key].get(target, ()):
                if not one.unusable:
                    found.setdefault(one.image_set, {}).setdefault(key, []).append(one)
        wanted = image_set or (KINDS[target.kind].default_set if target.kind in KINDS else "")
        by_name = found.get(wanted) or (next(iter(found.values())) if len(found) == 1 else {})
        return newest(next(iter(by_name.values()))) if len(by_name) == 1 else ()

    def zone_called(self, word: str) -> str:
        """Return the zone that *word* is but for its case; *word* itself where there is none."""
        return self._spelled.get(word.casefold(), word)

    def learn(
        self, stays: Iterable[Stay], withdrawals: Iterable[ChangeRow], listed: Iterable[tuple[Target, str]]
    ) -> None:
        """Add what was there before: images by id, their withdrawals, and targets with normalised names."""
        self.pinned.learn(stays)
        for target, key in listed:
            self.targets_by_key.setdefault(key, set()).add(target)
        for change in withdrawals:
            if change.image_id is not None:
                last = self._gone_for.get((change.target, change.image_id))
                if last is None or change.id > last.id:
                    self._gone_for[change.target, change.image_id] = change

    def fitting_keys(self, wanted: str) -> Collection[str]:
        """Return the normalised names that *wanted* names, by equality, but for its spaces, or as a glob."""
        key = normalise_name(wanted)
        if not is_glob(wanted):
            return (key if key in self._known_keys else normalise_name(known_name(wanted, self._known_keys)),)
        fits = _pattern(wanted.casefold()).match
        return {key} | {k for name, k in self.keys.items() if fits(k) or fits(name.casefold())}

    def told(self, at: datetime | None) -> str:
        """Write a moment for a detail."""
        return tell_moment(at, self.zone) if at else "the beginning"

    def ignorance(self, target: Target) -> PinVerdict | None:
        """Say why nothing is known of *target* now; None: it is known."""
        row = self.status[target]
        reason = reason_of(row.outcome, row.last_ok_at, self.now, self.stale_after)
        if reason is None:
            return None
        if reason == "stale":
            return PinVerdict(outcome="stale", detail=f"last observed well at {self.told(row.last_ok_at)}")
        said = f": {row.message}" if row.message else ""
        if row.last_ok_at is None:
            detail = f"never observed well{said}"
        elif row.is_absent:
            detail = f"asked no more: {reason} since {self.told(row.since)}"
        else:
            detail = f"{reason} since {self.told(row.since)}{said}"
        return PinVerdict(outcome="unknown", detail=detail)

    def withdrawal(self, target: Target, image_id: str) -> ChangeRow | None:
        """Return the last withdrawal of an image at *target*."""
        return self._gone_for.get((target, image_id))


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


# --- required names --------------------------------------------------------------------------------------------------


def required_at(index: Index, rule: Require, keys: Collection[str], target: Target) -> PinVerdict:
    """Judge a required name at one target."""
    ignorance = index.ignorance(target)
    if ignorance is not None:
        return ignorance
    images: list[ImageRow] = []
    no_use: list[ImageRow] = []
    for key in keys:
        for image in index.open_by_key.get(key, {}).get(target, ()):
            (no_use if image.unusable else images).append(image)
    present = [image for image in images if image.state == "present"]
    fitting = [image for image in present if not rule.gpu or image.attributes.get("gpu") is True]
    usable = [image for image in fitting if image.image_id not in index.revoked]
    if usable:
        last = _last_of(usable)
        return PinVerdict(outcome="ok", image_id=last.image_id, image_name=last.image_name, detail=last.image_name)
    held = [image for image in images if image.state != "present"]
    # One on hold may be there; where it surely has no GPU, that does not help.
    hopeful = [image for image in held if not rule.gpu or image.attributes.get("gpu") is not False]
    awaited = [image for image in hopeful if image.image_id not in index.revoked]
    if awaited:
        return _on_hold(_last_of(awaited))
    if fitting or hopeful:
        last = _last_of(fitting or hopeful)
        return PinVerdict(
            outcome="revoked", image_id=last.image_id, image_name=last.image_name,
            detail=f"revoked: {index.revoked[last.image_id]}",
        )  # fmt: skip
    if images:
        last = _last_of(present or held)
        if any(image.attributes.get("gpu") is None for image in present):
            return PinVerdict(
                outcome="unknown",
                image_id=last.image_id,
                image_name=last.image_name,
                detail="GPU support is not stated",
            )
        return PinVerdict(
            outcome="gpu-lost", image_id=last.image_id, image_name=last.image_name,
            detail=f"{last.image_name} does not support GPU",
        )  # fmt: skip
    if no_use:
        last = _last_of(no_use)
        if last.state != "present":
            return _on_hold(last)
        return PinVerdict(outcome="missing", image_id=last.image_id, image_name=last.image_name, detail=_no_use(last))
    if any(target in index.targets_by_key.get(key, ()) for key in keys):
        return PinVerdict(outcome="missing", detail="was listed before, is not any more")
    return PinVerdict(outcome="never-seen", detail="was never listed here")


def _last_of(images: Sequence[ImageRow]) -> ImageRow:
    """Return the image that came last, one of them where several came together."""
    return newest(images)[-1]


def _on_hold(image: ImageRow) -> PinVerdict:
    detail = "not listed by the last observation; the withdrawal is not believed yet"
    return PinVerdict(outcome="unknown", image_id=image.image_id, image_name=image.image_name, detail=detail)


def _no_use(image: ImageRow) -> str:
    """Tell of an image that is listed and cannot be used."""
    return f"{image.image_name or 'it'} is listed, but cannot be used ({image.unusable})"


# --- pinned ids ------------------------------------------------------------------------------------------------------


def pinned_at(index: Index, pin: PinRule, target: Target) -> PinVerdict:
    """Judge a pinned id at one target."""
    verdict = or_revoked(index, pin, _standing_at(index, pin, target))
    note = pin.place.note if pin.place else ""
    return replace(verdict, detail=f"{verdict.detail}; {note}") if note else verdict


def or_revoked(index: Index, pin: PinRule, verdict: PinVerdict) -> PinVerdict:
    """Return *verdict* as it is when somebody revoked the id, or the one that would take its place."""
    if verdict.successor is not None and verdict.successor in index.revoked:
        more = f"{verdict.successor}, which came after it, is revoked: {index.revoked[verdict.successor]}"
        detail = f"{verdict.detail}; {more}" if verdict.detail else more
        verdict = replace(verdict, successor=None, is_certain=False, detail=detail)
    reason = index.revoked.get(pin.image_id)
    return verdict if reason is None else replace(verdict, outcome="revoked", detail=f"revoked: {reason}")


def _standing_at(index: Index, pin: PinRule, target: Target) -> PinVerdict:
    image_id = pin.image_id
    standing = index.pinned.standing(target, image_id, gpu=pin.gpu)
    image, stay = standing.image, standing.stay
    ignorance = index.ignorance(target)
    name = standing.name
    if ignorance is not None:
        last = "last known as listed" if image else "last known as withdrawn" if stay else "never listed before"
        detail = f"{ignorance.detail}; {last}"
        return PinVerdict(outcome=ignorance.outcome, image_id=image_id, image_name=name, detail=detail)
    if standing.state == "gpu-unknown":
        return PinVerdict(outcome="unknown", image_id=image_id, image_name=name, detail="GPU support is not stated")
    if standing.state == "unknown" and image:
        return replace(_on_hold(image), image_name=name)
    outcome: CheckOutcome
    if standing.state == "unusable":
        # as one that is gone: whoever uses the id needs another
        outcome = "re-issued" if standing.successor else "ambiguous" if standing.successors else "missing"
    else:
        outcome = standing.state
    several = standing.successors if standing.successor is None else ()
    successor = standing.successor
    detail = _story(index, standing, index.withdrawal(target, image_id))
    if several:
        detail += f"; {', '.join(several)} came together later: nothing tells which to use"
    if outcome == "ok" and image and (ends := end_soon(image, index.now)):
        until = "was maintained until" if ends < index.now.astimezone(UTC).date() else "is maintained until"
        outcome, detail = "ending", f"{name} {until} {ends.isoformat()}"
    if outcome in ("missing", "never-seen") and pin.place and pin.place.named:
        own = image or stay
        named = index.called_in_comment(pin.place.named, target, own.image_set if own else None)
        if len(named) == 1:
            successor, name = named[0].image_id, name or named[0].image_name
            how = "there now" if named[0].state == "present" else "there, which is on hold"
            detail += f"; {named[0].image_name} is {successor} {how}"
    return PinVerdict(
        outcome=outcome, image_id=image_id, successor=successor, several=several, detail=detail, image_name=name,
        is_certain=_is_present(index, successor, target),
    )  # fmt: skip


def _is_present(index: Index, image_id: str | None, target: Target) -> bool:
    image = index.pinned.open.get(image_id or "", {}).get(target)
    return image is not None and image.state == "present"


def _story(index: Index, standing: PinStanding, change: ChangeRow | None) -> str:
    """Tell what became of a pinned id; *change* is its last withdrawal."""
    image, stay = standing.image, standing.stay
    if stay:
        after = f"after {show_moment(change.not_before, index.zone)} and " if change and change.not_before else ""
        gone_at = change.observed_at if change else stay.valid_to
        return f"{standing.name or 'it'} was withdrawn {after}by {index.told(gone_at)}"
    if image is None:
        return "was never listed here"
    if standing.state == "unusable":
        return _no_use(image)
    if standing.state == "gpu-lost":
        any_more = " any more" if standing.had_gpu else ""
        return f"does not support GPU{any_more}, since {index.told(image.valid_from)}"
    return standing.name


def zones_of(index: Index, image_id: str) -> Mapping[str, list[Target]]:
    """Return the zones in which an id is or was listed, each with the targets."""
    zones: dict[str, list[Target]] = {}
    for target in {**index.pinned.stays.get(image_id, {}), **index.pinned.open.get(image_id, {})}:
        if target in index.status:
            zones.setdefault(index.zone_called(target.zone), []).append(target)
    return zones


def zones_left_out(index: Index, pin: PinRule) -> set[str]:
    """Return the zones in which a pin's id is or was listed, at targets alone that are not selected."""
    wanted = {target for target in index.pinned.stays.get(pin.image_id, ()) if pin.scope.wants(target)}
    selected = {target for target in wanted if target in index.status}
    zones = {index.zone_called(target.zone) for target in selected}
    return {index.zone_called(target.zone) for target in wanted - selected} - zones
