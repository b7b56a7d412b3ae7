"""
The row behind a rate that accounts share on all hosts: slots on PostgreSQL's clock, each given out once.

A slot is a moment at which one request may be sent. Who wants to send takes the next few, which lie one behind the
other at an even distance; those that pass unused are nobody's. So there is no lease, and nothing to give back: of
somebody who dies, or stands still, half a second of the budget is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, text

from crawler.db.engine import begin

_NOW = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"

_OPEN = text(
    """
    INSERT INTO budgets (name, configured, period, rate, due, halved_at, clean_since)
    VALUES (:name, :rate, :period, :rate, 0, 0, 0)
    ON CONFLICT (name) DO UPDATE SET configured = :rate, period = :period, rate = :rate
    WHERE budgets.configured <> :rate OR budgets.period <> :period
    """
)
# Expressions see the row as it is once everybody who was before is done.
_TAKE = text(
    f"""
    UPDATE budgets SET due = greatest(due, {_NOW} + :lead) + :slots * period / (rate * :pace) WHERE name = :name
    RETURNING due, {_NOW} AS now, rate, period, rate < configured AND clean_since + period <= {_NOW} AS regains
    """  # noqa: S608 - a constant
)
_REGAIN = text(
    f"""
    UPDATE budgets SET rate = least(configured, rate + :regain * configured), clean_since = {_NOW} WHERE name = :name
    """  # noqa: S608 - a constant
)
_HALVE = text(
    f"""
    UPDATE budgets SET clean_since = {_NOW},
        rate = CASE WHEN halved_at + period <= {_NOW} THEN greatest(least(1, configured), rate / 2) ELSE rate END,
        halved_at = CASE WHEN halved_at + period <= {_NOW} THEN {_NOW} ELSE halved_at END,
        due = greatest(due, :paused)
    WHERE name = :name
    RETURNING rate
    """  # noqa: S608 - a constant
)


@dataclass(frozen=True, slots=True)
class Slots:
    """Moments at which a request each may be sent, evenly spaced; by the server's clock, in seconds."""

    first: float
    distance: float
    count: int
    #: What that clock showed when they were given.
    now: float
    #: Requests per period that are allowed now.
    rate: float


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget, on the engine of a PostgreSQL database; its methods raise DatabaseUnavailable."""

    engine: Engine
    name: str
    rate: float
    period: float
    #: The part of the rate that is used, and what of it is regained in a clean period.
    pace: float
    regain: float

    def open(self) -> None:
        """Add the row where there is none; what the configuration says counts from now on where it says another."""
        with begin(self.engine) as conn:
            conn.execute(_OPEN, {"name": self.name, "rate": self.rate, "period": self.period})

    def take(self, count: int, lead: float = 0.0) -> Slots:
        """Take the next *count* slots that lie *lead* seconds ahead, or more."""
        with begin(self.engine) as conn:
            row = conn.execute(_TAKE, {"name": self.name, "slots": count, "lead": lead, "pace": self.pace}).one()
            if row.regains:
                conn.execute(_REGAIN, {"name": self.name, "regain": self.regain})
        distance = row.period / (row.rate * self.pace)
        return Slots(first=row.due - count * distance, distance=distance, count=count, now=row.now, rate=row.rate)

    def halve(self, paused_until: float = 0.0) -> float:
        """
        Halve the rate for everybody, once a period at most and never below one a period; give the rate.

        No slot lies before *paused_until*, by the server's clock.
        """
        with begin(self.engine) as conn:
            rate: float = conn.execute(_HALVE, {"name": self.name, "paused": paused_until}).scalar_one()
        return rate
