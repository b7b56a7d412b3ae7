"""Rows of the readers made by hand, for the questions that are asked of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from crawler.domain.models import Target
from crawler.domain.rows import ImageRow, StatusRow

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HK = Target("prod", "org-a", "hk", "hk-02", "uk8s-image")


def hours(count: float) -> datetime:
    """Return the moment so many hours before noon."""
    return NOON - timedelta(hours=count)


def target(zone: str = "hk-02", project: str = "org-a", variant: str = "default", account: str = "prod") -> Target:
    """Return a target."""
    return Target(account, project, zone.rpartition("-")[0], zone, "uk8s-image", variant)


def status(where: Target = HK, outcome: Any = "ok", *, last_ok: float | None = 0.25, message: str = "") -> StatusRow:
    """Return how a target is, *last_ok* in hours before noon."""
    last_ok_at = None if last_ok is None else hours(last_ok)
    return StatusRow(target=where, outcome=outcome, since=hours(5), last_ok_at=last_ok_at, images=1, message=message)


def image(
    image_id: str,
    name: str = "Ubuntu 20.04",
    where: Target = HK,
    *,
    came: float = 100,
    reason: Any = None,
    superseded_by: str | None = None,
    image_set: str = "ImageSet",
    observed: float | None = 0.25,
    **attributes: Any,
) -> ImageRow:
    """Return an open image that came so many hours before noon."""
    return ImageRow(
        target=where,
        image_set=image_set,
        image_id=image_id,
        attributes={"image_name": name, "gpu": True, **attributes},
        valid_from=hours(came),
        present_since=hours(came),
        baseline=False,
        superseded_by=superseded_by,
        state="unknown" if reason else "present",
        reason=reason,
        observed_at=None if observed is None else hours(observed),
    )
