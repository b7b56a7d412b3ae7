"""The pins of a report that stand in files, or live in the cloud: `pins_from` of the configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from crawler.config.models import ReportSettings
from crawler.config.pin_files import leave_out, pins_in
from crawler.domain.filters import EVERYTHING
from crawler.domain.scanner import FoundPin, Scanned
from crawler.domain.subscriptions import LIVE, Pin, Subscription
from crawler.queries.check.pins import pin_rules
from crawler.queries.check.rules import PinRule
from crawler.queries.live_pins import live_pins
from crawler.queries.revoke import never_listed

#: Of machines: many of their images are their owners' own, and nobody lists them.
_MACHINES = ("ucloud_instance", "ucloud_baremetal_instance")

logger = logging.getLogger(__name__)


def subscription_of(report: ReportSettings, conn: Connection, *, now: datetime, stale_after: timedelta) -> Subscription:
    """
    Return what *report* watches, with the pins that stand now in the files it names and those of node groups.

    Of machines those count whose images some observation listed. A file that cannot be read is said in the log, and its
    pins are missing, which the subscription says; so it does while nobody asks for node groups.
    """
    if not report.pins_from:
        return report.subscription
    subscription = report.subscription
    in_files, has_all = _found(report.name, report.pins_from)
    of_machines = sorted({pin.image_id for pin in in_files if pin.resource in _MACHINES})
    unwatched = set(never_listed(conn, of_machines)) if of_machines else set()
    found = [
        Pin(pin.zone or "", pin.image_id)
        for pin in in_files
        if pin.resource not in _MACHINES or pin.image_id not in unwatched
    ]
    if LIVE in report.pins_from:
        live, doubts = live_pins(conn, EVERYTHING, now=now, stale_after=stale_after)
        has_all = has_all and all(row.outcome != "not-asked" for row in doubts)
        found += [Pin(rule.zone or "", rule.image_id) for rule in live]
    return replace(subscription, pins=tuple(dict.fromkeys((*subscription.pins, *found))), has_all_pins=has_all)


def rules_of(
    pinned: Iterable[tuple[str, Pin]], names: Iterable[str], complain: Callable[[str, ValueError], None]
) -> Iterator[PinRule]:
    """
    Yield the pins of reports (*pinned*, with the names of these) and those in the files and folders *names*, as rules.

    One that is out of reach goes to *complain*, with what is wrong.
    """
    for report, pin in pinned:
        yield PinRule(image_id=pin.image_id, zone=pin.zone, source=f"report {report}")
    for name in dict.fromkeys(name for name in names if name != LIVE):
        try:
            for file, found in pins_in(name):
                yield from pin_rules(Scanned(pins=(found,)), file)
        except ValueError as exc:
            complain(name, exc)


def _found(report: str, names: Iterable[str]) -> tuple[list[FoundPin], bool]:
    """Return the pins in files and folders, and whether these are all there are."""
    found: list[FoundPin] = []
    has_all = True

    def complain(file: Path, problem: ValueError) -> None:
        nonlocal has_all
        has_all = False
        leave_out(file, problem)

    for name in names:
        if name == LIVE:
            continue
        try:
            found.extend(pin for _, pin in pins_in(name, complain))
        except ValueError as exc:
            has_all = False
            logger.warning("report %s: pins_from: %s; its pins are not watched", report, exc)
    return found, has_all
