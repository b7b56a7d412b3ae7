"""Which endings of images a digest tells, once each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime

from crawler.domain.endings import end_of, notice_of
from crawler.domain.rows import ImageRow
from crawler.domain.subscriptions import Subscription
from crawler.notifications.models import Ending, ProjectNames, target_key, wants_target


def look_at_endings(
    subscription: Subscription,
    rows: Iterable[ImageRow],
    known: Collection[str],
    names: ProjectNames,
    now: datetime,
) -> tuple[tuple[Ending, ...], frozenset[str]]:
    """
    Return which of the *rows* that end nobody was told of yet, and what is *known* to be told once that is sent.

    Of what the subscription watches, whose projects have *names*, and of its pinned images in any case. What was told
    of an image that is not among *rows* stays so until its end: perhaps nobody asks there for a while.
    """
    pinned = {(pin.zone.casefold(), pin.image_id) for pin in subscription.pins}
    watch = subscription.watch
    found: dict[tuple[str, str, str, date, int, bool], set[str]] = {}
    told: set[str] = set()
    listed: set[str] = set()
    for row in rows:
        image = f"{target_key(row.target)} {row.image_set}/{row.image_id}"
        listed.add(image)
        is_pinned = not pinned.isdisjoint({(row.target.zone.casefold(), row.image_id), ("", row.image_id)})
        is_watched = wants_target(watch, row.target, names) and watch.wants_name(row.image_name)
        notice, ends_on = notice_of(row, now, is_pinned=is_pinned), end_of(row)
        if notice is None or ends_on is None or not (is_pinned or (is_watched and not watch.event)):
            continue
        key = f"{image} {ends_on.isoformat()} {notice}"
        told.add(key)
        if key not in known:
            likeness = (row.target.account, row.image_id, row.image_name, ends_on, notice, is_pinned)
            found.setdefault(likeness, set()).add(row.target.zone)
    today = now.astimezone(UTC).date().isoformat()
    for key in known:
        image, last_day, _ = key.rsplit(" ", 2)
        if image not in listed and last_day >= today:
            told.add(key)
    endings = (
        Ending(
            account=account, zones=tuple(sorted(zones)), image_id=image_id, name=name, ends_on=ends_on,
            notice_days=notice, is_pinned=is_pinned,
        )
        for (account, image_id, name, ends_on, notice, is_pinned), zones in found.items()
    )  # fmt: skip
    ordered = sorted(endings, key=lambda one: (one.ends_on, not one.is_pinned, one.account, one.zones, one.image_id))
    return tuple(ordered), frozenset(told)
