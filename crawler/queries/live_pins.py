"""
The pins that live in the cloud: the image that the next node of each node group boots, by what the history holds.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from crawler.db.filters import chosen_targets
from crawler.domain.filters import Filters
from crawler.domain.matrix import Machine
from crawler.domain.rows import ImageRow
from crawler.domain.scanner import FoundPin
from crawler.domain.staleness import reason_of
from crawler.queries import images, status
from crawler.queries.check.rules import CheckRow, Group, PinRule

#: The kind whose records are node groups, and the set of those that scale by themselves.
KIND = "node-group"
_SCALING = "AutoScalingGroup"


def live_pins(
    conn: Connection, filters: Filters, *, now: datetime, stale_after: timedelta
) -> tuple[list[PinRule], list[CheckRow]]:
    """
    Return a rule for each node group that is known, and rows for the regions whose groups are not known.

    A scaling group that belongs to a node group is no pin of its own. A region that is not observed now keeps the
    groups it had, and has a row that says so; one that is asked no more has neither. *filters* choose accounts,
    projects and regions, with zones those that these are in.
    """
    place = Filters(account=filters.account, project=filters.project, region=filters.region, kind=(KIND,))
    asked = status.status(conn, place, now=now, include_retired=False)
    if not asked:
        detail = "node groups are not asked for: add node-group to `kinds` of an account"
        return [], [CheckRow(rule="live pins", zone=None, image_id=None, outcome="not-asked", detail=detail)]
    rows = list(images.images(conn, None, place, now=now, stale_after=stale_after))
    groups = {(row.target, row.image_id) for row in rows if row.image_set != _SCALING}
    rules = [
        rule
        for row in rows
        if row.image_set != _SCALING or (row.target, _text(row, "node_group_id")) not in groups
        if (rule := _rule(row)) is not None
    ]
    doubts = []
    regions = _regions_of_zones(conn, filters) if filters.zone else set()
    for target in asked:
        if regions and target.target.region not in regions:
            continue
        reason = reason_of(target.outcome, target.last_ok_at, now, stale_after)
        if reason is not None:
            said = f": {target.message}" if target.message else ""
            detail = f"its node groups are not known now ({reason}){said}; there may be others"
            where = target.target
            doubts.append(
                CheckRow(
                    rule=f"live pins of {where.region}",
                    zone=None,
                    image_id=None,
                    outcome="stale" if reason == "stale" else "unknown",
                    detail=detail,
                    account=where.account,
                    project=where.project,
                    observed_at=target.last_ok_at,
                )
            )
    return rules, doubts


def _regions_of_zones(conn: Connection, filters: Filters) -> set[str]:
    """Return the regions of the zones that *filters* choose: groups of others have no nodes there."""
    zones = Filters(account=filters.account, project=filters.project, region=filters.region, zone=filters.zone)
    return {choice.target.region for choice in chosen_targets(conn, zones) if choice.target.zone}


def _rule(row: ImageRow) -> PinRule | None:
    image_id = _text(row, "node_image_id")
    if not image_id:
        return None
    is_scaling = row.image_set == _SCALING
    name = _text(row, "group_name") or row.image_id
    group = Group(
        cluster_id=_text(row, "cluster_id"),
        cluster_name=_text(row, "cluster_name"),
        node_group_id=_text(row, "node_group_id") if is_scaling else row.image_id,
        machine=Machine(_text(row, "machine_type"), _text(row, "gpu_type")),
        k8s_version=_text(row, "k8s_version"),
    )
    address = f"{group.cluster_name or group.cluster_id}/{name}"
    zone = _text(row, "zone_name") or None
    place = FoundPin(
        image_id=image_id, zone=zone, line=0, column=0, at=0, address=address, effect="later-nodes",
        resource=KIND,
    )  # fmt: skip
    return PinRule(
        image_id=image_id,
        zone=zone,
        scope=Filters(account=(row.target.account,), project=(row.target.project,)),
        source=f"live, {address}",
        place=replace(place, note="" if row.state == "present" else f"the group is as last known: {row.reason}"),
        group=group,
    )


def _text(row: ImageRow, name: str) -> str:
    return str(row.attributes.get(name) or "")
