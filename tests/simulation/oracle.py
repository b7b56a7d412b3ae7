"""
The oracle: what a perfect observer could know, kept as plain lists and worked out anew for every question.

It hears what every call brought and follows the contract's own words, with none of the product's code: which targets a
run must ask, what each observation means, which changes it has to record. `answers.py` and `expected_*.py` tell what it
answers when it is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase

from tests.simulation.cloud import Said
from tests.simulation.model import Key, Spot, Stated
from tests.simulation.past import Away, Doubt, Expected, Floor, Outcome, Past, Ran, Seen, Span, normalised

Wish = Mapping[str, Sequence[str]]
"""Globs by `project`, `region`, `zone`; what is not named is not narrowed."""

#: Projects, and places as region and zone.
Catalog = tuple[frozenset[str], frozenset[tuple[str, str]]]
#: The projects of a key that may not list them.
_NO_LIST = frozenset({"default"})


class Oracle:
    """Hears everything, forgets nothing."""

    def __init__(self, *, confirmations: int = 2, min_images: int = 2, ratio: float = 0.5) -> None:
        self.pasts: dict[Spot, Past] = {}
        self.changes: list[Expected] = []
        self._guard = (confirmations, min_images, ratio)
        #: Projects and places of the last good discovery that counted.
        self._catalog: Catalog | None = None
        #: No run looked at all that it listed yet, which has not opened since.
        self._is_narrow = False
        self._unlisted: frozenset[Spot] = frozenset()
        #: Zones whose number is beyond doubt: a good answer stated it throughout, in a run with a good discovery.
        self.numbered: set[str] = set()
        self._is_catalog_good = False
        self.runs: list[Ran] = []

    # --- catalog and targets (3.3) -----------------------------------------------------------------------------------

    def started(self) -> None:
        """A run begins: what a dead one had recorded counts from now on."""
        for ran in self.runs[-1:]:
            if ran.finished_at is None and ran.died_at is not None:
                self.finished(ran, ran.died_at)

    def planned(
        self, log: Iterable[Said], at: datetime, *, wish: Wish, restriction: Wish | None
    ) -> tuple[frozenset[Spot], bool]:
        """Take what discovery heard; give the targets to ask, and whether the account may ask at all."""
        projects, places, is_refused = _heard(log)
        is_good = self._is_catalog_good = projects is not None and places is not None
        catalog: Catalog | None = (projects, places) if projects is not None and places is not None else self._catalog
        if projects == _NO_LIST and self._catalog is not None and self._catalog[0] != _NO_LIST:
            # The list was open before: a refusal now is no discovery, and the known projects are asked on.
            is_good = False
            catalog = (self._catalog[0], places or self._catalog[1])
        listed = _spots(catalog, wish)
        wanted = listed | {spot for spot, past in self.pasts.items() if _fits(spot, wish) and not _is_retired(past)}
        final = {spot for spot in wanted if spot not in self._retiring(listed, catalog, is_good, restriction)}
        asked = frozenset(spot for spot in final if restriction is None or _fits(spot, restriction))
        if not asked and catalog is not None:
            return asked, not is_refused  # an empty selection: the run does not begin
        if is_good:
            for spot in listed & self.pasts.keys():
                self.pasts[spot].missing = self.pasts[spot].needed = 0
        if restriction is None:
            self._count(listed, catalog, at, wish=wish, is_good=is_good)
        there = _spots(self._catalog, wish) if self._is_narrow else ()
        for spot in sorted(asked):
            self._take_up(spot, at, is_news=spot not in there)
        self._unlisted = asked - (listed if is_good else _spots(self._catalog or catalog, wish))
        if is_good and (restriction is None or self._catalog is None):
            self._catalog = catalog
            self._is_narrow = restriction is not None
        elif restriction is None:
            self._is_narrow = False
        return asked, not is_refused

    def _retiring(
        self, listed: Collection[Spot], catalog: Catalog | None, is_good: bool, restriction: Wish | None
    ) -> frozenset[Spot]:
        if not is_good or restriction is not None:
            return frozenset()
        return frozenset(
            spot
            for spot, past in self.pasts.items()
            if spot not in listed and past.missing + 1 >= max(past.needed, self._patience(catalog))
        )

    def _patience(self, catalog: Catalog | None) -> int:
        """Three good discoveries; nine when this one lists half of the last, or less, of anything."""
        before, now = self._catalog, catalog
        if before is None or now is None:
            return 3
        return 9 if any(len(now[i]) < len(before[i]) and len(now[i]) * 2 <= len(before[i]) for i in (0, 1)) else 3

    def _count(
        self, listed: Collection[Spot], catalog: Catalog | None, at: datetime, *, wish: Wish, is_good: bool
    ) -> None:
        for spot, past in self.pasts.items():
            if spot in listed:
                continue
            if not _fits(spot, wish):
                if past.away is None:
                    past.aways.append(Away("deselected", at))
                    past.missing = past.needed = 0
                continue
            if not is_good or _is_retired(past):
                continue
            past.needed = max(past.needed, self._patience(catalog))
            past.missing += 1
            if past.missing >= past.needed:
                past.missing = past.needed = 0
                if past.away is not None:
                    past.away.end = at
                past.aways.append(Away("retired", at))
                self.changes.append(Expected(spot, "target_retired", at))

    def _take_up(self, spot: Spot, at: datetime, *, is_news: bool) -> None:
        """A target is asked: it may be new, or back."""
        past = self.pasts.get(spot)
        is_back = past is not None and _is_retired(past)
        if past is None:
            self.pasts[spot] = Past()
        elif past.away is not None:
            past.away.end = at
        if (past is None or is_back) and self._catalog is not None and is_news:
            self.changes.append(Expected(spot, "target_added", at))

    # --- observations (3.4, 3.5) -------------------------------------------------------------------------------------

    def observed(
        self,
        answers: Mapping[Spot, Sequence[Said]],
        reached: Collection[Spot],
        started_at: datetime,
        *,
        planned: int,
        is_restricted: bool,
    ) -> Ran:
        """Take what the calls of a run brought; give the run, with the outcome of every target it got to."""
        new = [spot for spot in reached if self.pasts[spot].good is None]
        outcomes = {spot: self._outcome(spot, answers.get(spot, ()), started_at) for spot in sorted(reached)}
        ran = Ran(
            number=len(self.runs) + 1,
            started_at=started_at,
            is_restricted=is_restricted,
            planned=planned,
            outcomes=outcomes,
            baselines={spot: len(self.pasts[spot].spans) for spot in new if self.pasts[spot].good is not None},
        )
        self.runs.append(ran)
        return ran

    def finished(self, ran: Ran, at: datetime) -> None:
        """The run has ended at *at*."""
        ran.finished_at = at
        if self._is_catalog_good:
            self.numbered |= {spot.zone for spot in ran.outcomes if _states_its_number(self.pasts[spot])}
        for spot, outcome in ran.outcomes.items():
            self.pasts[spot].observations.append(Seen(at, outcome, ran.started_at))

    def wants_second_look(self, spot: Spot, said: Said) -> bool:
        """Return whether the target has to be asked again after this answer, which is good."""
        past = self.pasts[spot]
        held, doubted = self._doubtful(past, said)
        waiting = frozenset().union(*(doubt.keys for doubt in past.open_doubts if doubt.is_unread))
        return past.good is not None and bool(held or doubted & waiting)

    def is_refused(self, spot: Spot, said: Said) -> bool:
        """Return whether this answer, which states RetCode 0, is none to the question, or was not understood."""
        past, heard = self.pasts.get(spot, Past()), said.heard
        is_unread = not heard.listed and heard.unreadable > past.unreadable
        is_short = past.good is not None and bool(heard.excess) and heard.excess != past.excess
        return heard.is_of_another or heard.is_shapeless or is_unread or is_short

    def sees_through(self, spot: Spot, said: Said) -> bool:
        """Return whether the contract lets nobody be deceived by this answer, which is an odd or a partial lie."""
        past = self.pasts.get(spot, Past())
        if said.heard.mark == "odd" or self.is_refused(spot, said):
            return self.is_refused(spot, said)
        if past.good is None or said.heard.unreadable > _usually_unreadable(past, said):
            return True
        missed = (past.open_spans.keys() & said.offered) - said.listed.keys()
        unconfirmed = [doubt.keys for doubt in past.open_doubts if said.heard.unreadable > doubt.readable_from]
        return missed <= frozenset().union(*unconfirmed)

    def _outcome(self, spot: Spot, said: Sequence[Said], started_at: datetime) -> Outcome:
        good = [answer for answer in said if answer.meaning == "good" and not self.is_refused(spot, answer)]
        past = self.pasts[spot]
        past.every_answer += [answer for answer in said if answer.meaning == "good"]
        if good:
            return self._learn(spot, past, good[-1], started_at)
        if not said:
            return "skipped"
        is_expected = past.good is None or spot in self._unlisted
        is_denied = said[-1].meaning == "denied" and not any(answer.meaning == "good" for answer in said)
        return "denied" if is_denied and is_expected else "failed"

    def _learn(self, spot: Spot, past: Past, said: Said, started_at: datetime) -> Outcome:
        at, floor = said.at, past.good
        if floor is None:
            past.good = (started_at, at)
            past.answers.append(said)
            past.unreadable, past.excess = said.heard.unreadable, said.heard.excess or 0
            past.spans += [Span(key, dict(stated), at, at, is_baseline=True) for key, stated in said.listed.items()]
            return "ok"
        held, lifted = self._doubtful(past, said)
        usual = _usually_unreadable(past, said)
        is_worse = said.heard.unreadable > usual
        past.good = (started_at, at)
        past.answers.append(said)
        _release(past, said)
        present = past.open_spans
        waiting = frozenset().union(*(doubt.keys for doubt in past.open_doubts))
        partner = _counterparts(present, said.listed)
        is_shaken = bool(held) and not is_worse
        measured_by = usual
        for doubt in past.open_doubts:
            if said.heard.unreadable > doubt.readable_from:
                continue
            if doubt.is_unread and doubt.keys & lifted:
                doubt.is_unread, is_shaken = False, True
                usual = min(usual, doubt.readable_from)
                continue
            doubt.confirmations += 1
            if doubt.is_unread or doubt.confirmations >= self._guard[0]:
                doubt.status, doubt.ended_at = "confirmed", at
                for key in sorted(doubt.keys & present.keys()):
                    self._withdraw(spot, present[key], doubt.held_at, doubt.floor, partner)
            else:
                is_shaken = True
                usual = min(usual, doubt.readable_from)
        for key in sorted(present.keys() - said.listed.keys() - waiting - held):
            self._withdraw(spot, present[key], at, floor, partner)
        for key, stated in said.listed.items():
            if key in present:
                self._update(spot, past, present[key], stated, at, floor)
            else:
                event = "returned" if any(span.key == key for span in past.spans) else "appeared"
                past.spans.append(Span(key, dict(stated), at, at, is_baseline=False))
                self._change(spot, event, key, stated, at, floor, partner)
        if held:
            past.doubts.append(Doubt(held, at, floor, measured_by, is_unread=is_worse))
        past.unreadable = usual if is_shaken else said.heard.unreadable
        if not is_shaken:
            past.excess = past.excess if said.heard.excess is None else said.heard.excess
        return "held" if past.open_doubts else "ok"

    def _doubtful(self, past: Past, said: Said) -> tuple[frozenset[Key], frozenset[Key]]:
        """
        Return what this answer lacks for the first time and is not believed about, and what is doubted as a whole.

        The latter also holds what waited for an answer that can be read, which this one is.
        """
        _, min_images, ratio = self._guard
        present, listed = past.open_spans, said.listed.keys()
        lasting = [doubt for doubt in past.open_doubts if _stays(doubt, said) or not doubt.keys & listed]
        read = [doubt for doubt in lasting if doubt.is_unread and said.heard.unreadable <= doubt.readable_from]
        waiting = frozenset().union(*(doubt.keys for doubt in lasting if doubt not in read))
        had = present.keys() - waiting
        fresh = had - listed - frozenset().union(*(doubt.keys for doubt in read))
        is_at_home = {span.key.image_id for span in past.spans} & {key.image_id for key in listed}
        partner = _counterparts(present, said.listed) if is_at_home else {}
        lost = frozenset(key for key in had - listed if partner.get(key) not in listed)
        is_much = lost == had or (len(lost) >= min_images and len(lost) >= ratio * len(had))
        of_set = Counter(key.image_set for key in present)
        emptied = {key.image_set for key in lost} - {key.image_set for key in listed}
        doubted = lost if is_much or any(of_set[name] >= min_images for name in emptied) else frozenset()
        if said.heard.unreadable > _usually_unreadable(past, said):
            return frozenset(fresh), doubted
        return frozenset(fresh & doubted), doubted

    def _withdraw(self, spot: Spot, span: Span, at: datetime, floor: Floor, partner: Mapping[Key, Key]) -> None:
        span.valid_to = at
        self._change(spot, "withdrawn", span.key, span.stated, at, floor, partner)

    def _change(
        self, spot: Spot, event: str, key: Key, stated: Stated, at: datetime, floor: Floor, partner: Mapping[Key, Key]
    ) -> None:
        other = partner.get(key)
        name = str(stated.get("image_name", ""))
        self.changes.append(
            Expected(spot, event, at, key, name, counterpart=other.image_id if other else None, floor=floor)
        )

    def _update(self, spot: Spot, past: Past, span: Span, stated: Stated, at: datetime, floor: Floor) -> None:
        """
        Only known → different known is a change; what is learned is filled in; what is not stated stays.

        A number of the zone is taken with either, and never by itself.
        """
        known = span.stated
        fields = {
            name: [known[name], value]
            for name, value in stated.items()
            if name in known and known[name] != value and name != "zone_id"
        }
        merged = {**known, **stated} if fields or stated.keys() - known.keys() else known
        if not fields:
            span.stated = merged
            return
        span.valid_to = at
        past.spans.append(Span(span.key, merged, at, span.since, is_baseline=False))
        name = str(merged.get("image_name", ""))
        self.changes.append(Expected(spot, "modified", at, span.key, name, fields=fields, floor=floor))


def _release(past: Past, said: Said) -> None:
    """End the doubts that the answer proves wrong; where records could not be read, of those images that it lists."""
    for doubt in past.open_doubts:
        back = doubt.keys & said.listed.keys()
        if _is_dissolved(doubt, said):
            doubt.status, doubt.ended_at = "dissolved", said.at
        elif back:
            doubt.keys -= back
            gone = replace(doubt, keys=frozenset(back), status="dissolved", ended_at=said.at)
            past.doubts.insert(past.doubts.index(doubt), gone)


def _usually_unreadable(past: Past, said: Said) -> int:
    """Return what the last good answer left unread, those left out that this one proves wrong."""
    wrong = (doubt for doubt in past.open_doubts if not doubt.is_unread and doubt.keys & said.listed.keys())
    return max([past.unreadable, *(doubt.readable_from for doubt in wrong if _is_dissolved(doubt, said))])


def _is_dissolved(doubt: Doubt, said: Said) -> bool:
    """Return whether a doubt is over because what the answer lists proves it wrong."""
    back = doubt.keys & said.listed.keys()
    return back == doubt.keys or (bool(back) and not _stays(doubt, said))


def _stays(doubt: Doubt, said: Said) -> bool:
    """Return whether an image of a doubt that is listed again says nothing about the others."""
    return doubt.is_unread or said.heard.unreadable > doubt.readable_from


def _states_its_number(past: Past) -> bool:
    """Return whether every record of the last true answer states one number."""
    last = past.answers[-1] if past.answers else None
    return bool(
        last and last.heard.mark == "true" and last.listed
        and all(stated.get("zone_id") is not None for stated in last.listed.values())
    )  # fmt: skip


def _counterparts(present: Mapping[Key, Span], listed: Mapping[Key, Stated]) -> dict[Key, Key]:
    """Pair each image with the one other of its set and name that is there, or was until now."""
    names: dict[Key, str] = {}
    for key in present.keys() | listed.keys():
        known = present[key].stated if key in present else {}
        name = listed.get(key, {}).get("image_name", known.get("image_name"))
        if name:
            names[key] = normalised(str(name))
    pairs = {}
    for key, name in names.items():
        others = [o for o, n in names.items() if n == name and o != key and o.image_set == key.image_set]
        if len(others) == 1:
            pairs[key] = others[0]
    return pairs


def _heard(log: Iterable[Said]) -> tuple[frozenset[str] | None, frozenset[tuple[str, str]] | None, bool]:
    """
    Return projects and places as discovery heard them (None: no list, or an empty one), and whether it was refused.
    """
    projects: frozenset[str] | None = None
    places: frozenset[tuple[str, str]] | None = None
    is_refused = False
    for said in log:
        rows = [{str(name).lower(): value for name, value in row.items()} for row in said.rows]
        if said.question.action == "DescribeUK8SImage":
            continue
        is_refused = is_refused or said.meaning == "credential"
        if said.question.action == "GetRegion" and rows:
            places = frozenset((row["region"], row["zone"]) for row in rows)
        elif said.question.action == "GetProjectList" and (rows or said.meaning == "denied"):
            projects = frozenset(row["projectid"] for row in rows) or _NO_LIST
    return projects, places, is_refused


def _spots(catalog: Catalog | None, wish: Wish) -> frozenset[Spot]:
    """Return every project in every place, as far as the configuration wants it."""
    projects, places = catalog or (frozenset(), frozenset())
    spots = (Spot(project, region, zone) for project in projects for region, zone in places)
    return frozenset(spot for spot in spots if _fits(spot, wish))


def _is_retired(past: Past) -> bool:
    return past.away is not None and past.away.reason == "retired"


def _fits(spot: Spot, wish: Wish) -> bool:
    parts = {"project": spot.project, "region": spot.region, "zone": spot.zone}
    return all(any(fnmatchcase(parts[name], glob) for glob in globs) for name, globs in wish.items())
