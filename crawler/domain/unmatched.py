"""
Words of a selection that match nothing of what an account lists: mistyped ones, most likely. Pure.

Judged by whole lists alone: what a list lacks that did not come, or came in part, may be there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from crawler.domain.filters import NOT, any_fits, is_glob, named_by, part_fits
from crawler.domain.models import DEFAULT_PROJECT, Catalog, Place, Project
from crawler.domain.subscriptions import Pin
from crawler.domain.suggest import nearest
from crawler.domain.targets import KnownTarget, Selection

#: What the conditions are called that runs remember of this.
WORDS = "words of the selection:"
#: So many known words are told where none is near.
_FEW = 6
#: Among more than so many nobody looks for the nearest in every run.
_MANY = 5_000
#: The nearest are looked for of so many words of a setting.
_HINTED = 6


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A word of a setting that matches nothing."""

    setting: str
    word: str
    sentence: str


def unmatched(
    selection: Selection, catalog: Catalog, setting: str = "accounts.{}s", known: Collection[KnownTarget] = ()
) -> list[Unmatched]:
    """
    Return the words of *selection* that match no project, region or zone of *catalog*, whose lists are whole.

    *setting* names where they stand, with `{}` for `zone` and so on. Projects are left alone where they are not listed.
    What matches one of the targets *known* before is no slip: that it is gone is told otherwise.
    """
    found = list(_unmatched(selection, catalog, setting))
    if not found or not known:
        return found
    places = {Place(entry.target.region, entry.target.zone) for entry in known}
    projects = {Project(entry.target.project, entry.project_name) for entry in known}
    ever = replace(catalog, projects=(*catalog.projects, *projects), places=(*catalog.places, *places))
    slips = {(one.setting, one.word) for one in _unmatched(selection, ever, setting)}
    return [one for one in found if (one.setting, one.word) in slips]


def _unmatched(selection: Selection, catalog: Catalog, setting: str) -> Iterator[Unmatched]:
    regions = {(place.region,) for place in catalog.places}
    zones = {(place.zone,) for place in catalog.places}
    selected = {(place.zone,) for place in catalog.places if part_fits("region", place.region, selection.regions)}
    if catalog.is_listed:
        named = [word for word in selection.projects if named_by(word) != DEFAULT_PROJECT]
        yield from misses(setting.format("project"), "project", named, {*map(_called, catalog.projects)})
    yield from misses(setting.format("region"), "region", selection.regions, regions)
    nowhere = list(misses(setting.format("zone"), "zone", selection.zones, zones))
    yield from nowhere
    # what leaves out may well be about a region that is not selected
    others = [
        word for word in selection.zones if not word.startswith(NOT) and word not in {one.word for one in nowhere}
    ]
    yield from misses(setting.format("zone"), "zone", others, selected, "of the selected regions", with_hint=False)


def of_report(
    name: str, filters: Mapping[str, Collection[str]], pins: Iterable[Pin], catalogs: Collection[Catalog]
) -> Iterator[Unmatched]:
    """
    Yield what of the report *name* matches nothing that is asked: words of its *filters*, and the zones of its *pins*.

    *catalogs* are the whole lists of all accounts, as far as they are asked.
    """
    known: dict[str, set[tuple[str, ...]]] = {
        "region": {(place.region,) for catalog in catalogs for place in catalog.places},
        "zone": {(place.zone,) for catalog in catalogs for place in catalog.places},
    }
    if all(catalog.is_listed for catalog in catalogs):
        known["project"] = {_called(project) for catalog in catalogs for project in catalog.projects}
    for part, called in known.items():
        words = [word for word in filters.get(part, ()) if part != "project" or named_by(word) != DEFAULT_PROJECT]
        yield from misses(f"reports.filters.{part} of {name}", part, words, called, "that is asked")
    shown = {pin.zone: " ".join(pin) for pin in pins if pin.zone}
    yield from misses(f"reports.pins of {name}", "zone", shown, known["zone"], "that is asked", shown=shown)


def misses(
    setting: str,
    part: str,
    words: Iterable[str],
    known: Collection[tuple[str, ...]],
    place: str = "of the account",
    *,
    shown: Mapping[str, str] | None = None,
    with_hint: bool = True,
) -> Iterator[Unmatched]:
    """
    Yield those of *words* that match none of *known*, each of which may be called by several words.

    *place* says where there is none, *shown* as what a word stands in the setting; the nearest words are told where
    *with_hint*. Without anything known nothing is judged.
    """
    names = {name for called in known for name in called}
    folded = {name.casefold() for name in names}
    hints = _HINTED if with_hint else 0
    for word in words if known else ():
        if named_by(word).casefold() in folded:
            continue
        if is_glob(named_by(word)) and any_fits(part, folded, [named_by(word)]):
            continue
        quoted = json.dumps((shown or {}).get(word, word), ensure_ascii=False)
        hint = _hint(word, names) if hints > 0 else ""
        hints -= 1
        what = f"leaves out no {part} {place}" if word.startswith(NOT) else f"matches no {part} {place}"
        yield Unmatched(setting, word, f"{setting}: {quoted} {what}{hint}")


def _called(project: Project) -> tuple[str, ...]:
    return (project.project_id, project.name) if project.name else (project.project_id,)


def _hint(word: str, known: Collection[str]) -> str:
    near = nearest(named_by(word), known) if len(known) <= _MANY else []
    if near:
        return f"; the nearest: {', '.join(near)}"
    return f"; known: {', '.join(sorted(known))}" if len(known) <= _FEW else ""
