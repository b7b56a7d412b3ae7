"""Between the conditions of a run and the database: what was reported, what a run found, what is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine

from crawler.config.models import Settings
from crawler.crawl.run import RunResult
from crawler.db import conditions
from crawler.db import targets as db_targets
from crawler.db.conditions import StoredCondition
from crawler.db.engine import Fence, begin
from crawler.db.filters import targets_by_id
from crawler.domain.models import Target
from crawler.domain.unmatched import WORDS
from crawler.errors import CrawlerError, DatabaseUnavailable, LockTaken
from crawler.ops.cron_notice import Fact, FailingTarget, Found, Key, Memory, Ongoing, steady

#: What a failing target has of its span.
_OF_A_SPAN = ("outcome", "failure_class", "ret_code", "message", "request_uuid", "since")

#: What a run without reports says of its first change.
NOBODY_IS_TOLD = "changes are recorded, but nobody is told: the configuration has no [[reports]]"


class Remembered:
    """What was reported of the conditions whose end a run can see, and what that run found."""

    def __init__(self, conn: Connection, settings: Settings, result: RunResult) -> None:
        """Read it."""
        self._settings = settings
        self._result = result
        self._accounts = db_targets.find_accounts(conn, result.summary.accounts)
        names = {account_id: name for name, account_id in self._accounts.items()}
        rows = conditions.standing(conn, names.keys())
        troubles = conditions.troubles(conn, result.summary.run, names.keys())
        ids = {row.target_id for row in troubles}.union(*(row.target_ids for row in rows.values()))
        self._targets = targets_by_id(conn, ids)
        #: By their keys: the rows, of which there may be several of one from before, and what stands in them.
        self._row_ids: dict[Key, list[int]] = {}
        self.before: dict[Key, Ongoing] = {}
        for row_id, row in rows.items():
            key = ("" if row.account_id is None else names[row.account_id], *row.key)
            if row.account_id is not None or self._is_ours(key):
                targets = frozenset(self._targets[one] for one in row.target_ids if one in self._targets)
                self._row_ids.setdefault(key, []).append(row_id)
                self.before[key] = Ongoing(key=key, since=row.since, size=row.size, label=row.told, targets=targets)
        self.found = self._find(
            conn,
            [
                FailingTarget(target=self._targets[row.target_id], **{name: getattr(row, name) for name in _OF_A_SPAN})
                for row in troubles
            ],
        )

    def is_of_others_too(self, now: Memory) -> bool:
        """Return whether what begins, changes or ends is also a matter of runs of other accounts: it is of none."""
        return any(not key[0] for key in now.keys() | self.before.keys() if now.get(key) != self.before.get(key))

    def keep(self, conn: Connection, now: Memory) -> None:
        """Write what is to be remembered; where nothing began, changed or ended that is nothing."""
        begun = [now[key] for key in now.keys() - self.before.keys()]
        changed = [now[key] for key in now.keys() & self.before.keys() if now[key] != self.before[key]]
        ids = self._ids(conn, begun + changed)
        conditions.write(
            conn,
            ended=[row_id for key in self.before.keys() - now.keys() for row_id in self._row_ids[key]],
            changed={row_id: self._stored(one, ids) for one in changed for row_id in self._row_ids[one.key]},
            begun=[self._stored(one, ids) for one in begun],
        )

    def _stored(self, standing: Ongoing, ids: Mapping[Target, int]) -> StoredCondition:
        account, *key = standing.key
        return StoredCondition(
            account_id=self._accounts[account] if account else None,
            key=tuple(key),
            since=standing.since,
            size=standing.size,
            told=standing.label,
            target_ids=tuple(sorted(ids[target] for target in standing.targets)),
        )

    def _ids(self, conn: Connection, kept: Iterable[Ongoing]) -> dict[Target, int]:
        """Return the ids of the targets that *kept* name; those that noticed something are looked up."""
        ids = {target: target_id for target_id, target in self._targets.items()}
        unknown = frozenset().union(*(standing.targets for standing in kept)) - ids.keys()
        for account in {target.account for target in unknown}:
            known = db_targets.known_targets(conn, self._accounts[account])
            ids.update((entry.target, entry.target_id) for entry in known)
        return ids

    # --- what the run found ------------------------------------------------------------------------------------------

    def _find(self, conn: Connection, troubles: list[FailingTarget]) -> Found:
        named = {target for standing in self.before.values() for target in standing.targets}
        ids = {target_id for target_id, target in self._targets.items() if target in named}
        asked = {self._targets[one] for one in conditions.observed(conn, self._result.summary.run, ids)}
        gone = {self._targets[one] for one in conditions.absent(conn, ids)}
        return Found(
            troubles=troubles,
            facts=[*self._notices(), *self._warnings(), *self._unreported(), *self._deliveries(conn)],
            asked=(asked - {row.target for row in troubles if not row.is_about_target}) | gone,
            read=self._result.read_targets | gone,
        )

    def _notices(self) -> Iterator[Fact]:
        for notice in self._result.noticed:
            sort = "event" if notice.is_event else "notice"
            about = f" {notice.about}" if notice.about else ""
            key = (notice.account, sort, steady(notice.key or notice.sentence) + about)
            yield Fact(key=key, sentence=notice.sentence, targets=notice.targets)
        for told, standing in self.before.items():
            # Where the lists did not come what was told of the selection stands.
            if told[0] in self._result.unlisted and told[1] == "notice" and told[2].startswith(WORDS):
                yield Fact(key=told, sentence=standing.label, size=standing.size)

    def _warnings(self) -> Iterator[Fact]:
        for warning in self._settings.warnings:
            yield Fact(key=("", "warning", self._source, warning), sentence=warning)

    def _unreported(self) -> Iterator[Fact]:
        """Return that nobody is told of changes: from the first one on, until there is a report."""
        key = ("", "warning", self._source, NOBODY_IS_TOLD)
        if not self._settings.reports and (key in self.before or any(self._result.summary.changes.values())):
            yield Fact(key=key, sentence=NOBODY_IS_TOLD)

    def _deliveries(self, conn: Connection) -> Iterator[Fact]:
        """Return what could not be delivered: by the route that does not work, else by report and recipient."""
        done = self._result.deliveries
        if done is None:
            return
        route_of = {report.name: report.route for report in self._settings.reports}
        sentences: dict[Key, str] = {("", "way", route): sentence for route, sentence in done.dead.items()}
        sentences |= {("", "report", *refused): sentence for refused, sentence in done.refused.items()}
        sentences |= {("", "report", name): sentence for name, sentence in done.unmade.items()}
        waiting = conditions.waiting_in_vain(conn, route_of)
        routes = {route_of[name] for name, _ in waiting} - done.alive
        for key, standing in self.before.items():
            # Between two tries what was told of the last one stands.
            if key[2:] in waiting if key[1] == "report" else key[1] == "way" and key[2] in routes:
                sentences.setdefault(key, standing.label)
        late = {("report", name) for name in done.overdue}
        late |= {("way", route_of[name]) for name in done.overdue - done.unmade.keys()}
        for key, sentence in sentences.items():
            if (key[1], key[2]) in late:
                yield Fact(key=key, sentence=f"{sentence}; undelivered for longer than `alert_after`", size=2)
            else:
                yield Fact(key=key, sentence=sentence)

    # --- whose conditions --------------------------------------------------------------------------------------------

    @property
    def _source(self) -> str:
        return source_of(self._settings)

    def _is_ours(self, key: Key) -> bool:
        """Return whether a condition of no account is one that this run can tell the end of."""
        if key[1] in ("warning", "error", "lock"):
            # an error names the accounts of the run that it kept from its work: a run of others says nothing of it
            return key[2] == self._source and (not key[4:] or not self._accounts.keys().isdisjoint(key[4:]))
        reports = self._settings.reports if self._result.deliveries is not None else ()
        return key[2] in {report.route if key[1] == "way" else report.name for report in reports}


def source_of(settings: Settings) -> str:
    """Return what tells the conditions of one configuration from those of another."""
    return str(settings.source or "")


def is_first_error(settings: Settings, engine: Engine, fence: Fence | None, error: CrawlerError, now: datetime) -> bool:
    """
    Return whether *error*, with which a run ended before it could record any, is to be told, and remember that it was.

    The next run of any of its accounts that records something tells that it is over. Where the database cannot be
    written it is told, and the database is not waited for again where it was the error.
    """
    if isinstance(error, DatabaseUnavailable):
        return True
    sort, sentence = ("lock" if isinstance(error, LockTaken) else "error"), " ".join(str(error).split())
    key = (sort, source_of(settings), steady(sentence), *sorted(account.name for account in settings.accounts))
    try:
        with begin(engine, fence) as conn:
            is_first = conditions.first_to_tell(conn, key, sentence, now)
    except DatabaseUnavailable:
        return True
    error.is_kept = True
    return is_first
