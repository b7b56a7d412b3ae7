"""The rates that accounts share, for one process: a throttle for each, and the thread in which slots are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sqlalchemy import Engine

from crawler.client.api_options import Timing
from crawler.client.throttle import REGAIN, Throttle
from crawler.config.models import AccountSettings, Settings

if TYPE_CHECKING:
    from crawler.client.shared_throttle import SharedThrottler
    from crawler.crawl.run import ThrottleOf
    from crawler.db.thread import DatabaseThread

P = ParamSpec("P")
R = TypeVar("R")


@asynccontextmanager
async def shared_budgets(settings: Settings, engine: Engine, timing: Timing) -> AsyncIterator[ThrottleOf]:
    """
    Give for a block what paces each account: the throttle of its budget, or its client's own where it shares none.

    The slots are taken over *engine*. Raises DatabaseUnavailable; so does the throttle, where no slots can be had.
    """
    named = {one.limits.budget: one.limits for one in settings.accounts if one.limits.budget is not None}
    if not named:
        yield lambda account, own: own
        return
    from crawler.client.shared_throttle import SHARED_PACE, SharedThrottler
    from crawler.db.budgets import BudgetRow
    from crawler.db.thread import DatabaseThread

    throttles: dict[str, SharedThrottler] = {}
    with DatabaseThread() as in_thread:
        for name, limits in named.items():
            rate, period = limits.rate, limits.period_seconds
            row = BudgetRow(engine, name=name, rate=rate, period=period, pace=SHARED_PACE, regain=REGAIN)
            await in_thread(row.open)
            throttles[name] = SharedThrottler(
                rate,
                period,
                take=_within(in_thread, row.take),
                halve=_within(in_thread, row.halve),
                timing=timing,
            )

        def throttle(account: AccountSettings, own: Throttle) -> Throttle:
            return own if account.limits.budget is None else throttles[account.limits.budget]

        try:
            yield throttle
        finally:
            for one in throttles.values():
                await one.close()


def shared_here() -> ThrottleOf:
    """
    Give what paces accounts that are asked without a run: one throttle for all that share a budget.

    Nothing is written for that, so that other processes know nothing of it.
    """
    throttles: dict[str, Throttle] = {}

    def throttle(account: AccountSettings, own: Throttle) -> Throttle:
        return own if account.limits.budget is None else throttles.setdefault(account.limits.budget, own)

    return throttle


def sharers(settings: Settings, account: AccountSettings) -> int:
    """Return how many accounts of *settings* share the rate of *account*, itself included."""
    budget = account.limits.budget
    return 1 if budget is None else sum(one.limits.budget == budget for one in settings.accounts)


def _within(in_thread: DatabaseThread, work: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    async def done(*args: P.args, **kwargs: P.kwargs) -> R:
        return await in_thread(work, *args, **kwargs)

    return done
