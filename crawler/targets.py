"""
Catalog and selection in, targets out; and what a discovery means for the targets already known.

Pure: the same catalog, selection and knowledge give the same targets. A discovery never ends anything by itself: it
counts, and only three good discoveries in a row without a target (nine, when the list shrank by half or more) retire
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from crawler.model import DEFAULT_PROJECT, DEFAULT_VARIANT, Catalog, Place, Project, Target

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

    def wants(self, target: Target, project_name: str = "") -> bool:
        """Tell whether the selection covers *target*, whose project may also be matched by its name."""
        return (
            (matches(target.project, self.projects) or (bool(project_name) and matches(project_name, self.projects)))
            and matches(target.region, self.regions)
            and matches(target.zone, self.zones)
            and matches(target.kind, self.kinds)
            and matches(target.variant, self.variants)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTarget:
    """What the history knows of a target before a run."""

    target: Target
    target_id: int
    project_name: str = ""
    ever_ok: bool = False
    missing_count: int = 0
    missing_needed: int = 0
    absence: Literal["retired", "deselected"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What one discovery means: whom to ask, and what to note about the targets known before."""

    #: Every target to ask in this run, missing ones included; sorted.
    asked: tuple[Target, ...]
    #: Of those, the ones the history has never heard of, with their project's name.
    new: Mapping[Target, str] = field(default_factory=dict)
    #: New or back from retirement, to an account with an earlier catalog: one `target_added` each.
    added: tuple[Target, ...] = ()
    #: Known and missing from this good discovery: `(count, needed)` to store.
    missing: Mapping[Target, tuple[int, int]] = field(default_factory=dict)
    #: Known, listed again after having been missing: the count goes back to zero.
    found: tuple[Target, ...] = ()
    retired: tuple[Target, ...] = ()
    deselected: tuple[Target, ...] = ()
    #: Retired or deselected before, asked again now.
    revived: tuple[Target, ...] = ()
    #: Projects whose name differs from the stored one.
    renamed: Mapping[str, str] = field(default_factory=dict)
    #: Asked although the last good discovery, this one or an earlier one, does not list them.
    unlisted: frozenset[Target] = frozenset()
    notices: tuple[str, ...] = ()


def matches(value: str, globs: Iterable[str]) -> bool:
    """Tell whether *value* fits any of *globs*, case included."""
    return any(fnmatchcase(value, glob) for glob in globs)


def expand(catalog: Catalog, selection: Selection) -> dict[Target, str]:
    """Give every target the *selection* covers in *catalog*, sorted, each with its project's name."""
    targets = {
        Target(selection.account, project.project_id, place.region, place.zone, kind, variant): project.name
        for project, place in catalog.pairs()
        for kind in selection.kinds
        for variant in selection.variants
    }
    return {target: name for target, name in sorted(targets.items()) if selection.wants(target, name)}


def reconcile(
    catalog: Catalog,
    selection: Selection,
    known: Sequence[KnownTarget],
    *,
    previous: Catalog | None,
    is_good: bool,
    restricted_to: Selection | None = None,
) -> Reconciliation:
    """
    Compare this run's *catalog* with the targets *known* before.

    *previous* is the last good catalog (None: the account's first). *is_good* is false when *catalog* is a fallback:
    then nothing is counted as missing. *restricted_to* narrows the run from the command line: a restricted run counts
    nothing as missing, retires and deselects nothing.
    """
    listed = expand(catalog, selection)
    by_target = {entry.target: entry for entry in known}
    shrunken = previous is not None and _has_shrunk(previous, catalog)
    counts = is_good and restricted_to is None

    asked: list[Target] = list(listed)
    missing: dict[Target, tuple[int, int]] = {}
    retired: list[Target] = []
    deselected: list[Target] = []
    for entry in known:
        if entry.target in listed:
            continue
        if not selection.wants(entry.target, entry.project_name):
            if entry.absence is None and restricted_to is None:
                deselected.append(entry.target)
            continue
        if entry.absence == "retired":
            continue
        if not counts:
            asked.append(entry.target)
            continue
        needed = entry.missing_needed or (PATIENCE_WHEN_SHRUNKEN if shrunken else PATIENCE)
        count = entry.missing_count + 1
        if count >= needed:
            retired.append(entry.target)
        else:
            asked.append(entry.target)
            missing[entry.target] = (count, needed)

    if restricted_to is not None:
        names = listed | {entry.target: entry.project_name for entry in known}
        asked = [target for target in asked if restricted_to.wants(target, names[target])]
    asked.sort()
    scope = set(asked)
    new = {target: name for target, name in listed.items() if target in scope and target not in by_target}
    revived = [target for target in asked if target in by_target and by_target[target].absence is not None]
    added = [t for t in asked if t in new or (t in by_target and by_target[t].absence == "retired")]
    return Reconciliation(
        asked=tuple(asked),
        new=new,
        added=tuple(added) if previous is not None else (),
        missing=missing,
        # A restricted run resets counts too: with it, discoveries without the target are not in a row any more.
        found=tuple(t for t in listed if t in by_target and by_target[t].missing_count) if is_good else (),
        retired=tuple(retired),
        deselected=tuple(deselected),
        revived=tuple(revived),
        renamed=_renamed(listed, by_target),
        unlisted=frozenset(scope - (listed if is_good or previous is None else expand(previous, selection)).keys()),
        notices=_shrink_notices(selection.account, previous, catalog) if is_good and previous is not None else (),
    )


def request_parameters(target: Target, variant: Mapping[str, str]) -> dict[str, str]:
    """Give the request parameters that ask for *target*, with those of its *variant*; `default` sends no ProjectId."""
    project = {} if target.project == DEFAULT_PROJECT else {"ProjectId": target.project}
    return {"Region": target.region, "Zone": target.zone, **project, **variant}


def unique_numbers(catalog: Catalog) -> dict[str, int]:
    """Give the numeric id of each zone whose number the *catalog* gives to no other zone."""
    zones: dict[int, set[str]] = {}
    for place in catalog.places:
        if place.number is not None:
            zones.setdefault(place.number, set()).add(place.zone)
    return {next(iter(names)): number for number, names in zones.items() if len(names) == 1}


def interleave(targets: Sequence[Target]) -> list[Target]:
    """Order *targets* region by region in turn, keeping the order inside each region."""
    by_region: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        by_region.setdefault((target.account, target.region), []).append(target)
    queues = [iter(queue) for queue in by_region.values()]
    result: list[Target] = []
    while queues:
        remaining = []
        for queue in queues:
            head = next(queue, None)
            if head is not None:
                result.append(head)
                remaining.append(queue)
        queues = remaining
    return result


def configured_projects(globs: Iterable[str]) -> tuple[Project, ...]:
    """Give the project ids among the configured *globs*, or `default` where there are none: for a refused list."""
    names = sorted({glob for glob in globs if not _WILDCARD & set(glob)})
    return tuple(Project(name) for name in names) or (Project(DEFAULT_PROJECT),)


def configured_catalog(places: Iterable[tuple[str, str, str | None]], projects: tuple[Project, ...]) -> Catalog:
    """Make a catalog of configured places `(region, zone, project)`; a place without a project is in all *projects*."""
    assigned = {
        (owner, Place(region, zone))
        for region, zone, project in places
        for owner in ((Project(project),) if project else projects)
    }
    return Catalog(
        projects=tuple(sorted({project for project, _ in assigned})),
        places=tuple(sorted({place for _, place in assigned}, key=lambda place: (place.region, place.zone))),
        assigned=tuple(sorted(assigned, key=lambda pair: (pair[0], pair[1].region, pair[1].zone))),
    )


_WILDCARD = frozenset("*?[")


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
        ("projects", len(previous.projects), len(present.projects)),
        ("zones", len(previous.places), len(present.places)),
    ):
        if _by_half(before, after):
            notices.append(
                f"{account}: discovery lists {after} of {before} {what}; the others are asked on and retire only after "
                f"{PATIENCE_WHEN_SHRUNKEN} such discoveries in a row"
            )
    return tuple(notices)


def _renamed(listed: Mapping[Target, str], known: Mapping[Target, KnownTarget]) -> dict[str, str]:
    return {
        target.project: name
        for target, name in listed.items()
        if name and target in known and known[target].project_name != name
    }
