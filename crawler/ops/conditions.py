"""
What a run under cron says: a condition that begins, changes or ends is one paragraph; one that merely lasts is nothing.

Pure. A condition is what goes wrong in the same way in one region of one account; two runs are compared by what was
recorded of them, so that nothing has to be remembered elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from crawler.model import Target
from crawler.moments import zone_name
from crawler.records import RunSummary

#: Conditions told one by one; the rest are counted.
TOLD = 12
#: A condition that spread to so many times as many targets is told again.
SPREAD = 2
#: Which targets are skipped at a deadline differs from run to run, so these are one condition per account.
_ANYWHERE = frozenset({"skipped"})
_UNSTEADY = re.compile(r"\[[^\]]*\]|\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One target whose outcome in a run was neither `ok` nor a quiet `denied`."""

    target: Target
    outcome: str
    failure_class: str | None
    ret_code: int | None
    message: str
    request_uuid: str = ""
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is recorded of one run."""

    troubles: Sequence[Trouble] = ()
    notices: Sequence[str] = ()


NOTHING_KNOWN = Known()

_Place = tuple[str, str]
_Kind = tuple[str, str | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What differs between two runs, a sentence each."""

    began: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    no_longer: tuple[str, ...] = ()
    #: How many conditions merely last.
    lasting: int = 0

    def __bool__(self) -> bool:
        """Tell whether there is anything to say."""
        return bool(self.began or self.changed or self.ended or self.noted or self.no_longer)


def compare(before: Known, now: Known, *, at: datetime) -> News:
    """Give what began, changed or ended between two runs; *at* is the end of the later one."""
    old, new = _conditions(before.troubles), _conditions(now.troubles)
    fresh, over = new.keys() - old.keys(), old.keys() - new.keys()
    turned = {place for place, _ in fresh} & {place for place, _ in over}
    spread = {key for key in new.keys() & old.keys() if len(new[key]) >= SPREAD * len(old[key])}
    began = [_told(new[key]) for key in sorted(fresh, key=str) if key[0] not in turned]
    changed = [
        f"{_told(new[key])} (before: {_kind(next(old[other][0] for other in over if other[0] == key[0]))})"
        for key in sorted(fresh, key=str)
        if key[0] in turned
    ]
    changed += [f"{_told(new[key])} (before: {_count(old[key])})" for key in sorted(spread, key=str)]
    ended = [
        f"{_where(old[key])}: {_kind(old[key][0])}, for {_span(old[key], at)}"
        for key in sorted(over, key=str)
        if key[0] not in turned
    ]
    known = {_steady(notice) for notice in before.notices}
    present = {_steady(notice) for notice in now.notices}
    return News(
        began=tuple(began),
        changed=tuple(changed),
        ended=tuple(ended),
        noted=tuple(notice for notice in now.notices if _steady(notice) not in known),
        no_longer=tuple(notice for notice in before.notices if _steady(notice) not in present),
        lasting=len(new.keys() & old.keys() - spread),
    )


def paragraph(summary: RunSummary, news: News, *, zone: tzinfo) -> str:
    """Tell *news* of a run as a few lines; empty when there are none."""
    if not news:
        return ""
    counts = ", ".join(f"{count} {name}" for name, count in _counts(summary.targets).items())
    at = (summary.finished_at or summary.started_at).astimezone(zone)
    head = f"crawler run {summary.run} of {at:%d %b %H:%M} ({zone_name(zone)})"
    lines = [f"{head}, {summary.status}: {counts or 'nothing asked'}."]
    for word, sentences in (
        ("Began", news.began),
        ("Changed", news.changed),
        ("Over", news.ended),
        ("Noted", news.noted),
        ("No longer", news.no_longer),
    ):
        lines += [f"  {word}: {sentence}" for sentence in sentences[:TOLD]]
        if len(sentences) > TOLD:
            lines.append(f"  {word}: {len(sentences) - TOLD} more")
    if news.lasting:
        lines.append(f"  {news.lasting} more {'lasts' if news.lasting == 1 else 'last'}; `crawler status` tells all.")
    return "\n".join(lines)


def _counts(targets: Mapping[str, int]) -> dict[str, int]:
    return {name: targets[name] for name in ("ok", "held", "denied", "failed", "skipped") if targets[name]}


def _conditions(troubles: Iterable[Trouble]) -> dict[tuple[_Place, _Kind], list[Trouble]]:
    found: dict[tuple[_Place, _Kind], list[Trouble]] = {}
    for trouble in troubles:
        region = "" if trouble.outcome in _ANYWHERE else trouble.target.region
        key = ((trouble.target.account, region), (trouble.outcome, trouble.failure_class, trouble.ret_code))
        found.setdefault(key, []).append(trouble)
    return {key: sorted(rows, key=lambda row: row.target) for key, rows in found.items()}


def _told(rows: Sequence[Trouble]) -> str:
    first = rows[0]
    request = f" [{first.request_uuid}]" if first.request_uuid else ""
    return f"{_where(rows)} {first.outcome}: {first.message or first.failure_class or 'no reason given'}{request}"


def _where(rows: Sequence[Trouble]) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{rows[0].target}{more}"


def _kind(row: Trouble) -> str:
    code = f", RetCode {row.ret_code}" if row.ret_code is not None else ""
    return f"{row.outcome}{f' ({row.failure_class}{code})' if row.failure_class else ''}"


def _count(rows: Sequence[Trouble]) -> str:
    return f"{len(rows)} {'target' if len(rows) == 1 else 'targets'}"


def _span(rows: Sequence[Trouble], at: datetime) -> str:
    minutes = max(1, round((at - min(row.since for row in rows)).total_seconds() / 60))
    hours, days = round(minutes / 60), round(minutes / 1440)
    return f"{minutes} min" if minutes < 120 else f"{hours} h" if hours < 48 else f"{days} days"


def _steady(notice: str) -> str:
    """Give a notice without what differs each time: counts and request ids."""
    return _UNSTEADY.sub("#", notice)
