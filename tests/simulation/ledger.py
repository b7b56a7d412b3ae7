"""Watches a run write: sees every transaction begin, and may end the process there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from crawler.domain.models import Target
from tests.simulation.checks import spot_of
from tests.simulation.model import Spot
from tests.simulation.past import Expected


class Killed(Exception):
    """The process died here."""


@dataclass
class Ledger:
    """Stands where the lock's fence stands: sees every write transaction begin, and may end the process there."""

    clock: Callable[[], datetime]
    dies_at: int | None
    #: Targets that had ended when each transaction began, and when that was.
    written: list[tuple[datetime, frozenset[Spot]]] = field(default_factory=list)
    told: set[Spot] = field(default_factory=set)

    def check(self, _connection: Connection, /) -> None:
        """Note a transaction, or die before it does anything."""
        if self.dies_at == len(self.written) + 1:
            raise Killed
        self.written.append((self.clock(), frozenset(self.told)))

    def progress(self, target: Target, _done: int, _total: int, /) -> None:
        """Note that a target has ended."""
        self.told.add(spot_of(target))

    def written_at(self, change: Expected) -> datetime:
        """
        Return when the transaction began that had to write *change*: the plan's, or the next once its target ended.
        """
        begun = self.written[1:]
        if change.key is None:
            return begun[0][0]
        return next((at for at, told in begun if change.spot in told), begun[-1][0])
