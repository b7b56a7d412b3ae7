"""
A policy gate: are the required images there, and the pinned ids still good? What nobody knows never passes silently.

Two steps, because most rules need no past: `Check(…)` takes what is open now and says what it has to know of the past
(`past`, then `learn`); `judge` gives the rows. Everything is found in indexes made once, so the work grows with the
rules and with the images, not with their product.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from types import MappingProxyType

from crawler.domain.filters import NOT, is_glob, part_fits
from crawler.domain.matrix import boots, is_of_matrix, told_variants
from crawler.domain.models import DEFAULT_VARIANT, Target
from crawler.domain.reissues import the_one
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow, Stay
from crawler.queries.check.rules import (
    DEFAULT_KIND,
    MACHINES,
    OUT_OF_SCOPE,
    CheckOutcome,
    CheckRow,
    Group,
    PinRule,
    Require,
)
from crawler.queries.check.standing import (
    NOTHING_REVOKED,
    Index,
    PinPast,
    PinVerdict,
    or_revoked,
    pinned_at,
    required_at,
    zones_left_out,
    zones_of,
)

#: Nothing is known of their parameters.
NO_VARIANTS: Mapping[tuple[str, str], Mapping[str, str]] = MappingProxyType({})


class Check:
    """Judges rules against the open *images* at the targets whose *status* is given, absent ones included."""

    def __init__(
        self,
        rules: Sequence[Require | PinRule],
        status: Iterable[StatusRow],
        images: Iterable[ImageRow],
        *,
        now: datetime,
        stale_after: timedelta,
        zone: tzinfo = UTC,
        revoked: Mapping[str, str] = NOTHING_REVOKED,
        variants: Mapping[tuple[str, str], Mapping[str, str]] = NO_VARIANTS,
        known_zones: Iterable[str] = (),
    ) -> None:
        """
        *zone* is the time zone in which details tell times; *revoked* ids have the reason why; *variants* are the
        request parameters by account and name; *known_zones* are known to the history, of whatever kind.
        """
        self.rules = rules
        self._variants = variants
        self._index = Index(status, images, now, stale_after, zone, revoked)
        self._known_zones = {zone.casefold() for zone in (*known_zones, *self._index.zones)}
        #: Of those that are asked for, open to the key or not.
        self._kinds = {target.kind for target, row in self._index.status.items() if not row.is_absent}
        self._zones: dict[tuple[str, ...], list[str]] = {}
        self._keys: dict[str, Collection[str]] = {}

    def past(self, names: Iterable[str] = ()) -> PinPast:
        """
        Return what the rules need to know of the past.

        *names*: every image name ever recorded, and ids where there is none, for globs that fit nothing that is open.
        """
        for name in names:
            self._index.key_of(name)
        self._keys.clear()
        missing: set[str] = set()
        for rule in self.rules:
            if isinstance(rule, Require):
                keys = self._keys_of(rule)
                if any(not self._is_listed(keys, target) for _, target in self._targets(rule)):
                    missing.update(keys)
        pinned = frozenset(rule.image_id for rule in self.rules if isinstance(rule, PinRule))
        return PinPast(image_ids=pinned, name_keys=frozenset(missing))

    def learn(
        self, stays: Iterable[Stay], withdrawals: Iterable[ChangeRow], listed: Iterable[tuple[Target, str]]
    ) -> None:
        """
        Take the past that was asked for.

        *stays* and *withdrawals* of the images asked for, and the targets that *listed* each name asked for.
        """
        self._index.learn(stays, withdrawals, listed)

    def judge(self) -> Iterator[CheckRow]:
        """Return the rows, rule by rule, zone by zone."""
        for rule in self.rules:
            yield from self._required(rule) if isinstance(rule, Require) else self._pinned(rule)

    # --- required names ----------------------------------------------------------------------------------------------

    def _required(self, rule: Require) -> Iterator[CheckRow]:
        keys = self._keys_of(rule)
        by_zone: dict[str, list[Target]] = {}
        for zone, target in self._targets(rule):
            by_zone.setdefault(zone, []).append(target)
        judged: list[str] = []
        for zone in self._zones_of(rule):
            targets = by_zone.get(zone)
            if targets:
                judged.append(zone)
                yield from self._rows(rule, zone, targets, lambda target: required_at(self._index, rule, keys, target))
            elif any(not self._is_out(target) and _is_of_kind(rule, target) for target in self._index.zones[zone]):
                judged.append(zone)
                yield _not_asked(rule, zone)
        # Silence would pass.
        if not judged:
            detail = "no zone that the rule is about is asked"
            yield _row(rule, None, PinVerdict(outcome="not-asked", detail=detail))
            return
        for word in self._words_unjudged(rule, judged):
            if is_glob(word):
                detail = f"no zone that fits {word} is asked"
                yield _row(rule, None, PinVerdict(outcome="not-asked", detail=detail))
            else:
                yield _not_asked(rule, self._index.zone_called(word))

    def _words_unjudged(self, rule: Require, judged: Collection[str]) -> Iterator[str]:
        """Return the words of a rule that fit none of the zones *judged*, but for those that it leaves out itself."""
        for word in rule.zones:
            if word in judged or word.startswith(NOT) or any(part_fits("zone", zone, [word]) for zone in judged):
                continue
            fitting = [zone for zone in self._index.zones if part_fits("zone", zone, [word])] or [word]
            if any(part_fits("zone", zone, rule.zones) for zone in fitting):
                yield word

    def _targets(self, rule: Require) -> Iterator[tuple[str, Target]]:
        """Return the zones of a rule with their targets; places out of reach only where the rule names their zone."""
        named = {zone.casefold() for zone in rule.zones}
        for zone in self._zones_of(rule):
            wanted = [target for target in self._index.zones[zone] if rule.scope.wants(target)]
            reached = [target for target in wanted if not self._is_out(target)]
            is_shown = zone.casefold() in named and not self._is_dropped(rule, zone, wanted)
            for target in reached or (wanted if is_shown else []):
                yield zone, target

    def _zones_of(self, rule: Require) -> list[str]:
        zones = self._zones.get(rule.zones)
        if zones is None:
            known = self._index.zones
            zones = sorted(zone for zone in known if part_fits("zone", zone, rule.zones))
            self._zones[rule.zones] = zones
        return zones

    def _keys_of(self, rule: Require) -> Collection[str]:
        keys = self._keys.get(rule.name)
        if keys is None:
            keys = self._keys[rule.name] = self._index.fitting_keys(rule.name)
        return keys

    def _is_listed(self, keys: Collection[str], target: Target) -> bool:
        return any(target in self._index.open_by_key.get(key, ()) for key in keys)

    def _is_out(self, target: Target) -> bool:
        return not self._index.status[target].is_live

    # --- pinned ids --------------------------------------------------------------------------------------------------

    def _pinned(self, pin: PinRule) -> Iterator[CheckRow]:
        index = self._index
        lives = {
            zone: [target for target in targets if pin.scope.wants(target)]
            for zone, targets in zones_of(index, pin.image_id).items()
        }
        lives = {zone: targets for zone, targets in lives.items() if targets}
        if not lives and (kind := MACHINES.get(pin.place.resource if pin.place else "")) and kind not in self._kinds:
            detail = f"its images are of the kind {kind}, which nobody asks for"
            yield self._unjudged(pin, pin.zone, OUT_OF_SCOPE, detail)
            return
        if pin.zone is None and not lives:
            yield self._nowhere(pin)
            return
        left_out = frozenset(zones_left_out(index, pin)) if pin.zone is None else frozenset()
        for zone in [index.zone_called(pin.zone)] if pin.zone is not None else sorted(lives):
            if zone.casefold() not in self._known_zones:
                detail = f"the history knows no zone {zone}{_nearest(zone, index.zones)}"
                yield self._unjudged(pin, zone, "unknown", detail)
                continue
            wanted = [target for target in index.zones.get(zone, ()) if pin.scope.wants(target)]
            meant = self._meant(pin, wanted, lives.get(zone, [])) if wanted else None
            if meant is None or self._is_dropped(pin, zone, wanted):
                yield self._unjudged(pin, zone, "not-asked", _why_not_asked(pin, zone))
                continue
            targets = [target for target in meant if not self._is_out(target)] or meant
            elsewhere = sorted(lives.keys() - {zone})
            for row in self._rows(pin, zone, targets, lambda target: pinned_at(index, pin, target)):
                if left_out:
                    yield replace(row, zones_left_out=left_out)
                elif row.outcome == "never-seen" and elsewhere:
                    yield _with_detail(row, f"it lives in {', '.join(elsewhere)}")
                else:
                    yield row

    def _meant(self, pin: PinRule, wanted: list[Target], listed: list[Target]) -> list[Target] | None:
        """
        Return at which of the *wanted* targets of a zone a pin is judged; None: nobody asks about its machine.

        *listed* are those that list it, or did. Of a node group it is where its machine is asked about. Else `default`
        goes before the matrix, where both list it: nobody knows which machine the pin is for.
        """
        # an image of one project only says nothing about the others
        known = listed or [target for target in wanted if target.kind == self._kind_of(pin)] or wanted
        if pin.scope.variant:
            return known
        if pin.group is not None and pin.group.is_special:
            fitting = [target for target in wanted if not self._is_out(target) and self._is_about(target, pin.group)]
            if fitting:
                return [target for target in listed if target in fitting] or fitting
            if not listed:
                return None
        return [target for target in known if not is_of_matrix(target.variant)] or known

    def _is_about(self, target: Target, group: Group) -> bool:
        parameters = self._variants.get((target.account, target.variant), {})
        return boots(parameters, group.machine, group.k8s_version)

    def _is_dropped(self, rule: Require | PinRule, zone: str, wanted: Collection[Target]) -> bool:
        """Return whether the variant of a rule is asked no more in a zone that is asked otherwise."""
        others = self._index.zones.get(zone, ())
        is_special = bool(rule.scope.variant) and rule.scope.variant != (DEFAULT_VARIANT,)
        is_out = bool(wanted) and all(map(self._is_out, wanted))
        return is_special and is_out and any(not self._is_out(own) and _is_of_kind(rule, own) for own in others)

    def _kind_of(self, pin: PinRule) -> str:
        """Return the kind whose images a pin is one of, where none is known yet to be it."""
        kind = MACHINES.get(pin.place.resource if pin.place else "", "")
        return kind if kind in self._kinds else DEFAULT_KIND

    def _unjudged(self, pin: PinRule, zone: str | None, outcome: CheckOutcome, detail: str) -> CheckRow:
        """Return the row of a pin that is judged at no target; a revoked one is revoked wherever it is."""
        verdict = PinVerdict(outcome=outcome, image_id=pin.image_id, detail=detail)
        return _row(pin, zone, or_revoked(self._index, pin, verdict))

    def _nowhere(self, pin: PinRule) -> CheckRow:
        """Judge a bare id that was never seen anywhere: surely so only where every place is known."""
        wanted = [t for t in self._index.status if pin.scope.wants(t)]
        wanted = [t for t in wanted if t.kind == self._kind_of(pin)] or wanted
        asked = [t for t in wanted if not self._is_out(t)]
        if not asked:
            return self._unjudged(pin, None, "not-asked", "no target that the rule is about is asked")
        doubts = [(t, verdict) for t in asked if (verdict := self._index.ignorance(t)) is not None]
        detail = "was never listed anywhere"
        if doubts:
            zones = sorted({target.place for target, _ in doubts})
            detail += f"; not known in {', '.join(zones[:5])}{' …' if len(zones) > 5 else ''}"
        outcome: CheckOutcome = "never-seen"
        if len(doubts) == len(asked):
            outcome = "stale" if all(verdict.outcome == "stale" for _, verdict in doubts) else "unknown"
        return self._unjudged(pin, None, outcome, detail)

    def _rows(
        self, rule: Require | PinRule, zone: str, targets: Sequence[Target], judge: Callable[[Target], PinVerdict]
    ) -> Iterator[CheckRow]:
        """Judge a rule at the targets of one zone; those that agree share a row."""
        groups: dict[tuple[object, ...], tuple[PinVerdict, list[Target]]] = {}
        for target in targets:
            verdict = judge(target)
            key = (verdict.outcome, verdict.image_id, verdict.successor, verdict.several, verdict.is_certain)
            groups.setdefault(key, (verdict, []))[1].append(target)
        for verdict, where in groups.values():
            row = _row(rule, zone, verdict, where, [self._index.status[target].last_ok_at for target in where])
            yield row if len(groups) == 1 else _with_detail(row, _told(where, targets))


def _row(
    rule: Require | PinRule,
    zone: str | None,
    verdict: PinVerdict,
    targets: Sequence[Target] = (),
    observed: Sequence[datetime | None] = (),
) -> CheckRow:
    place = rule.place if isinstance(rule, PinRule) else None
    group = rule.group if isinstance(rule, PinRule) else None
    return CheckRow(
        rule=rule.label,
        zone=zone,
        image_id=verdict.image_id,
        outcome=verdict.outcome,
        successor=verdict.successor,
        detail=verdict.detail,
        source=rule.source,
        file=rule.file or None,
        line=place.line or None if place else None,
        address=place.address or None if place else rule.source.removeprefix(f"{rule.file}, ") or None,
        image_name=verdict.image_name or None,
        account=the_one(list({target.account for target in targets})),
        project=the_one(list({target.project for target in targets})),
        observed_at=min((at for at in observed if at), default=None),
        effect=place.effect if place else None,
        cluster_id=group.cluster_id or None if group else None,
        cluster_name=group.cluster_name or None if group else None,
        node_group_id=group.node_group_id or None if group else None,
        place=place,
        is_certain=verdict.is_certain,
    )


def _with_detail(row: CheckRow, more: str) -> CheckRow:
    return replace(row, detail=f"{row.detail}; {more}" if row.detail else more)


def _is_of_kind(rule: Require | PinRule, target: Target) -> bool:
    return not rule.scope.kind or part_fits("kind", target.kind, rule.scope.kind)


def _told(where: Sequence[Target], among: Sequence[Target]) -> str:
    """Name the targets of a group by the part in which the targets of the zone differ."""
    for part in ("region", "project", "variant", "account", "kind"):
        if len({getattr(target, part) for target in among}) > 1:
            values = sorted({getattr(target, part) for target in where})
            if part == "variant":
                values = list(told_variants(values, {target.variant for target in among}))
            more = f" and {len(values) - 3} more" if len(values) > 3 else ""
            return f"{part} {', '.join(values[:3])}{more}"
    return ""


def _nearest(zone: str, known: Iterable[str]) -> str:
    near = get_close_matches(zone, known, n=1)
    return f"; the nearest: {near[0]}" if near else ""


def _not_asked(rule: Require, zone: str) -> CheckRow:
    return _row(rule, zone, PinVerdict(outcome="not-asked", detail=_why_not_asked(rule, zone)))


def _why_not_asked(rule: Require | PinRule, zone: str) -> str:
    scope = rule.scope
    group = rule.group if isinstance(rule, PinRule) else None
    machine = f"{group.machine} with Kubernetes {group.k8s_version or '?'}" if group and group.is_special else ""
    given = scope.given(("variant", "project", "account", "region", "kind"))
    told = " and ".join(f"{part} {', '.join(globs)}" for part, globs in given.items())
    if machine:
        return f"{zone} is not asked about machines {machine}"
    return f"{zone} is not asked with {told}" if told else f"{zone} is not asked about such images"
