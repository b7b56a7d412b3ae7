"""
Catalog and selection in, targets out; and what a discovery means for the targets already known.

Pure: the same catalog, selection and knowledge give the same targets. A discovery never ends anything by itself: it
counts, and only three good discoveries in a row without a target (nine, when the list shrank by half or more) retire
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from crawler.domain.filters import NOT, any_fits, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.matrix import KIND as MATRIX_KIND
from crawler.domain.matrix import OfferedMatrix, Standing
from crawler.domain.models import DEFAULT_PROJECT, DEFAULT_VARIANT, AbsenceReason, Catalog, Place, Project, Target
from crawler.domain.text import counted

#: Good discoveries in a row without a target that retire it.
PATIENCE = 3
#: The same, when the list it is missing from had shrunk by half or more.
PATIENCE_WHEN_SHRUNKEN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the configuration wants of one account's catalog; every field holds globs."""

    account: str
    projects: tuple[str, ...] = ("*",)
    regions: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] = ("uk8s-image",)
    variants: tuple[str, ...] = (DEFAULT_VARIANT,)
    #: Pairs of a kind and a variant whose parameters that kind does not take.
    unfit: frozenset[tuple[str, str]] = frozenset()
    #: The variants that follow from what is offered where, beside those; None: there are none.
    matrix: OfferedMatrix | None = None

    def wants(self, target: Target, project_name: str = "") -> bool:
        """Return whether the selection covers *target*, whose project may also be matched by its name."""
        return (
            self.wants_project(Project(target.project, project_name))
            and self.wants_place(Place(target.region, target.zone))
            and part_fits("kind", target.kind, self.kinds)
            and self._wants_variant(target)
            and (target.kind, target.variant) not in self.unfit
        )

    def standing(self, target: Target) -> Standing | None:
        """Return what the last discovery says of a target of the matrix; None: it is none, or is named as well."""
        return None if self.matrix is None or target.variant in self.variants else self.matrix.standing(target)

    def _wants_variant(self, target: Target) -> bool:
        standing = self.standing(target)
        return part_fits("variant", target.variant, self.variants) if standing is None else standing != "unwanted"

    def covers(self, target: Target, project_name: str, places: Collection[Place]) -> bool:
        """
        Return whether the configuration covers *target*, which the catalog may not list any more.

        A target of a whole region is covered where one of the *places* that are wanted lies there, or none of all does.
        A variant is covered by its own name alone: of one that fits a name like `g*` nobody knows the parameters.
        """
        if target.variant not in self.variants and self.standing(target) is None:
            return False
        if target.zone:
            return self.wants(target, project_name)
        own = [place for place in places if place.region == target.region]
        anywhere = replace(self, zones=("*",))
        return anywhere.wants(target, project_name) and (not own or any(map(self.wants_place, own)))

    def wants_project(self, project: Project) -> bool:
        """Return whether the selection covers *project*, by its id or its name; `default` names none that has an id."""
        if project.project_id == DEFAULT_PROJECT and DEFAULT_PROJECT in self.projects:
            return True
        named = tuple(glob for glob in self.projects if glob != DEFAULT_PROJECT)
        return any_fits("project", (project.project_id, project.name or project.project_id), named)

    def wants_default(self, catalog: Catalog) -> bool:
        """Return whether the default project is to be asked without a ProjectId, and not as one of the list anyway."""
        return DEFAULT_PROJECT in self.projects and not any(
            (project.is_default or project.project_id == DEFAULT_PROJECT) and self.wants_project(project)
            for project in catalog.projects
        )

    def wants_place(self, place: Place) -> bool:
        """Return whether the selection covers *place*."""
        return part_fits("region", place.region, self.regions) and part_fits("zone", place.zone, self.zones)


#: A project in a region and a zone; the zone is empty for all of the region.
Spot = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTarget:
    """What the history knows of a target before a run."""

    target: Target
    target_id: int
    project_name: str = ""
    missing_count: int = 0
    missing_needed: int = 0
    absence: AbsenceReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What one discovery means: whom to ask, and what to note about the targets known before."""

    #: Every target to ask in this run, missing ones included; sorted.
    asked: tuple[Target, ...]
    #: Of those, the ones the history has never heard of, with their project's name.
    new: Mapping[Target, str] = field(default_factory=dict)
    #: New of a kind that was asked before, or back from retirement, to an account with an earlier catalog: one
    #: `target_added` each.
    added: tuple[Target, ...] = ()
    #: Known and missing from this good discovery: `(count, needed)` to store.
    missing: Mapping[Target, tuple[int, int]] = field(default_factory=dict)
    #: Known, listed again after having been missing: the count goes back to zero.
    found: tuple[Target, ...] = ()
    retired: tuple[Target, ...] = ()
    #: Retired without a change of their own: another target's tells it.
    silent: frozenset[Target] = frozenset()
    #: What the change of an added or retired target tells of others as well, as `{name: [before, after]}`.
    fields: Mapping[Target, Mapping[str, list[Any]]] = field(default_factory=dict)
    deselected: tuple[Target, ...] = ()
    #: Retired or deselected before, asked again now.
    revived: tuple[Target, ...] = ()
    #: Projects whose name differs from the stored one.
    renamed: Mapping[str, str] = field(default_factory=dict)
    #: Asked although the last good discovery, this one or an earlier one, does not list them.
    unlisted: frozenset[Target] = frozenset()
    notices: tuple[str, ...] = ()

    def without_added(self, targets: Collection[Target]) -> Reconciliation:
        """Return the same where none of *targets* counts as added."""
        fields = {target: said for target, said in self.fields.items() if target not in targets}
        return replace(self, added=tuple(one for one in self.added if one not in targets), fields=fields)


def expand(catalog: Catalog, selection: Selection) -> Iterator[tuple[Target, str]]:
    """
    Yield every target the *selection* covers in *catalog*, each once and with its project's name.

    Those of the matrix are among them where it is known what is offered. Of a kind that is asked per region there is
    one for each region with a place that is wanted.
    """
    projects = dict.fromkeys(filter(selection.wants_project, catalog.projects))
    places = dict.fromkeys(filter(selection.wants_place, catalog.places))
    pairs: Iterable[tuple[Project, Place]]
    if catalog.assigned:  # exactly these, instead of every project in every place
        pairs = (pair for pair in catalog.assigned if pair[0] in projects and pair[1] in places)
    else:
        nameless = (Project(DEFAULT_PROJECT),) if selection.wants_default(catalog) else ()
        pairs = product((*projects, *nameless), places)
    questions = sorted(
        {(kind, variant) for kind in selection.kinds for variant in selection.variants} - selection.unfit
    )
    of_regions: set[Target] = set()
    matrix = selection.matrix if MATRIX_KIND in selection.kinds else None
    for project, place in pairs:
        for variant in matrix.variants_at(place.region, place.zone) if matrix is not None else ():
            names = (place.region, place.zone, MATRIX_KIND, variant)
            yield Target(selection.account, project.project_id, *names), project.name
        for kind, variant in questions:
            is_whole = kind in KINDS and KINDS[kind].scope == "region"
            zone = "" if is_whole else place.zone
            target = Target(selection.account, project.project_id, place.region, zone, kind, variant)
            if is_whole and target in of_regions:
                continue
            if is_whole:
                of_regions.add(target)
            yield target, project.name


def reconcile(
    catalog: Catalog,
    selection: Selection,
    known: Iterable[KnownTarget],
    *,
    previous: Catalog | None,
    is_good: bool,
    is_whole: bool = True,
    restricted_to: Selection | None = None,
    assigned_before: Collection[Spot] = (),
) -> Reconciliation:
    """
    Compare this run's *catalog* with the targets *known* before.

    *previous* is the last good catalog (None: the account's first). *is_good* is false when *catalog* is a fallback,
    *is_whole* when what it lacks may be there all the same: then nothing is counted as missing. *restricted_to* narrows
    the run from the command line: a restricted run counts nothing as missing, retires and deselects nothing.
    *assigned_before* are the places of the last catalog that the configuration made: those that it names no longer are
    deselected.
    """
    draft = _Draft(restricted_to)
    dropped = _dropped(catalog, assigned_before)
    # What the catalog lists is taken out, so that the rest is what it lacks.
    absent = {entry.target: entry for entry in known}
    kinds = {target.kind for target in absent}
    for target, name in expand(catalog, selection):
        draft.take_listed(target, name, absent.pop(target, None))
    shrunken = previous is not None and _has_shrunk(previous, catalog)
    counts = is_good and is_whole and restricted_to is None
    patience = (PATIENCE_WHEN_SHRUNKEN if shrunken else PATIENCE) if counts else None
    resting: list[KnownTarget] = []
    names = {project.project_id: project.name for project in catalog.projects}
    for stored in absent.values():
        entry = draft.called_now(stored, names.get(stored.target.project, ""))
        standing = selection.standing(entry.target)
        # of those that the configuration makes up, only what it names comes back
        is_dropped = _place_of(entry.target) in dropped or (bool(catalog.assigned) and entry.absence == "deselected")
        if is_dropped or not selection.covers(entry.target, entry.project_name, catalog.places):
            if entry.absence is None and restricted_to is None:
                draft.deselected.append(entry.target)
        elif standing is not None and entry.absence == "deselected":
            continue  # one of the matrix comes back where it is known to be offered
        elif standing is None or _place_of(entry.target) not in draft.places:
            draft.take_absent(entry, patience)
        elif entry.absence is None and standing == "ended":
            resting.append(entry)
        elif entry.absence is None and not entry.missing_count:
            # nobody could tell what is offered: what was asked is asked on, and what had ended and is missing is not
            draft.take_absent(entry, None)
    draft.rest(resting, counts=counts)

    unlisted = draft.unlisted
    if previous is not None and not is_good:
        unlisted = set(draft.asked).difference(target for target, _ in expand(previous, selection))
    # What is asked because its kind was configured has not opened: nobody had asked for it. Nor has one of the matrix:
    # that something is offered is what the kinds `uk8s-version` and `instance-type` tell.
    opened = [
        target for target in draft.new if (not kinds or target.kind in kinds) and selection.standing(target) is None
    ]
    opened += [entry.target for entry in draft.revived if entry.absence == "retired"]
    added, begun = _told_once(selection, opened, draft.places, lambda one: [None, one])
    told, ended = _told_once(selection, draft.retired, draft.places, lambda one: [one, None])
    return Reconciliation(
        asked=tuple(sorted(draft.asked)),
        new=draft.new,
        added=tuple(sorted(added)) if previous is not None else (),
        missing=draft.missing,
        # A restricted run resets counts too: with it, discoveries without the target are not in a row any more.
        found=tuple(draft.found) if is_good else (),
        retired=tuple(draft.retired),
        silent=frozenset(draft.retired).difference(told),
        fields={**begun, **ended},
        deselected=tuple(draft.deselected),
        revived=tuple(entry.target for entry in draft.revived),
        renamed=draft.renamed,
        unlisted=frozenset(unlisted),
        notices=_shrink_notices(selection.account, previous, catalog) if is_good and previous is not None else (),
    )


def spots(catalog: Catalog) -> frozenset[Spot]:
    """Return where a *catalog* that the configuration made has targets; nothing of one that was discovered."""
    return frozenset((project.project_id, place.region, place.zone) for project, place in catalog.assigned)


def _dropped(catalog: Catalog, before: Collection[Spot]) -> frozenset[Spot]:
    """Return the spots of *before*, and the whole regions, that a configured *catalog* lacks."""
    now = spots(catalog)
    gone = frozenset(before) - now if now else frozenset()
    regions = {(project, region) for project, region, _ in now}
    return gone | {(project, region, "") for project, region, _ in gone if (project, region) not in regions}


def _place_of(target: Target) -> Spot:
    return target.project, target.region, target.zone


def _told_once(
    selection: Selection,
    targets: Iterable[Target],
    listed: Collection[Spot],
    change: Callable[[Any], list[Any]],
) -> tuple[list[Target], dict[Target, Mapping[str, list[Any]]]]:
    """
    Return which of *targets* that came or went have a change, and what that tells, by *change*, of others too.

    What a version or a machine did in all zones is one change, at the first target of it. Where the place is not
    *listed* any more its other targets tell it.
    """
    found = list(targets)
    told = [target for target in found if selection.standing(target) is None]
    fields: dict[Target, Mapping[str, list[Any]]] = {}
    if selection.matrix is not None:
        together = (target for target in found if selection.standing(target) and _place_of(target) in listed)
        for cause, members in selection.matrix.causes(together).items():
            first, zones = min(members), sorted({target.zone for target in members})
            fields[first] = {**{name: change(value) for name, value in cause}, "zones": change(zones)}
    return [*told, *fields], fields


class _Draft:
    """A reconciliation in the making."""

    def __init__(self, restricted_to: Selection | None) -> None:
        self._restricted_to = restricted_to
        self.asked: list[Target] = []
        self.new: dict[Target, str] = {}
        self.missing: dict[Target, tuple[int, int]] = {}
        self.found: list[Target] = []
        self.retired: list[Target] = []
        self.deselected: list[Target] = []
        self.revived: list[KnownTarget] = []
        self.renamed: dict[str, str] = {}
        #: Asked although the catalog lacks them.
        self.unlisted: set[Target] = set()
        #: Where the catalog lists anything: project, region and zone.
        self.places: set[Spot] = set()
        self._known_of_matrix = 0

    def take_listed(self, target: Target, project_name: str, entry: KnownTarget | None) -> None:
        """Take a target that the catalog lists, with what is known of it."""
        self.places.add(_place_of(target))
        self._known_of_matrix += entry is not None and entry.absence is None and target.variant != DEFAULT_VARIANT
        if entry is None:
            if self._ask(target, project_name):
                self.new[target] = project_name
            return
        entry = self.called_now(entry, project_name)
        if entry.missing_count:
            self.found.append(entry.target)
        self._ask_known(entry)

    def called_now(self, entry: KnownTarget, project_name: str) -> KnownTarget:
        """Return a target with the name that the catalog gives its project, which may be selected by it no longer."""
        if project_name in ("", entry.project_name):
            return entry
        self.renamed[entry.target.project] = project_name
        return replace(entry, project_name=project_name)

    def take_absent(self, entry: KnownTarget, patience: int | None) -> None:
        """Take a selected target that the catalog lacks; without *patience* it does not count as missing."""
        if entry.absence == "retired":
            return
        if patience is not None:
            count, needed = entry.missing_count + 1, max(entry.missing_needed, patience)
            if count >= needed:
                self.retired.append(entry.target)
                return
            self.missing[entry.target] = (count, needed)
        if self._ask_known(entry):
            self.unlisted.add(entry.target)

    def rest(self, entries: Collection[KnownTarget], *, counts: bool) -> None:
        """
        Take targets whose question is not offered any more, though their place is there: they are not asked meanwhile.

        An answer to a question that nobody may ask any more would look like a withdrawal.
        """
        shrunken = _by_half(self._known_of_matrix + len(entries), self._known_of_matrix)
        for entry in entries if counts else ():
            count = entry.missing_count + 1
            needed = max(entry.missing_needed, PATIENCE_WHEN_SHRUNKEN if shrunken else PATIENCE)
            if count >= needed:
                self.retired.append(entry.target)
            else:
                self.missing[entry.target] = (count, needed)

    def _ask_known(self, entry: KnownTarget) -> bool:
        is_asked = self._ask(entry.target, entry.project_name)
        if is_asked and entry.absence is not None:
            self.revived.append(entry)
        return is_asked

    def _ask(self, target: Target, project_name: str) -> bool:
        """Ask *target* unless it is outside the run's restriction; tell whether it is asked."""
        if self._restricted_to is not None and not self._restricted_to.wants(target, project_name):
            return False
        self.asked.append(target)
        return True


def request_parameters(target: Target, variant: Mapping[str, str]) -> dict[str, str]:
    """
    Return the request parameters that ask for *target*, with those of its *variant*; `default` sends no ProjectId, a
    target of a whole region no Zone.
    """
    project = {} if target.project == DEFAULT_PROJECT else {"ProjectId": target.project}
    zone = {"Zone": target.zone} if target.zone else {}
    return {"Region": target.region, **zone, **project, **variant}


def zones_of_numbers(catalog: Catalog) -> dict[int, str | None]:
    """Return the zone that each numeric id of the *catalog* belongs to; None where it gives the id to several."""
    zones: dict[int, str | None] = {}
    for place in catalog.places:
        if place.number is not None:
            zones[place.number] = place.zone if zones.get(place.number, place.zone) == place.zone else None
    return zones


def configured_projects(
    globs: Iterable[str], last: Catalog | None = None
) -> tuple[tuple[Project, ...], tuple[str, ...]]:
    """
    Return the projects that the configured *globs* name, for where no list tells what there is; and the unknown names.

    Ids stand for themselves, names for the projects that the *last* good catalog calls so. Without any word that is no
    glob it is `default`.
    """
    words = sorted({glob for glob in globs if not _WILDCARD & set(glob) and not glob.startswith(NOT)})
    if not words:
        return (Project(DEFAULT_PROJECT),), ()
    listed = last.projects if last else ()
    found: set[Project] = set()
    unknown: list[str] = []
    for word in words:
        known = [project for project in listed if word == project.project_id]
        known = known or [project for project in listed if word == project.name and word != DEFAULT_PROJECT]
        if not known and (word == DEFAULT_PROJECT or _PROJECT_ID.fullmatch(word)):
            known = [Project(word)]
        found.update(known)
        unknown += [] if known else [word]
    return tuple(sorted(found)), tuple(unknown)


def configured_catalog(places: Iterable[tuple[str, str, str | None]], projects: tuple[Project, ...]) -> Catalog:
    """Make a catalog of configured places `(region, zone, project)`; a place without a project is in all *projects*."""
    names = {project.project_id: project.name for project in projects}
    assigned = {
        (owner, Place(region, zone))
        for region, zone, project in places
        for owner in ((Project(project, names.get(project, "")),) if project else projects)
    }
    return Catalog(
        projects=tuple(sorted({project for project, _ in assigned})),
        places=tuple(sorted({place for _, place in assigned}, key=lambda place: (place.region, place.zone))),
        is_listed=False,
        assigned=tuple(sorted(assigned, key=lambda pair: (pair[0], pair[1].region, pair[1].zone))),
    )


_WILDCARD = frozenset("*?[")
#: Every brand writes them so; anything else is a name, which no request may send.
_PROJECT_ID = re.compile(r"org-[\w-]+", re.ASCII)


def _has_shrunk(previous: Catalog, present: Catalog) -> bool:
    return any(
        _by_half(before, after)
        for before, after in (
            (len(previous.projects), len(present.projects)),
            (len(previous.places), len(present.places)),
        )
    )


def _by_half(before: int, after: int) -> bool:
    return before > after and after * 2 <= before


def _shrink_notices(account: str, previous: Catalog, present: Catalog) -> tuple[str, ...]:
    notices = []
    for what, before, after in (
        ("project", len(previous.projects), len(present.projects)),
        ("zone", len(previous.places), len(present.places)),
    ):
        if _by_half(before, after):
            notices.append(
                f"{account}: discovery lists {after} of {counted(before, what)}; the others are asked on and retire "
                f"only after {PATIENCE_WHEN_SHRUNKEN} such discoveries in a row"
            )
    return tuple(notices)
