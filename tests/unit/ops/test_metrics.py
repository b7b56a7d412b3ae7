"""The metrics of a run as Prometheus's own tool reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from crawler.fleet.status import FleetState, TickState, metrics
from crawler.ops.metrics import Gauges, exposition, written_out
from tests.support.house import ROOT
from tests.unit.ops.test_cron_notice import NOW, SUMMARY

FULL = replace(
    SUMMARY,
    changes={"appeared": 2, "withdrawn": 0},
    requests={"sent": 30, "retried": 2, "throttled": 1},
)
GAUGES = Gauges(last_success_at=NOW, holds=1, oldest_observed_at=NOW, outbox=3, undelivered=2, rates={'we"ird\\': 7.5})
TEXT = exposition(FULL, 3, GAUGES)
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (package prometheus) is missing")


def test_samples() -> None:
    """Each figure has its sample, and a label's value is escaped."""
    assert 'crawler_last_run_targets{outcome="failed"} 1\n' in TEXT
    assert 'crawler_last_run_changes{event="appeared"} 2\n' in TEXT
    assert r'crawler_rate_in_use{account="we\"ird\\"} 7.500' in TEXT
    assert "crawler_last_run_duration_seconds 8\n" in TEXT
    assert "crawler_outbox_depth 3\n" in TEXT
    assert "crawler_undelivered_recipients 2\n" in TEXT


def test_never() -> None:
    """A moment that has not come has no sample, rather than the year 1970."""
    text = exposition(FULL, 4, Gauges())

    assert "last_success" not in text
    assert "oldest_observation" not in text


FLEET = FleetState(
    at=NOW,
    drained="",
    workers=(),
    ticks=(TickState(tick=NOW, due=2, done=1, late_seconds=3.5),),
    queue={"due": 1, "later": 0, "doing": 2, "failed": 0},
    ages=(1.0, 61.5),
    never=0,
    connections=12,
    budgets=(("key", 5.0, 10.0),),
    evictions=1,
    fences_lost=3,
    outbox=4,
    undelivered=1,
)


def test_mail_of_a_fleet_that_does_not_arrive() -> None:
    """Workers, which have no exit code, write to how many recipients a report was sent in vain."""
    text = written_out(metrics(FLEET))

    assert "crawler_fleet_outbox_depth 4\n" in text
    assert "crawler_fleet_undelivered_recipients 1\n" in text


@needs_promtool
def test_promtool_accepts_metrics() -> None:
    """`promtool check metrics` has nothing to say."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=TEXT, capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_promtool
def test_promtool_accepts_rules() -> None:
    """`promtool check rules` accepts the example alerts."""
    rules = ROOT / "config" / "prometheus" / "crawler.rules.yml"
    done = subprocess.run(
        ["promtool", "check", "rules", rules], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_rules_fire() -> None:
    """The example alerts fire when they should, and not before, in Prometheus's own unit tests."""
    tests = ROOT / "config" / "prometheus" / "crawler.rules.test.yml"
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_ask_for_metrics_that_exist() -> None:
    """Every metric the example alerts name is one that a run or a fleet writes."""
    rules = Path(ROOT / "config" / "prometheus" / "crawler.rules.yml").read_text(encoding="utf-8")
    written = set(re.findall(r"^# TYPE (\w+) ", TEXT + written_out(metrics(FLEET)), re.MULTILINE))

    assert set(re.findall(r"\bcrawler_\w+", rules)) <= written


def test_page_names_every_metric() -> None:
    """The page on operations names every metric of a run and of a fleet, and no other."""
    page = Path(ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^# TYPE (\w+) ", TEXT + written_out(metrics(FLEET)), re.MULTILINE))

    assert set(re.findall(r"\bcrawler_\w+", page)) == written
