"""
A cloud whose lists come in pages and by clusters, and what goes wrong between them.

It keeps every state of the world that a run could have seen, so that a withdrawal can be held against all of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from crawler.client.api import ApiClient, NetworkFailure, Room, hash_of
from crawler.client.responses import Answer

#: Images by id, with their State; groups by cluster and id, with their image.
Images = dict[str, str]
Clusters = dict[str, dict[str, str]]

STATES = ("Available", "Making", "Unavailable")
TROUBLES = (
    "refused", "throttled", "broken", "cut off", "emptied", "repeated", "shifted", "elsewhere", "another action",
    "moving", "no cluster", "another cluster", "short cluster",
)  # fmt: skip
MANNERS = ("no total", "own total", "small pages", "error at the end")


@dataclass
class PagedWorld:
    """What is true, and how this cloud answers in any case."""

    rng: random.Random
    images: Images = field(default_factory=dict)
    clusters: Clusters = field(default_factory=dict)
    manners: frozenset[str] = frozenset()
    size: int = 100
    _number: int = 0

    @classmethod
    def of(cls, seed: int) -> Self:
        """Return the world of a seed, with something in it."""
        rng = random.Random(f"paged {seed}")
        manners = {manner for manner in MANNERS if rng.random() < 0.3}
        if random.Random(f"repeats {seed}").random() < 0.3:  # of its own, so that all else of a seed stays as it was
            manners.add("repeats")
        if random.Random(f"says more {seed}").random() < 0.3:
            manners.add("says more")
        elif "small pages" in manners:  # without the number of all records such a page looks like the whole list
            manners -= {"no total", "own total"}
        world = cls(rng, manners=frozenset(manners), size=rng.choice((3, 4, 10)) if "small pages" in manners else 100)
        for _ in range(rng.choice((2, 9, 100, 203)) if world.size == 100 else rng.randint(2, 25)):
            world.appear()
        for _ in range(rng.randint(1, 3)):
            world.clusters[f"uk8s-{world._next()}"] = {
                f"ng-{world._next()}": "uimage-1" for _ in range(rng.randint(1, 3))
            }
        return world

    def _next(self) -> int:
        self._number += 1
        return self._number

    def appear(self) -> None:
        """Let an image appear, anywhere in the list."""
        listed = list(self.images.items())
        listed.insert(self.rng.randint(0, len(listed)), (f"uimage-{self._next()}", "Available"))
        self.images = dict(listed)

    def happen(self) -> None:
        """Let something happen: an image comes, goes or changes its state; so does a group."""
        match self.rng.randrange(5):
            case 0:
                self.appear()
            case 1 if len(self.images) > 1:
                del self.images[self.rng.choice(list(self.images))]
            case 2 if self.images:
                self.images[self.rng.choice(list(self.images))] = self.rng.choice(
                    ("Available", "Making", "Unavailable")
                )
            case 3 if self.clusters:
                groups = self.clusters[self.rng.choice(list(self.clusters))]
                if groups and self.rng.random() < 0.3:
                    del groups[self.rng.choice(list(groups))]
                else:
                    groups[f"ng-{self._next()}"] = "uimage-1"
            case 4 if self.clusters:
                groups = self.clusters[self.rng.choice(list(self.clusters))]
                for group in groups:
                    groups[group] = f"uimage-{self.rng.randint(1, 9)}"

    def groups(self) -> Images:
        """Return every group with its image."""
        return {group: image for groups in self.clusters.values() for group, image in groups.items()}


@dataclass
class PagedCloud:
    """The cloud during one run."""

    world: PagedWorld
    #: What may go wrong, and how often.
    troubles: Mapping[str, float]
    #: States of the world that the run may have seen: the images, and the groups.
    seen: list[tuple[Images, Images]] = field(default_factory=list)
    #: What did go wrong.
    happened: list[str] = field(default_factory=list)
    #: The world changed while its lists were read.
    has_moved: bool = False

    def __post_init__(self) -> None:
        """Keep what is there when the run begins."""
        self.note()

    def note(self) -> None:
        """Keep the present state."""
        self.seen.append((dict(self.world.images), self.world.groups()))

    def answer(self, params: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        rng, action = self.world.rng, params["Action"]
        offset = int(params.get("Offset", "0") or 0)
        if action in ("GetRegion", "GetProjectList"):
            return 200, json.dumps(self._document(action, params, "", offset)).encode()
        trouble = next((name for name in TROUBLES if rng.random() < self.troubles.get(name, 0)), "")
        # What nothing tells from the truth, even by reading it twice, is left out.
        trouble = "" if self._is_hidden(trouble) else trouble
        document = self._document(action, params, trouble, offset)
        if trouble == "moving":
            self.world.happen()
            self.has_moved = True
            self.note()
        if trouble:
            self.happened.append(trouble)
        if trouble == "broken":
            raise NetworkFailure("the connection was closed before the answer")
        if trouble == "cut off":
            return 200, json.dumps(document).encode()[:-7]
        if trouble == "refused":
            document = {"RetCode": rng.choice((8010, 150, 230)), "Message": "no"}
        elif trouble == "throttled":
            document = {"RetCode": 153, "Message": "slow down"}
        elif trouble == "another action":
            document = {**document, "Action": "DescribeSomethingElseResponse"}
        elif trouble == "elsewhere":
            document = {**document, "Region": "cn-bj2"}
        return 200, json.dumps(document).encode()

    def _is_hidden(self, trouble: str) -> bool:
        """Return whether nobody could tell: an end that nothing contradicts, the same record moved away twice."""
        return (trouble == "emptied" and not self._states_total) or (trouble == "moving" and self.has_moved)

    def _document(self, action: str, params: Mapping[str, str], trouble: str, offset: int) -> dict[str, Any]:
        good = {"RetCode": 0, "Action": f"{action}Response"}
        if action == "GetRegion":
            return {**good, "Regions": [{"Region": "hk", "Zone": "hk-02", "RegionId": 1}]}
        if action == "GetProjectList":
            return {**good, "ProjectSet": [{"ProjectId": "org-a", "IsDefault": True}]}
        if action == "DescribeImage":
            records: list[Any] = [
                {"ImageId": image_id, "ImageType": "Base", "ImageName": image_id, "State": state, "Zone": "hk-02"}
                for image_id, state in self.world.images.items()
            ]
            return {**good, **self._page("ImageSet", records, params, trouble, offset)}
        clusters = self.world.clusters
        if action == "ListUK8SClusterV2":
            return {
                **good,
                **self._page("ClusterSet", [{"ClusterId": name} for name in clusters], params, trouble, offset),
            }
        name = params["ClusterId"]
        if name not in clusters or trouble == "no cluster":
            return {"RetCode": 94007, "Message": "not found"}
        if action == "DescribeUK8SAutoscalerGroup":
            return {**good, "AutoScalingGroup": []}
        groups = [{"NodeGroupId": group, "ImageId": image} for group, image in clusters[name].items()]
        if trouble == "another cluster" and len(clusters) > 1:
            other = next(one for one in clusters if one != name)
            return {**good, "ClusterId": other, "NodeGroupList": []}
        if trouble == "short cluster" and groups:
            return {**good, "TotalCount": len(groups), "NodeGroupList": groups[1:]}
        return {**good, "NodeGroupList": groups}

    def _page(
        self, member: str, records: list[Any], params: Mapping[str, str], trouble: str, offset: int
    ) -> dict[str, Any]:
        limit = min(int(params["Limit"]), self.world.size)
        is_later = offset > 0
        begin = max(0, offset - 1) if trouble == "shifted" and is_later else 0 if trouble == "repeated" else offset
        page = [] if trouble == "emptied" else records[begin : begin + limit]
        if offset and not records[offset:] and "error at the end" in self.world.manners:
            return {"RetCode": 8039, "Message": "Offset exceeds the total"}
        total = {"TotalCount": len(page) if "own total" in self.world.manners else len(records)}
        sent = [record for record in page for _ in range(2)] if "repeats" in self.world.manners else page
        told = {} if "no total" in self.world.manners else total
        if "says more" in self.world.manners:
            told = {**told, "HasMore": bool(records[begin + limit :])}
        return {**told, member: sent}

    @property
    def _states_total(self) -> bool:
        return not self.world.manners & {"no total", "own total"}


class PagedClient(ApiClient):
    """A client whose transport is the cloud."""

    cloud: PagedCloud

    def of(self, cloud: PagedCloud) -> Self:
        """Ask *cloud*."""
        self.cloud = cloud
        return self

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def _post(self, form: bytes, room: Room, known_hash: bytes | None, secrets: Collection[str] | None) -> Answer:
        status, body = self.cloud.answer(dict(parse_qsl(form.decode())))
        return Answer(
            status=status,
            body=body,
            body_hash=hash_of(body),
            request_uuid="",
            retry_after_seconds=None,
            received_at=self.timing.clock(),
        )


def weathers(rng: random.Random) -> Iterator[dict[str, float]]:
    """Yield how bad each run's weather is: mostly good, now and then one kind of trouble, or all of them."""
    while True:
        match rng.randrange(6):
            case 0 | 1 | 2:
                yield {}
            case 3 | 4:
                yield {rng.choice(TROUBLES): rng.choice((0.1, 0.3))}
            case _:
                yield dict.fromkeys(TROUBLES, 0.03)
