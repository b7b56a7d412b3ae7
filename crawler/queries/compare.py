"""Two zones side by side by image name, as ids differ per zone. What is not known is no difference, and is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from crawler.domain.models import Target, canonical_json, normalise_name
from crawler.domain.reissues import newest
from crawler.domain.rows import ImageRow, JsonRow, Knowledge, Reason, in_json, or_null
from crawler.queries.diff import changed_fields, side, uncompared

Result = Literal["only_first", "only_second", "differs", "same", "unknown"]
#: Where one zone's image has them and another's has its own, they still are the same image.
_OF_THE_ZONE = frozenset({"image_name", "zone_id", "extra"})


class ComparedImage(NamedTuple):
    """What JSON has of an image in one of the zones."""

    zone: str
    image_id: str
    image_name: str | None
    gpu: bool | None
    valid_from: datetime
    present_since: datetime
    state: Literal["present", "unknown"]
    reason: Reason | None
    observed_at: datetime | None
    #: As the cloud states it, and whether it can be used then; None of a kind that has no states.
    image_state: str | None
    bootable: bool | None


def _image(row: ImageRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    whole = row.as_dict()
    # a kind has fields of its own
    return {name: whole.get(name) for name in ComparedImage._fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRow(JsonRow):
    """One image name in two zones; for the projects that are told the same."""

    image_set: str
    image_name: str = field(metadata=in_json(by=or_null, hint=str | None))
    result: Result
    #: The open image that came last in each zone; None where there is none.
    first: ImageRow | None = field(metadata=in_json(by=_image, hint=ComparedImage | None))
    second: ImageRow | None = field(metadata=in_json(by=_image, hint=ComparedImage | None))
    #: What differs between them: `{name: [first, second]}`.
    fields: Mapping[str, list[Any]]
    #: Why the result is unknown, of the zone that is.
    reason: Reason | None
    kind: str
    variant: str
    #: `account/project` of each.
    projects: tuple[str, ...]

    @property
    def compared(self) -> frozenset[_Compared]:
        """Return what its images are compared by, in each of the projects."""
        either = self.first or self.second
        assert either is not None  # noqa: S101 - a row is about an image of one of the zones
        rest = compared_by(either)[1:]
        return frozenset((project, *rest) for project in self.projects)


#: `account/project`, kind, variant, set and name.
_Compared = tuple[str, str, str, str, str]


def compared_by(row: ImageRow) -> _Compared:
    """Return what an image is compared by: its place, its set and its normalised name, or its id where it has none."""
    target = row.target
    name = normalise_name(row.image_name) or row.image_id
    return (f"{target.account}/{target.project}", target.kind, target.variant, row.image_set, name)


def side_by_side(
    first: Iterable[ImageRow],
    second: Iterable[ImageRow],
    known_first: Mapping[Target, Knowledge],
    known_second: Mapping[Target, Knowledge],
) -> list[CompareRow]:
    """
    Compare two zones by image set and normalised name, project by project; rows come by set and name.

    An image without a name is compared by its id. A project that is asked in one of the zones only cannot be compared.
    """
    lanes_first, lanes_second = _lanes(known_first), _lanes(known_second)
    newest_first, newest_second = _newest_by_name(first), _newest_by_name(second)
    names = {(*_lane(target), *name) for target, name in [*newest_first, *newest_second]}
    folded: dict[tuple[Any, ...], list[CompareRow]] = {}
    for account, project, kind, variant, image_set, name in sorted(names):
        lane = (account, project, kind, variant)
        one = _pick(newest_first, lanes_first.get(lane), (image_set, name))
        other = _pick(newest_second, lanes_second.get(lane), (image_set, name))
        knowledge = (_known(known_first, lanes_first.get(lane)), _known(known_second, lanes_second.get(lane)))
        row = _pair(one, other, knowledge, projects=(f"{account}/{project}",), kind=kind, variant=variant)
        said = (row.result, row.reason, one and one.image_id, other and other.image_id, canonical_json(row.fields))
        folded.setdefault((kind, variant, image_set, name, *said), []).append(row)
    return sorted(map(_fold, folded.values()), key=lambda row: (row.image_set, row.image_name.casefold(), row.projects))


_Lane = tuple[str, str, str, str]
_Newest = Mapping[tuple[Target, tuple[str, str]], ImageRow]


def _lane(target: Target) -> _Lane:
    return (target.account, target.project, target.kind, target.variant)


def _lanes(targets: Iterable[Target]) -> dict[_Lane, Target]:
    return {_lane(target): target for target in targets}


def _newest_by_name(rows: Iterable[ImageRow]) -> _Newest:
    """
    Return of each target and name the open image that came last, one of them where several came together.

    What cannot be used, as its state says, comes after what can.
    """
    named: dict[tuple[Target, tuple[str, str]], list[ImageRow]] = {}
    for row in rows:
        place = (row.target, (row.image_set, normalise_name(row.image_name) or row.image_id))
        named.setdefault(place, []).append(row)
    return {
        place: newest([row for row in members if not row.unusable] or members)[-1] for place, members in named.items()
    }


def _pick(newest: _Newest, target: Target | None, name: tuple[str, str]) -> ImageRow | None:
    return newest.get((target, name)) if target else None


def _known(knowledge: Mapping[Target, Knowledge], target: Target | None) -> Knowledge | None:
    return knowledge[target] if target else None


def _pair(
    one: ImageRow | None,
    other: ImageRow | None,
    knowledge: tuple[Knowledge | None, Knowledge | None],
    *,
    projects: tuple[str, ...],
    kind: str,
    variant: str,
) -> CompareRow:
    either = one or other
    assert either is not None  # noqa: S101 - a name comes from one of them
    (first, first_reason), (second, second_reason) = (
        side(row, known) for row, known in zip((one, other), knowledge, strict=True)
    )
    fields: dict[str, list[Any]] = {}
    if one and other:
        fields = changed_fields(one.attributes, other.attributes, uncompared(kind) | _OF_THE_ZONE)
    result: Result = "differs" if fields else "same"
    if "unknown" in (first, second):
        result = "unknown"
    elif one is None or other is None:
        result = "only_second" if one is None else "only_first"
    return CompareRow(
        image_set=either.image_set,
        image_name=either.image_name,
        result=result,
        first=one,
        second=other,
        fields=fields,
        reason=first_reason or second_reason,
        projects=projects,
        kind=kind,
        variant=variant,
    )


def _fold(rows: list[CompareRow]) -> CompareRow:
    first = rows[0]
    return CompareRow(
        image_set=first.image_set,
        image_name=first.image_name,
        result=first.result,
        first=first.first,
        second=first.second,
        fields=first.fields,
        reason=first.reason,
        projects=tuple(sorted(project for row in rows for project in row.projects)),
        kind=first.kind,
        variant=first.variant,
    )
