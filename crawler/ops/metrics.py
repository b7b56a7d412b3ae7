"""
The metrics of the last run as text for the textfile collector of node_exporter.

Pure; the caller writes the file. They are gauges: a run is over when they are written, and the next run replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from crawler.domain.rows import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What the database knows beyond one run."""

    #: End of the last run that was done (exit 0 but for reports); None: never.
    last_success_at: datetime | None = None
    holds: int = 0
    #: The last good observation of the target that was looked at longest ago; None: there is none.
    oldest_observed_at: datetime | None = None
    #: Targets asked, and neither denied nor ever observed well.
    never_observed: int = 0
    outbox: int = 0
    #: Recipients to whom a report was sent in vain, and who have not got it yet.
    undelivered: int = 0
    #: Requests per second each account's throttle allowed at the end of the run.
    rates: Mapping[str, float] = field(default_factory=dict)


_Samples = list[tuple[dict[str, str], float]]


class Metric(NamedTuple):
    """One metric, without the program's name before its own."""

    name: str
    told: str
    #: Labels and value of each; without any the metric is left out.
    samples: _Samples
    kind: Literal["gauge", "counter"] = "gauge"


def exposition(summary: RunSummary, exit_code: int | None, gauges: Gauges) -> str:
    """Write the metrics of a run in the text format of Prometheus; *exit_code* None: it is not known any more."""
    return written_out(Metric(*parts) for parts in _metrics(summary, exit_code, gauges))


def written_out(metrics: Iterable[Metric]) -> str:
    """Write metrics in the text format of Prometheus."""
    lines: list[str] = []
    for name, told, samples, kind in metrics:
        if not samples:
            continue
        lines += [f"# HELP crawler_{name} {told}", f"# TYPE crawler_{name} {kind}"]
        lines += [f"crawler_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join([*lines, ""])


def _metrics(summary: RunSummary, exit_code: int | None, gauges: Gauges) -> Iterator[tuple[str, str, _Samples]]:
    finished = summary.finished_at or summary.started_at
    whole = "End of the last complete run of each account, the oldest of them."
    yield "last_success_timestamp_seconds", whole, _instant(gauges.last_success_at)
    yield "last_run_timestamp_seconds", "End of the last run.", _instant(finished)
    yield (
        "last_run_duration_seconds",
        "How long the last run took.",
        _one((finished - summary.started_at).total_seconds()),
    )
    yield "last_run_exit_code", "Exit code of the last run.", [] if exit_code is None else _one(exit_code)
    outcomes = [({"outcome": name}, count) for name, count in summary.targets.items() if name != "total"]
    yield "last_run_targets", "Targets of the last run by outcome.", _floats(outcomes)
    changes = [({"event": name}, count) for name, count in summary.changes.items()]
    yield "last_run_changes", "Changes found by the last run, by event.", _floats(changes)
    yield "last_run_requests", "Requests of the last run, retries included.", _one(summary.requests["sent"])
    yield "last_run_retried_requests", "Requests of the last run that were retries.", _one(summary.requests["retried"])
    yield (
        "last_run_throttled_requests",
        "Requests of the last run that were refused as too many.",
        _one(summary.requests["throttled"]),
    )
    yield (
        "rate_in_use",
        "Requests per second allowed at the end of the last run.",
        _floats([({"account": name}, rate) for name, rate in gauges.rates.items()]),
    )
    yield "holds", "Open holds: answers whose withdrawals are not believed yet.", _one(gauges.holds)
    yield (
        "oldest_observation_timestamp_seconds",
        "Last good observation of the target that was observed longest ago.",
        _instant(gauges.oldest_observed_at),
    )
    yield (
        "never_observed_targets",
        "Targets that are asked, not denied, and were never observed well.",
        _one(gauges.never_observed),
    )
    yield "outbox_depth", "Reports that wait to be told, those for their time of day included.", _one(gauges.outbox)
    yield (
        "undelivered_recipients",
        "Recipients to whom a report was sent in vain, and who have not got it yet.",
        _one(gauges.undelivered),
    )


def _instant(moment: datetime | None) -> _Samples:
    return [] if moment is None else _one(moment.timestamp())


def _one(value: float) -> _Samples:
    return [({}, float(value))]


def _floats(samples: list[tuple[dict[str, str], int]] | list[tuple[dict[str, str], float]]) -> _Samples:
    return [(labels, float(value)) for labels, value in samples]


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
