"""The image ids that a file holds, as rules of a policy: each must still be good in the zone that it is for."""

from __future__ import annotations

from collections.abc import Iterator

from crawler.domain.filters import Filters
from crawler.domain.scanner import FoundPin, Scanned
from crawler.queries.check.rules import DEFAULT_KIND, MACHINES, PinRule


def pin_rules(scanned: Scanned, source: str) -> Iterator[PinRule]:
    """Return a rule for each pin in a file, which people know by the name *source*."""
    for pin in scanned.pins:
        yield PinRule(
            image_id=pin.image_id,
            zone=pin.zone,
            scope=Filters(
                region=(pin.region,) if pin.region else (),
                project=(pin.project,) if pin.project else (),
                kind=(DEFAULT_KIND, MACHINES[pin.resource]) if pin.resource in MACHINES else (),
            ),
            source=_where(pin, source, is_source=scanned.is_source),
            file=source,
            place=pin,
        )


def _where(pin: FoundPin, source: str, *, is_source: bool) -> str:
    """Tell the place as people look for it: by its line in what they edit, by its address in what a tool wrote."""
    return f"{source}, {pin.address}" if pin.address and not is_source else f"{source}, line {pin.line}"
