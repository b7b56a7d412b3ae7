"""What one account costs where there are many: planning its run, and finding its last moment."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from crawler.db import runs
from crawler.db.engine import begin, opened, read
from crawler.db.runs import COUNTERS
from crawler.db.schema import Account, Run, Scope, ScopeTarget, TargetRow
from crawler.domain.models import digest_of
from tests.support.figures import Figures

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

TARGETS = 600
START = datetime(2026, 11, 1, tzinfo=UTC)
ROUNDS = 7
ROW = "many accounts"


def fill(engine: Engine, accounts: int, targets: int) -> None:
    """Make *accounts* of so many targets each, every one with a scope and two runs of its own."""
    target_id = run_id = 0
    for account_id in range(1, accounts + 1):
        ids = list(range(target_id + 1, target_id + targets + 1))
        target_id = ids[-1]
        at = START + timedelta(seconds=account_id)
        with begin(engine) as conn:
            conn.execute(insert(Account), {"id": account_id, "name": f"account-{account_id}", "endpoint": ""})
            conn.execute(insert(TargetRow), [target_row(one, account_id) for one in ids])
            scope = {"id": account_id, "digest": digest_of(ids), "size": targets, "account_id": account_id}
            conn.execute(insert(Scope), scope)
            conn.execute(insert(ScopeTarget), [{"scope_id": account_id, "target_id": one} for one in ids])
            for _ in range(2):
                run_id += 1
                conn.execute(insert(Run), run_row(run_id, account_id, at))
    with begin(engine) as conn:
        conn.exec_driver_sql("ANALYZE")  # as the server does by itself after so many rows


def target_row(target_id: int, account_id: int) -> dict[str, Any]:
    names = {"project": "org-a", "region": "hk", "kind": "uk8s-image", "variant": "default"}
    return {"id": target_id, "account_id": account_id, "zone": f"hk-{target_id}", **names}


def run_row(run_id: int, account_id: int, at: datetime) -> dict[str, Any]:
    moments = {"started_at": at, "finished_at": at + timedelta(seconds=9)}
    whose = {"accounts": [account_id], "account_id": account_id, "scope_id": account_id, "restricted": False}
    return {"id": run_id, "status": "complete", **moments, **whose, **dict.fromkeys(COUNTERS, 0)}


def median(call: Callable[[], object]) -> float:
    """Return how long *call* takes, in milliseconds; the first one is not counted."""
    call()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


@pytest.mark.parametrize("accounts", [1, 10, 100, 1000])
def test_planning(both_urls: str, figures: Figures, accounts: int) -> None:
    """An account of 600 targets is planned in 30 ms, however many others there are."""
    with opened(both_urls) as engine:
        fill(engine, accounts, TARGETS)
        own = list(range(1, TARGETS + 1))

        def plan() -> None:
            with read(engine) as conn:
                assert len(runs.plan(conn, own, [1])) == TARGETS

        case = f"{accounts} accounts, {engine.dialect.name}"
        figures.at_most(ROW, "planning 600 targets", median(plan), 30, "ms", case=case)


@pytest.mark.parametrize("accounts", [100, 10_000])
def test_last_instant(both_urls: str, figures: Figures, accounts: int) -> None:
    """The last moment of an account is found in 2 ms, however many others ran since."""
    with opened(both_urls) as engine:
        fill(engine, accounts, 1)

        def look() -> None:
            with read(engine) as conn:
                assert runs.last_instant(conn, [1]) == START + timedelta(seconds=10)

        case = f"{accounts} accounts, {engine.dialect.name}"
        figures.at_most(ROW, "the last moment of one", median(look), 2, "ms", case=case)
