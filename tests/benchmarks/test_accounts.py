"""What one account costs where there are many, and what all of them cost together."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, insert, update

from crawler.db import runs
from crawler.db.engine import begin, opened, read
from crawler.db.runs import COUNTERS
from crawler.db.schema import OPEN_RUN, Account, ImageVersion, Run, Scope, ScopeTarget, TargetRow
from crawler.db.types import to_micros
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME, digest_of
from crawler.domain.subscriptions import Subscription
from crawler.notifications.delivery_store import gather
from crawler.notifications.digest import build_digest
from crawler.notifications.models import NotifiedState
from crawler.queries import status
from tests.support.figures import Figures

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

TARGETS = 600
START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = START + timedelta(days=1)
#: The end of the runs of the first account.
FIRST_END = START + timedelta(seconds=10)
#: Accounts, and targets of each, that make 100,000.
MANY, PER_ACCOUNT = 100, 1_000
ROUNDS = 7
HOW = f"best of {ROUNDS}"
ROW = "many accounts"


def fill(engine: Engine, accounts: range, targets: int) -> None:
    """Make *accounts* (by their numbers, from 1) of so many targets each, every one with a scope and two runs."""
    for account_id in accounts:
        ids = list(range((account_id - 1) * targets + 1, account_id * targets + 1))
        at = START + timedelta(seconds=account_id)
        with begin(engine) as conn:
            conn.execute(insert(Account), {"id": account_id, "name": f"account-{account_id}", "endpoint": ""})
            conn.execute(insert(TargetRow), [target_row(one, account_id) for one in ids])
            scope = {"id": account_id, "digest": digest_of(ids), "size": targets, "account_id": account_id}
            conn.execute(insert(Scope), scope)
            conn.execute(insert(ScopeTarget), [{"scope_id": account_id, "target_id": one} for one in ids])
            for run_id in (2 * account_id - 1, 2 * account_id):
                conn.execute(insert(Run), run_row(run_id, account_id, at))
    with begin(engine) as conn:
        conn.exec_driver_sql("ANALYZE")  # as the server does by itself after so many rows


def fill_with_images(engine: Engine) -> None:
    """Let every target list five images since its account's first run; one in fifty has failed in the last run."""
    since, last = to_micros(START), to_micros(END_OF_TIME)
    with begin(engine) as conn:
        conn.execute(update(TargetRow).values(baseline_run_id=TargetRow.account_id * 2 - 1))
        for number in range(1, 6):
            image = {"image_set": "ImageSet", "image_id": f"uimage-{number}", "image_name": "x", "name_key": "x"}
            conn.execute(insert(ImageVersion), {"id": number, "digest": str(number), **image, "attributes": {}})
            conn.exec_driver_sql(
                "INSERT INTO intervals (target_id, account_id, version_id, valid_from, valid_to, present_since,"
                f" baseline, opened_run_id) SELECT id, account_id, {number}, {since}, {last}, {since}, true,"
                " baseline_run_id FROM targets"
            )
        conn.exec_driver_sql(
            "INSERT INTO exceptions (target_id, account_id, from_run_id, to_run_id, outcome, message, request_uuid,"
            f" since, last_good_at) SELECT id, account_id, account_id * 2, {OPEN_RUN}, 'failed', 'down', '', {since},"
            f" {since} FROM targets WHERE (id / 50) * 50 = id"
        )
        conn.exec_driver_sql("ANALYZE")


def target_row(target_id: int, account_id: int) -> dict[str, Any]:
    names = {"project": "org-a", "region": "hk", "kind": "uk8s-image", "variant": "default"}
    return {"id": target_id, "account_id": account_id, "zone": f"hk-{target_id}", **names}


def run_row(run_id: int, account_id: int, at: datetime) -> dict[str, Any]:
    moments = {"started_at": at, "finished_at": at + timedelta(seconds=9)}
    whose = {"accounts": [account_id], "account_id": account_id, "scope_id": account_id, "restricted": False}
    return {"id": run_id, "status": "complete", **moments, **whose, **dict.fromkeys(COUNTERS, 0)}


def best(call: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return how long *call* takes at best, in milliseconds; the first one is not counted."""
    call()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def peak(call: Callable[[], object]) -> float:
    """Return how much memory *call* takes at most, in MB."""
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def test_scale(both_urls: str, figures: Figures) -> None:
    """What one account of 600 targets costs is the same beside 1,000 others as alone: its plan, its status, its end."""
    filters = Filters(account=("account-1",))
    own = list(range(1, TARGETS + 1))
    questions: dict[str, tuple[float, Callable[[Connection], int]]] = {
        "planning 600 targets among others": (30, lambda conn: len(runs.plan(conn, own, [1]))),
        "status of 600 targets among others": (
            30,
            lambda conn: len(status.status(conn, filters, now=NOW)),
        ),
        "the last moment among others": (
            2,
            lambda conn: TARGETS * (runs.last_instant(conn, [1]) == FIRST_END),
        ),
    }
    alone: dict[str, float] = {}
    with opened(both_urls) as engine:
        kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.dialect.name]
        made = 0
        for accounts in (1, 10, 100, 1000):
            fill(engine, range(made + 1, accounts + 1), TARGETS)
            made = accounts
            for what, (bar, ask) in questions.items():

                def look(ask: Callable[[Connection], int] = ask) -> None:
                    with read(engine) as conn:
                        assert ask(conn) == TARGETS

                taken = best(look)
                alone.setdefault(what, taken)
                case = f"{kind} × {accounts:,}"
                if accounts < 1000:
                    figures.shown(ROW, what, taken, "ms", case=case, detail=HOW)
                    continue
                figures.at_most(ROW, what, taken, bar, "ms", case=case, detail=HOW)
                figures.at_most(ROW, f"{what}, beside alone", taken / alone[what], 3, "×", case=kind)


def test_last_instant(both_urls: str, figures: Figures) -> None:
    """The last moment of an account is found in 2 ms, though 10,000 ran since."""
    accounts = 10_000
    with opened(both_urls) as engine:
        fill(engine, range(1, accounts + 1), 1)

        def look() -> None:
            with read(engine) as conn:
                assert runs.last_instant(conn, [1]) == FIRST_END

        kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.dialect.name]
        what = "the last moment among others"
        figures.at_most(ROW, what, best(look), 2, "ms", case=f"{kind} × {accounts:,}", detail=HOW)


def test_everything(both_urls: str, figures: Figures) -> None:
    """Metrics and a digest of 100,000 targets take a second; they and the rows of `status` take little memory."""
    notified = NotifiedState(introduced=True)
    subscription = Subscription(name="sre", timezone=ZoneInfo("UTC"))

    def digest(conn: Connection) -> None:
        facts = gather(conn, subscription, [2], notified, now=NOW, stale_after=timedelta(hours=26))
        made = build_digest(subscription, facts, notified)
        assert made is not None
        assert made.coverage.total == MANY * PER_ACCOUNT

    def rows(conn: Connection) -> None:
        assert sum(1 for _ in status.each_status(conn, now=NOW)) == MANY * PER_ACCOUNT

    def metrics(conn: Connection) -> None:
        assert status.oldest_observation(conn, now=NOW) == (START, 0)

    with opened(both_urls) as engine:
        fill(engine, range(1, MANY + 1), PER_ACCOUNT)
        fill_with_images(engine)
        for what, ask, memory in (("metrics", metrics, 10), ("status", rows, 10), ("a digest", digest, 30)):

            def look(ask: Callable[[Connection], None] = ask) -> None:
                with read(engine) as conn:
                    ask(conn)

            case, taken = engine.dialect.name, best(look, rounds=3) / 1000
            if ask is rows:
                figures.shown(ROW, f"{what} of 100,000 targets", taken, "s", case=case)
            else:
                figures.at_most(ROW, f"{what} of 100,000 targets", taken, 1, "s", case=case)
            figures.at_most(ROW, f"{what} of 100,000 targets, memory", peak(look), memory, "MB", case=case)
