"""A run told to a person who watches it: one line, then why targets failed, then what was noticed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crawler.domain.models import Target
from crawler.domain.rows import RunSummary

#: Reasons of failures that are told one by one; the rest are counted.
TOLD_FAILURES = 8


def told(summary: RunSummary) -> str:
    """Tell a run to a person: one line, then why targets failed, then what was noticed."""
    counts = summary.targets
    outcomes = ", ".join(
        f"{counts[name]} {name}" for name in ("ok", "held", "denied", "failed", "skipped") if counts[name]
    )
    news = ", ".join(f"{count} {event.replace('_', ' ')}" for event, count in summary.told_changes().items() if count)
    if summary.baseline["targets"]:
        baseline = f"baseline of {summary.baseline['images']} images at {summary.baseline['targets']} targets"
        news = f"{baseline}; {news}" if news else baseline
    seconds = (summary.finished_at - summary.started_at).total_seconds() if summary.finished_at else 0
    lines = [
        f"Run {summary.run} {summary.status} in {seconds:.0f} s: {outcomes or 'no targets'}; {news or 'no changes'}."
    ]
    lines += _grouped(
        (f"{failure.outcome}: {failure.message}", failure.target, failure.request_uuid)
        for failure in summary.failures
        if failure.outcome in ("failed", "skipped", "held")
    )
    lines += [f"  note: {notice}" for notice in summary.notices]
    return "\n".join(lines)


def _grouped(failures: Iterator[tuple[str, Target, str]]) -> list[str]:
    """Give a line for each reason, with the first target, its request's id and how many more targets there are."""
    by_reason: dict[str, list[tuple[Target, str]]] = {}
    for reason, target, request_uuid in failures:
        by_reason.setdefault(reason, []).append((target, request_uuid))
    lines = []
    for reason, asked in list(by_reason.items())[:TOLD_FAILURES]:
        (target, request_uuid), *others = asked
        more = f" and {len(others)} more" if others else ""
        request = f" [{request_uuid}]" if request_uuid else ""
        lines.append(f"  {target}{more}: {reason}{request}")
    if len(by_reason) > TOLD_FAILURES:
        lines.append(f"  and {len(by_reason) - TOLD_FAILURES} more reasons: crawler status")
    return lines
