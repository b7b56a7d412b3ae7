"""
What the API lists beside UK8S images, as values: other images, versions, machine types, clusters with their groups.

Paged as the documentation has it: `Offset` 0, `Limit` 20 (100 at most), `TotalCount`; an Offset at or behind the end of
a list is refused. Where the documentation is silent the emulator decides, as in `responses.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Records, each with the place it is listed at.
Records = Sequence[tuple[str, Any]]
Params = Mapping[str, str]

#: Refusals of products, as these are called by their RetCodes.
BEYOND_THE_TOTAL = 8039
UNKNOWN_CLUSTER = 94007
_MISSING = 220

_LARGEST_PAGE = 100
_SMALL_PAGE = 50
_DEFAULT_PAGE = 20


class ListRefused(Exception):
    """A RetCode other than 0, with its message."""

    def __init__(self, ret_code: int, message: str) -> None:
        super().__init__(ret_code, message)
        self.ret_code = ret_code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An action that lists something: whose records, under which name, and what narrows them."""

    #: The kind in the timeline's `inventory`.
    kind: str
    #: The member of the answer that holds the records.
    member: str
    is_paged: bool = False
    #: Asked per region: the records stand under the region's name.
    is_of_region: bool = False
    #: Parameters that have to be sent.
    required: tuple[str, ...] = ()
    #: Parameters that narrow the records to those whose member of the same name is equal.
    narrowing: tuple[str, ...] = ()
    #: The generations of the API that know the action.
    schemas: tuple[str, ...] = ("2020", "2026")
    #: What each record of a place becomes before it is sent.
    shown: Callable[[str, Mapping[str, Any]], Any] = lambda place, record: record
    #: A second name for the number of all records.
    count: str = ""


#: Members of a cluster in a timeline that other actions list.
OF_A_CLUSTER = {"ListUK8SNodeGroup": "NodeGroupList", "DescribeUK8SAutoscalerGroup": "AutoScalingGroup"}


def _without_groups(place: str, cluster: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cluster.items() if name not in OF_A_CLUSTER.values()}


def _with_zone(place: str, image: Mapping[str, Any]) -> dict[str, Any]:
    return {"Zone": place, **image}


LISTINGS: Mapping[str, Listing] = {
    "DescribeImage": Listing(
        kind="uhost-image",
        member="ImageSet",
        is_paged=True,
        narrowing=("ImageType", "OsType", "ImageId"),
        shown=_with_zone,
    ),
    "DescribePHostImage": Listing(
        kind="phost-image", member="ImageSet", is_paged=True, required=("Zone",), narrowing=("ImageType",)
    ),
    "GetUK8SVersions": Listing(
        kind="uk8s-version", member="Data", is_of_region=True, required=("Kind",), schemas=("2026",)
    ),
    "GetUK8SAvailableInstanceTypes": Listing(kind="instance-type", member="AvailableInstanceTypes", schemas=("2026",)),
    "DescribeAvailableInstanceTypes": Listing(kind="instance-type", member="AvailableInstanceTypes"),
    "ListUK8SClusterV2": Listing(
        kind="node-group",
        member="ClusterSet",
        is_paged=True,
        is_of_region=True,
        narrowing=("ClusterId",),
        shown=_without_groups,
        count="ClusterCount",
    ),
}
#: Kinds whose records a timeline may hold, and whether they stand under a region's name.
KINDS: Mapping[str, bool] = {listing.kind: listing.is_of_region for listing in LISTINGS.values()}


def listed(listing: Listing, records: Records, params: Params, quirks: frozenset[str]) -> dict[str, Any]:
    """Return the content of an answer that lists *records*; raise ListRefused."""
    for name in listing.required:
        if not params.get(name):
            raise ListRefused(_MISSING, f"Missing params [{name}]")
    narrowed = [name for name in listing.narrowing if params.get(name)]
    wanted = [one for one in records if _is_wanted(one[1], narrowed, params)] if narrowed else records
    if not listing.is_paged:
        return {listing.member: [_shown(one, listing) for one in wanted]}
    offset, limit = _number(params, "Offset", 0), _number(params, "Limit", _DEFAULT_PAGE)
    limit = min(limit, _SMALL_PAGE if "small-pages" in quirks else _LARGEST_PAGE)
    if offset and offset >= len(wanted):
        raise ListRefused(BEYOND_THE_TOTAL, f"Offset [{offset}] is not less than the total count [{len(wanted)}]")
    counts = {name: len(wanted) for name in ("TotalCount", listing.count) if name and "no-total" not in quirks}
    return {**counts, listing.member: [_shown(one, listing) for one in wanted[offset : offset + limit]]}


def groups(action: str, clusters: Records, params: Params) -> dict[str, Any]:
    """Return the content of an answer about one of *clusters*; raise ListRefused where it is none of them."""
    cluster_id = params.get("ClusterId", "")
    if not cluster_id:
        raise ListRefused(_MISSING, "Missing params [ClusterId]")
    for _, cluster in clusters:
        if isinstance(cluster, Mapping) and cluster.get("ClusterId") == cluster_id:
            return {OF_A_CLUSTER[action]: cluster.get(OF_A_CLUSTER[action], [])}
    raise ListRefused(UNKNOWN_CLUSTER, f"Cluster [{cluster_id}] not found")


def _is_wanted(record: Any, narrowed: Sequence[str], params: Params) -> bool:
    return not isinstance(record, Mapping) or all(str(record.get(name)) == params[name] for name in narrowed)


def _shown(one: tuple[str, Any], listing: Listing) -> Any:
    place, record = one
    return listing.shown(place, record) if isinstance(record, Mapping) else record


def _number(params: Params, name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise ListRefused(230, f"Params [{name}] not available")
    return int(text)
