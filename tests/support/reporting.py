"""Facts for digests: made by hand in a few words, or read from a real history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, HeldImage, HoldRow, ImageRow, RunSummary, StatusRow, Stay
from crawler.domain.subscriptions import Pin, Subscription
from crawler.notifications.models import DigestFacts
from crawler.queries import changes as queries_changes
from crawler.queries import images, status
from crawler.queries import runs as queries_runs
from crawler.queries.holds import holds
from crawler.queries.stays import stays_of

#: When run 1 began; run *n* begins *n* - 1 hours later and takes a minute.
BEGIN = datetime(2026, 11, 22, 11, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def subscribe(name: str = "sre", **more: Any) -> Subscription:
    """Return a subscription; `pins` are `"zone id"` texts, or ids of no zone."""
    pins = tuple(Pin(*text.split()) if " " in text else Pin("", text) for text in more.pop("pins", ()))
    return Subscription(name=name, pins=pins, **{"timezone": SHANGHAI, **more})


def at(run: float) -> datetime:
    """Return when *run* began; `at(2.5)` lies half an hour after run 2."""
    return BEGIN + timedelta(hours=run - 1)


def target(zone: str = "hk-02", project: str = "org-a", account: str = "prod", variant: str = "default") -> Target:
    """Return a target; the region is the zone's name without its last part."""
    return Target(account, project, zone.rpartition("-")[0], zone, "uk8s-image", variant)


class Story:
    """Collects what happened, in order, and gives it as facts."""

    def __init__(self, zones: int | list[str] = 3, projects: tuple[str, ...] = ("org-a",)) -> None:
        names = zones if isinstance(zones, list) else [f"zone-{number:02}" for number in range(1, zones + 1)]
        self.status = {
            target(zone, project): self._status(target(zone, project)) for zone in names for project in projects
        }
        self.changes: list[ChangeRow] = []
        self.holds: list[HoldRow] = []
        self.images: list[ImageRow] = []
        self.withdrawals: list[ChangeRow] = []
        self.stays: list[Stay] = []
        self.gpu: dict[tuple[str, str], bool | None] = {}
        self.project_names: dict[tuple[str, str], str] = {}

    @staticmethod
    def _status(where: Target, **more: Any) -> StatusRow:
        defaults: dict[str, Any] = {
            "outcome": "ok", "since": at(1), "last_ok_at": at(1), "images": 3, "message": ""
        }  # fmt: skip
        return StatusRow(target=where, **defaults | more)

    def set(self, where: Target, **more: Any) -> None:
        """Set the status of a target."""
        self.status[where] = self._status(where, **more)

    def change(
        self,
        event: str,
        image_id: str | None = "uimage-a",
        name: str | None = "Ubuntu 22.04",
        *,
        where: Target | str = "zone-01",
        run: int = 2,
        fields: Mapping[str, list[Any]] | None = None,
        counterpart: str | None = None,
        **more: Any,
    ) -> ChangeRow:
        """Add a change recorded by *run*."""
        defaults: dict[str, Any] = {
            "image_set": "ImageSet" if image_id else None,
            "not_before": at(run - 1),
            "observed_at": at(run),
            "recorded_at": at(run) + timedelta(seconds=30),
        }
        row = ChangeRow(
            id=len(self.changes) + 1,
            run=run,
            target=where if isinstance(where, Target) else target(where),
            event=event,  # type: ignore[arg-type]
            image_id=image_id,
            image_name=name if image_id else None,
            fields=fields or {},
            counterpart=counterpart,
            **defaults | more,
        )
        self.changes.append(row)
        if event == "withdrawn":
            self.withdrawals.append(row)
            self.stays.append(
                Stay(
                    target=row.target, image_set="ImageSet", image_id=image_id or "", attributes={"image_name": name},
                    valid_from=at(0), valid_to=row.observed_at, present_since=at(0), baseline=True,
                )
            )  # fmt: skip
        return row

    def image(self, image_id: str, name: str = "Ubuntu 22.04", *, where: Target | str = "zone-01", **more: Any) -> None:
        """Add an image that is open."""
        defaults: dict[str, Any] = {
            "image_set": "ImageSet", "attributes": {"image_name": name}, "valid_from": at(1),
            "present_since": at(1), "baseline": True,
            "superseded_by": None, "state": "present", "reason": None, "observed_at": at(2),
        }  # fmt: skip
        place = where if isinstance(where, Target) else target(where)
        self.images.append(ImageRow(target=place, image_id=image_id, **defaults | more))

    def hold(self, *image_ids: str, where: str = "zone-01", run: int = 2, name: str = "Ubuntu 22.04") -> None:
        """Add an open hold."""
        self.holds.append(
            HoldRow(
                id=len(self.holds) + 1, run=run, target=target(where), status="open",
                images=tuple(HeldImage("ImageSet", image_id, name) for image_id in image_ids), held_at=at(run),
                not_before=at(run - 1), confirmations=0, waits_for="confirmations", resolved_at=None, resolved_by=None,
            )
        )  # fmt: skip

    def facts(self, *runs: int, now: datetime | None = None, **more: Any) -> DigestFacts:
        """Return the facts of *runs* (by default run 2)."""
        numbers = runs or (2,)
        return DigestFacts(
            now=now or at(numbers[-1]) + timedelta(minutes=1),
            runs=tuple(run_summary(number) for number in numbers),
            changes=tuple(row for row in self.changes if row.run in numbers),
            status=tuple(self.status.values()),
            holds=tuple(self.holds),
            images=tuple(self.images),
            withdrawals=tuple(self.withdrawals),
            stays=tuple(self.stays),
            gpu=self.gpu,
            project_names=self.project_names,
            **more,
        )


def run_summary(number: int, **more: Any) -> RunSummary:
    """Return a finished run."""
    defaults: dict[str, Any] = {"targets": {}, "baseline": {}, "changes": {}, "requests": {}, "accounts": ("prod",)}
    return RunSummary(
        run=number,
        status="complete",
        started_at=at(number),
        finished_at=at(number) + timedelta(minutes=1),
        **defaults | more,
    )


def facts_of(conn: Connection, *, now: datetime, stale_after: timedelta = timedelta(hours=26)) -> DigestFacts:
    """Return everything a history holds, as if nobody had been told anything."""
    summaries = [queries_runs.run(conn, summary.run) for summary in queries_runs.runs(conn)]
    changes = tuple(queries_changes.changes(conn))
    return DigestFacts(
        now=now,
        runs=tuple(summary for summary in summaries if summary is not None),
        changes=changes,
        status=tuple(status.status(conn, now=now)),
        holds=tuple(holds(conn)),
        images=tuple(images.images(conn, None, now=now, stale_after=stale_after, include_retired=True)),
        withdrawals=tuple(row for row in changes if row.event == "withdrawn"),
        stays=tuple(stays_of(conn, {row.image_id for row in changes if row.image_id})),
    )
