"""How an image stands at one target: what is open there now and what was there before, found by id or by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import translate
from functools import cache

from crawler.domain.filters import is_glob, known_name
from crawler.domain.models import Target, normalise_name
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow, Stay
from crawler.domain.timefmt import show_moment, tell_moment
from crawler.queries.check.rules import CheckOutcome, Pin, Require

_ABSENT = ("retired", "deselected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What has to be looked up in the history: ids, and normalised names."""

    image_ids: frozenset[str]
    name_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a rule turned out at one target."""

    outcome: CheckOutcome
    image_id: str | None = None
    successor: str | None = None
    detail: str = ""


class Index:
    """The rows of the readers, found by target, id and name without looking at the others."""

    def __init__(
        self,
        status: Iterable[StatusRow],
        images: Iterable[ImageRow],
        now: datetime,
        stale_after: timedelta,
        zone: tzinfo = UTC,
    ) -> None:
        """*zone* is the time zone in which details tell times."""
        self.now = now
        self.stale_after = stale_after
        self.zone = zone
        self.status: dict[Target, StatusRow] = {}
        self.zones: dict[str, list[Target]] = {}
        self.open_by_id: dict[str, dict[Target, list[ImageRow]]] = {}
        self.open_by_key: dict[str, dict[Target, list[ImageRow]]] = {}
        #: Names as written, each with its normalised form.
        self.keys: dict[str, str] = {}
        self._known_keys: set[str] = set()
        self.stays_by_id: dict[str, dict[Target, list[Stay]]] = {}
        self.targets_by_key: dict[str, set[Target]] = {}
        self._gone_for: dict[tuple[Target, str], ChangeRow] = {}
        for row in status:
            self.status[row.target] = row
            self.zones.setdefault(row.target.zone, []).append(row.target)
        for image in images:
            self.open_by_id.setdefault(image.image_id, {}).setdefault(image.target, []).append(image)
            self.open_by_key.setdefault(self.key_of(image.image_name), {}).setdefault(image.target, []).append(image)

    def key_of(self, name: str) -> str:
        """Give the normalised form of *name*, worked out once per name."""
        key = self.keys.get(name)
        if key is None:
            key = self.keys[name] = normalise_name(name)
            self._known_keys.add(key)
        return key

    def zone_called(self, word: str) -> str:
        """Give the zone that *word* is but for its case; *word* itself where there is none."""
        if word in self.zones:
            return word
        return next((zone for zone in self.zones if zone.casefold() == word.casefold()), word)

    def learn(
        self, stays: Iterable[Stay], withdrawals: Iterable[ChangeRow], listed: Iterable[tuple[Target, str]]
    ) -> None:
        """Add what was there before: images by id, their withdrawals, and targets with normalised names."""
        for stay in stays:
            self.stays_by_id.setdefault(stay.image_id, {}).setdefault(stay.target, []).append(stay)
        for target, key in listed:
            self.targets_by_key.setdefault(key, set()).add(target)
        for change in withdrawals:
            if change.image_id is not None:
                last = self._gone_for.get((change.target, change.image_id))
                if last is None or change.id > last.id:
                    self._gone_for[change.target, change.image_id] = change

    def fitting_keys(self, wanted: str) -> Collection[str]:
        """Give the normalised names that *wanted* names, by equality, but for its spaces, or as a glob."""
        key = normalise_name(wanted)
        if not is_glob(wanted):
            return (key if key in self._known_keys else normalise_name(known_name(wanted, self._known_keys)),)
        fits = _pattern(wanted.casefold()).match
        return {key} | {k for name, k in self.keys.items() if fits(k) or fits(name.casefold())}

    def is_absent(self, target: Target) -> bool:
        """Tell whether *target* is asked no more."""
        return self.status[target].outcome in _ABSENT

    def is_closed(self, target: Target) -> bool:
        """Tell whether *target* never was open to this key."""
        row = self.status[target]
        return row.outcome == "denied" and row.last_ok_at is None

    def told(self, at: datetime | None) -> str:
        """Write a moment for a detail."""
        return tell_moment(at, self.zone) if at else "the beginning"

    def ignorance(self, target: Target) -> Verdict | None:
        """Say why nothing is known of *target* now; None: it is known."""
        row = self.status[target]
        if row.last_ok_at is None:
            return Verdict(outcome="unknown", detail=f"never observed well{f': {row.message}' if row.message else ''}")
        if self.is_absent(target):
            return Verdict(outcome="unknown", detail=f"asked no more: {row.outcome} since {self.told(row.since)}")
        if row.outcome not in ("ok", "held"):
            told = f": {row.message}" if row.message else ""
            return Verdict(outcome="unknown", detail=f"{row.outcome} since {self.told(row.since)}{told}")
        if self.now - row.last_ok_at > self.stale_after:
            return Verdict(outcome="stale", detail=f"last observed well at {self.told(row.last_ok_at)}")
        return None

    def withdrawal(self, target: Target, image_id: str) -> ChangeRow | None:
        """Give the last withdrawal of an image at *target*."""
        return self._gone_for.get((target, image_id))

    def successor(self, target: Target, stay: Stay) -> str | None:
        """
        Give the open image that stands for a withdrawn one now.

        It is the end of the chain of re-issues where that is open, else the image of the same set and name that came
        last; None when there is none, or several came together.
        """
        seen = {stay.image_id}
        image_id: str | None = stay.image_id
        while image_id is not None:
            change = self.withdrawal(target, image_id)
            image_id = change.counterpart if change else None
            if image_id is None or image_id in seen:
                break
            if target in self.open_by_id.get(image_id, {}):
                return self._newest(target, self.open_by_id[image_id][target][0])
            seen.add(image_id)
        named = self.open_by_key.get(self.key_of(stay.image_name), {}).get(target, []) if stay.image_name else []
        return newest_id([image for image in named if image.image_set == stay.image_set])

    def _newest(self, target: Target, image: ImageRow) -> str:
        """Give the image that supersedes *image*, or itself."""
        return image.superseded_by or image.image_id


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def newest_id(images: Iterable[ImageRow]) -> str | None:
    """Give the id of the image that came last; None when there is none, or several came together."""
    rows = list(images)
    came = max((image.present_since for image in rows), default=None)
    ids = {image.image_id for image in rows if image.present_since == came}
    return ids.pop() if len(ids) == 1 else None


# --- required names --------------------------------------------------------------------------------------------------


def required_at(index: Index, rule: Require, keys: Collection[str], target: Target) -> Verdict:
    """Judge a required name at one target."""
    ignorance = index.ignorance(target)
    if ignorance is not None:
        return ignorance
    images = [image for key in keys for image in index.open_by_key.get(key, {}).get(target, ())]
    present = [image for image in images if image.state == "present"]
    fitting = [image for image in present if not rule.gpu or image.attributes.get("gpu") is True]
    if fitting:
        newest = _newest_of(fitting)
        return Verdict(outcome="ok", image_id=newest.image_id, detail=newest.image_name)
    held = [image for image in images if image.state != "present"]
    # One on hold may be there; where it surely has no GPU, that does not help.
    hopeful = [image for image in held if not rule.gpu or image.attributes.get("gpu") is not False]
    if hopeful:
        return _on_hold(_newest_of(hopeful))
    if images:
        newest = _newest_of(present or held)
        if any(image.attributes.get("gpu") is None for image in present):
            return Verdict(outcome="unknown", image_id=newest.image_id, detail="GPU support is not stated")
        return Verdict(outcome="gpu-lost", image_id=newest.image_id, detail=f"{newest.image_name} does not support GPU")
    if any(target in index.targets_by_key.get(key, ()) for key in keys):
        return Verdict(outcome="missing", detail="was listed before, is not any more")
    return Verdict(outcome="never-seen", detail="was never listed here")


def _newest_of(images: Iterable[ImageRow]) -> ImageRow:
    """Give the image that came last, one of them where several came together."""
    return max(images, key=lambda image: (image.present_since, image.image_id))


def _on_hold(image: ImageRow) -> Verdict:
    detail = "not listed by the last observation; the withdrawal is not believed yet"
    return Verdict(outcome="unknown", image_id=image.image_id, detail=detail)


# --- pinned ids ------------------------------------------------------------------------------------------------------


def pinned_at(index: Index, pin: Pin, target: Target) -> Verdict:
    """Judge a pinned id at one target."""
    image_id = pin.image_id
    rows = index.open_by_id.get(image_id, {}).get(target, [])
    stays = index.stays_by_id.get(image_id, {}).get(target, [])
    ignorance = index.ignorance(target)
    if ignorance is not None:
        last = "last known as listed" if rows else "last known as withdrawn" if stays else "never listed before"
        return Verdict(outcome=ignorance.outcome, image_id=image_id, detail=f"{ignorance.detail}; {last}")
    if rows:
        row = min(rows, key=lambda image: image.state)
        return _on_hold(row) if row.state != "present" else _open(index, pin, row, stays)
    if not stays:
        return Verdict(outcome="never-seen", image_id=image_id, detail="was never listed here")
    stay = max(stays, key=lambda stay: stay.valid_from)
    change = index.withdrawal(target, image_id)
    after = f"after {show_moment(change.not_before, index.zone)} and " if change and change.not_before else ""
    gone_at = change.observed_at if change else stay.valid_to
    detail = f"{stay.image_name or 'it'} was withdrawn {after}by {index.told(gone_at)}"
    successor = index.successor(target, stay)
    outcome: CheckOutcome = "re-issued" if successor else "missing"
    return Verdict(outcome=outcome, image_id=image_id, successor=successor, detail=detail)


def _open(index: Index, pin: Pin, row: ImageRow, stays: Iterable[Stay]) -> Verdict:
    gpu = row.attributes.get("gpu")
    had = any(stay.attributes.get("gpu") is True for stay in stays)
    if gpu is False and (pin.gpu or (pin.gpu is None and had)):
        detail = f"does not support GPU{' any more' if had else ''}, since {index.told(row.valid_from)}"
        return Verdict(outcome="gpu-lost", image_id=row.image_id, successor=row.superseded_by, detail=detail)
    if gpu is None and pin.gpu:
        return Verdict(outcome="unknown", image_id=row.image_id, detail="GPU support is not stated")
    outcome: CheckOutcome = "superseded" if row.superseded_by else "ok"
    return Verdict(outcome=outcome, image_id=row.image_id, successor=row.superseded_by, detail=row.image_name)


def zones_of(index: Index, image_id: str) -> Mapping[str, list[Target]]:
    """Give the zones in which an id is or was listed, each with the targets."""
    zones: dict[str, list[Target]] = {}
    for target in {**index.stays_by_id.get(image_id, {}), **index.open_by_id.get(image_id, {})}:
        if target in index.status:
            zones.setdefault(target.zone, []).append(target)
    return zones
