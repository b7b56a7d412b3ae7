"""What happens to a fleet from outside: PostgreSQL restarts, hosts with other clocks, many equal changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.acceptance_table import Proven
from tests.support.databases import postgres_server
from tests.support.fleet import Fleet, made_fleet
from tests.support.smtp import SILENCE, Mail, MailServer, mail_server


@pytest.mark.parametrize(
    "modes", [["fast", "immediate"], pytest.param(["fast", "immediate"] * 2 + ["fast"], marks=pytest.mark.prove)]
)
def test_postgresql_restarts(tmp_path: Path, modes: list[str], proven: Proven) -> None:
    """No worker leaves when PostgreSQL restarts in the middle of runs, and every account is whole again soon."""
    with (
        postgres_server(on_disk=False, own=f"-{len(modes)}") as server,
        server.database() as url,
        made_fleet(tmp_path, url, zones=24, projects=12) as fleet,
    ):
        fleet.configure(12, every="10s", rate=12)
        fleet.start(2)
        for mode in modes:
            fleet.busiest(1)
            server.restart(mode)
        last = fleet.last_run()
        seconds = fleet.wait(lambda: len(fleet.complete(since=last)) == 12, 150)
        assert [process.poll() for process in fleet.workers] == [None, None], fleet.said()
        assert fleet.end() == [0, 0], fleet.said()
        assert fleet.overlaps() == []
        fleet.driver.call("db", "check")
    proven("every account is whole within 60 s of the last restart", f"{len(modes)} restarts, {seconds:.1f} s")
    if len(modes) >= 5:
        assert seconds <= 60


def test_clocks_of_hosts(fleet: Fleet, proven: Proven) -> None:
    """Workers a minute fast and a minute slow: no run fails, and what is recorded later says so."""
    fleet.configure(12, every="8s", rate=100)
    fleet.start(1, skew=60)
    fleet.start(1, skew=-60)
    fleet.wait(lambda: len(fleet.complete()) == 12, 120)
    fleet.cloud.advance()
    last = fleet.last_run()
    fleet.wait(lambda: len(fleet.complete(since=last)) == 12, 120)
    codes = fleet.end()
    recorded = [row.recorded_at for row in fleet.rows("SELECT recorded_at FROM changes ORDER BY id")]
    started = [row.started_at for row in fleet.rows("SELECT started_at FROM runs ORDER BY id")]
    worst = max([before - after for times in (recorded, started) for before, after in pairwise(times)], default=0)

    assert codes == [0, 0], fleet.said()
    assert fleet.rows("SELECT id FROM runs WHERE status <> 'complete'") == []
    assert worst <= timedelta(seconds=1) / timedelta(microseconds=1)
    proven("times of hosts 60 s fast and slow are in order within 1 s", f"{max(0, worst) / 1e6:.3f} s")


@contextmanager
def reporting_fleet(tmp_path: Path, url: str, accounts: int, every: str) -> Iterator[tuple[Fleet, MailServer]]:
    """Give a fleet that mails, whose accounts were all seen once; the cloud shows one image more to each since."""
    steps = [{"images": {"hk-00": {"uimage-new": "Image 0"}}}]
    with mail_server() as mails, made_fleet(tmp_path, url, zones=1, projects=accounts, steps=steps) as fleet:
        fleet.configure(
            accounts,
            every=every,
            is_known=True,
            smtp={"host": "127.0.0.1", "port": mails.port, "security": "none", "from": "crawler@example.com"},
            reports=[{"name": "sre", "to": ["sre@example.com"]}],
            fleet={"evict_after": "5s"},
        )
        fleet.cloud.advance()
        fleet.start(2, slots=16)
        yield fleet, mails


def test_one_mail_a_tick(tmp_path: Path, postgres_url: str, proven: Proven) -> None:
    """Accounts with the same change, crawled by several workers, are told of in one mail."""
    with reporting_fleet(tmp_path, postgres_url, 50, "14s") as (fleet, mails):
        told = "SELECT count(*) FROM changes WHERE event = 'appeared' AND reported_run_id IS NOT NULL"
        fleet.wait(lambda: fleet.value(told) == 50, 150)
        fleet.wait(lambda: any("uimage-new" in mail.text for mail in mails.mails), 150)
        fleet.end()
    found = [mail for mail in mails.mails if "uimage-new" in mail.text]

    assert len(found) == 1, [str(mail.message["Subject"]) for mail in mails.mails]
    proven("50 accounts with the same change are one mail", f"{len(found)} mail")


def test_sender_that_is_killed(tmp_path: Path, postgres_url: str, proven: Proven) -> None:
    """When the worker that sends dies within DATA, another sends the same mail: the same Message-ID, twice at most."""
    with reporting_fleet(tmp_path, postgres_url, 2, "8s") as (fleet, mails):
        mails.behave = lambda stage, value: SILENCE if stage == "data" and "uimage-new" in value.text else None
        fleet.wait(lambda: seen(mails), 150)
        mails.behave = lambda stage, value: None
        sender = fleet.sender()
        sender.kill()
        sender.wait()
        seconds = fleet.wait(lambda: any("uimage-new" in mail.text for mail in mails.mails), 240)
        time.sleep(3)
        fleet.end()
    ids = {mail.message_id for mail in seen(mails)}
    proven(
        "a sender killed within DATA: the same Message-ID, at most twice",
        f"{len(seen(mails))} times, {len(ids)} Message-ID, {seconds:.0f} s later",
    )

    assert len(seen(mails)) == 2
    assert len(ids) == 1


def seen(mails: MailServer) -> list[Mail]:
    """Return what came as far as DATA and tells of the new image."""
    return [mail for mail in mails.seen if "uimage-new" in mail.text]
