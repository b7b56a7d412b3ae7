"""
What the API answers in one world, as values: the rows of the catalog, the image sets of a target, refusals.

No sockets here. Where the documentation is silent the emulator decides: a zone of the catalog that is closed to the
account answers 293, one that does not exist 230; a sub-account without a ProjectId gets 299; a missing parameter 220.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from crawler.emulator.lists import LISTINGS, OF_A_CLUSTER, ListRefused, groups, listed
from crawler.emulator.quirks import disguise
from crawler.emulator.scenario import CONDITIONS, WHEN, EmulatedAccount, EmulatedZone, ProjectRow, Sets, World

#: What a refusal says when nothing better is known.
MESSAGES: dict[int, str] = {
    110: "API response timed out",
    130: "API gateway failure",
    150: "service unavailable",
    153: "request throttled",
    160: "Missing Action",
    161: "Action not found",
    170: "Missing Signature",
    171: "Signature VerifyAC Error",
    172: "User not found",
    174: "Token not exists",
    220: "Missing params",
    230: "Params not available",
    292: "Project not exists",
    293: "Zone permission error",
    294: "Source IP refused",
    295: "Security lock check failed",
    299: "IAM permission error",
}


_NEW_IN_2026_SETS = frozenset(
    {"CustomImageSet", "CustomIImageSet", "CustomPHostImageSet", "PHostCustomImageSet", "PHostCustomIImageSet"}
)
_NEW_IN_2026_FIELDS = frozenset(
    {"OsType", "OsName", "Features", "ImageSize", "IntegratedSoftware", "SupportedGPUTypes"}
)
_CACHED_BODIES = 20_000


class RefusedRequest(Exception):
    """A RetCode other than 0."""

    def __init__(self, ret_code: int, message: str = "") -> None:
        super().__init__(ret_code, message)
        self.ret_code = ret_code
        self.message = message


def refusal_body(action: str, ret_code: int, message: str | None = None) -> bytes:
    """Write the body of a refusal."""
    text = message or MESSAGES.get(ret_code, f"request refused with {ret_code}")
    return encode({"RetCode": ret_code, "Action": f"{action}Response" if action else "", "Message": text})


def encode(document: Mapping[str, Any]) -> bytes:
    """Write a body."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Answers:
    """The answers of one world; bodies are written once and kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._zones: dict[str, EmulatedZone] = {row.zone: row for row in world.zones}
        self._regions = {row.region for row in world.zones}
        self._projects: dict[str, ProjectRow] = {row.project_id: row for row in world.projects}
        self._has_project_images = any("/" in key for key in world.images)
        self._bodies: dict[tuple[Any, ...], bytes] = {}
        self._turn = 0

    def body(self, action: str, account: EmulatedAccount, params: Mapping[str, str]) -> bytes:
        """Return the RetCode 0 body of an *action*; raise Refusal."""
        if action == "DescribeUK8SImage":
            return self._images(account, params)
        if action == "GetRegion":
            return self._finish(action, {"Regions": self._region_rows(account)})
        if action == "GetProjectList":
            if not account.may_list_projects:
                raise RefusedRequest(299)
            rows = self._project_rows(account)
            return self._finish(action, {"ProjectCount": len(rows), "ProjectSet": rows})
        if action in OF_A_CLUSTER or action in LISTINGS:
            return self._list(action, account, params)
        raise RefusedRequest(161, f"Action [{action}] not found")

    def lie(self, action: str, sets: Sets, params: Mapping[str, str]) -> bytes:
        """Return a body with these *sets* as the answer to *action*, whatever the world holds."""
        sent = dict(zip(CONDITIONS, _filters(params), strict=True))
        content = {
            name: [_unconditional(record) for record in records if _fits(record, sent)]
            if isinstance(records, list)
            else records
            for name, records in sets.items()
        }
        return self._finish(action, content)

    def project_of(self, account: EmulatedAccount, params: Mapping[str, str]) -> str:
        """Return the project a request is about: the one it names, or the default one of those open to the account."""
        if given := params.get("ProjectId"):
            return given
        rows = [row for row in self.world.projects if _open_to(row.project_id, account.projects)]
        default = next((row for row in rows if row.default), rows[0] if rows else None)
        return default.project_id if default else ""

    def _region_rows(self, account: EmulatedAccount) -> list[dict[str, Any]]:
        rows = [row for row in self.world.zones if _open_to(row.zone, account.zones)]
        default = next((row for row in rows if row.default), rows[0] if rows else None)
        return [
            {
                "RegionId": _first(row.region_id, row.zone_id, number),
                "RegionName": row.region_name or row.region,
                "IsDefault": row is default,
                "BitMaps": row.bit_maps,
                "Region": row.region,
                "Zone": row.zone,
            }
            for number, row in enumerate(rows, start=1)
        ]

    def _project_rows(self, account: EmulatedAccount) -> list[dict[str, Any]]:
        default = self.project_of(account, {})
        return [
            {
                "ProjectId": row.project_id,
                "ProjectName": row.name,
                "CreateTime": 1577808000,
                "IsDefault": row.project_id == default,
                "MemberCount": 1,
                "ResourceCount": 0,
                "ParentId": "",
                "ParentName": "",
            }
            for row in self.world.projects
            if _open_to(row.project_id, account.projects)
        ]

    def _images(self, account: EmulatedAccount, params: Mapping[str, str]) -> bytes:
        project = self._checked_project(account, params)
        zones = self._checked_zones(account, params)
        wanted = self._checked_filters(params)
        keys = tuple(self._image_key(project, zone) for zone in zones)
        if "shuffled-records" in self.world.quirks:
            self._turn += 1
            return self._write(keys, wanted)
        cached = self._bodies.get((keys, wanted))
        if cached is None:
            cached = self._write(keys, wanted)
            if len(self._bodies) < _CACHED_BODIES:
                self._bodies[keys, wanted] = cached
        return cached

    def _checked_project(self, account: EmulatedAccount, params: Mapping[str, str]) -> str:
        given = params.get("ProjectId", "")
        if not given and account.sub_account:
            raise RefusedRequest(299, "IAM permission error: a sub-account must send ProjectId")
        project = self.project_of(account, params)
        if given and (project not in self._projects or not _open_to(project, account.projects)):
            raise RefusedRequest(292, f"Project [{given}] not exists")
        return project

    def _checked_zones(self, account: EmulatedAccount, params: Mapping[str, str]) -> tuple[str, ...]:
        region, zone = params.get("Region", ""), params.get("Zone", "")
        if not region:
            raise RefusedRequest(220, "Missing params [Region]")
        if region not in self._regions:
            raise RefusedRequest(230, "Params [Region] not available")
        if not zone:
            rows = (row for row in self.world.zones if row.region == region)
            return tuple(row.zone for row in rows if _open_to(row.zone, account.zones))
        row = self._zones.get(zone)
        if row is None or row.region != region:
            raise RefusedRequest(230, "Params [Zone] not available")
        if not _open_to(zone, account.zones):
            raise RefusedRequest(293)
        return (zone,)

    def _checked_filters(self, params: Mapping[str, str]) -> tuple[str, ...]:
        if self.world.schema == "2020":
            return ("", "", "", "")
        product, machine, gpu, _ = filters = _filters(params)
        if product not in ("", "uhost", "uphost"):
            raise RefusedRequest(230, "Params [ProductType] not available")
        if machine == "G" and not gpu:
            raise RefusedRequest(220, "Missing params [GPUType]")
        return filters

    def _list(self, action: str, account: EmulatedAccount, params: Mapping[str, str]) -> bytes:
        """Return what a kind of the timeline's `inventory` lists."""
        listing = LISTINGS["ListUK8SClusterV2" if action in OF_A_CLUSTER else action]
        if self.world.schema not in listing.schemas:
            raise RefusedRequest(161, f"Action [{action}] not found")
        project = self._checked_project(account, params)
        zones = self._checked_zones(account, params)
        of_kind = self.world.inventory.get(listing.kind, {})
        places = (params.get("Region", ""),) if listing.is_of_region else zones
        lists = {place: of_kind.get(f"{project}/{place}", of_kind.get(place, [])) for place in places}
        records = [(place, record) for place, listed_there in lists.items() for record in listed_there]
        try:
            content = (
                groups(action, records, params)
                if action in OF_A_CLUSTER
                else listed(listing, records, params, self.world.quirks)
            )
        except ListRefused as refusal:
            raise RefusedRequest(refusal.ret_code, refusal.message) from None
        self._turn += 1
        return self._finish(action, content)

    def _image_key(self, project: str, zone: str) -> str:
        if self._has_project_images and f"{project}/{zone}" in self.world.images:
            return f"{project}/{zone}"
        return zone

    def _write(self, keys: tuple[str, ...], wanted: tuple[str, ...]) -> bytes:
        sets: dict[str, Any] = {"ImageSet": [], "PHostImageSet": []}
        if self.world.schema == "2026":
            sets |= {"CustomImageSet": [], "CustomPHostImageSet": []}
        for key in keys:
            for name, records in self.world.images.get(key, {}).items():
                if not self._sends(name, wanted):
                    continue
                if isinstance(records, list):
                    so_far = sets.get(name)
                    sets[name] = [*(so_far if isinstance(so_far, list) else []), *self._listed(records, wanted)]
                elif not sets.get(name):
                    sets[name] = records
        return self._finish("DescribeUK8SImage", sets)

    def _sends(self, set_name: str, wanted: tuple[str, ...]) -> bool:
        if self.world.schema == "2020":
            return set_name not in _NEW_IN_2026_SETS
        product = wanted[0]
        return not product or ("phost" in set_name.lower()) == (product == "uphost")

    def _listed(self, records: list[Any], wanted: tuple[str, ...]) -> list[Any]:
        sent = dict(zip(CONDITIONS, wanted, strict=True))
        return [self._shown(record) for record in records if _fits(record, sent)]

    def _shown(self, record: Any) -> Any:
        if not isinstance(record, dict):
            return record
        hidden = _NEW_IN_2026_FIELDS if self.world.schema == "2020" else frozenset()
        return {name: value for name, value in record.items() if name != WHEN and name not in hidden}

    def _finish(self, action: str, content: Mapping[str, Any]) -> bytes:
        document = {"RetCode": 0, "Action": f"{action}Response", **content}
        return encode(disguise(document, self.world.quirks, turn=self._turn) if self.world.quirks else document)


def _filters(params: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return what a request asks by, in the order of `CONDITIONS`."""
    # The page's table writes K8sVersion, its example K8SVersion.
    version = params.get("K8sVersion") or params.get("K8SVersion", "")
    return params.get("ProductType", ""), params.get("MachineType") or "O", params.get("GPUType", ""), version


def _unconditional(record: Any) -> Any:
    is_conditional = isinstance(record, dict) and WHEN in record
    return {name: value for name, value in record.items() if name != WHEN} if is_conditional else record


def _fits(record: Any, sent: Mapping[str, str]) -> bool:
    conditions = record.get(WHEN) if isinstance(record, dict) else None
    if not isinstance(conditions, dict):
        return True
    for name, globs in conditions.items():
        value = sent.get(name, "")
        accepted = globs if isinstance(globs, list) else [globs]
        if value and not any(fnmatchcase(value, str(glob)) for glob in accepted):
            return False
    return True


def _open_to(name: str, globs: tuple[str, ...]) -> bool:
    return globs == ("*",) or any(fnmatchcase(name, glob) for glob in globs)


def _first(*values: int | None) -> int:
    return next((value for value in values if value is not None), 0)
