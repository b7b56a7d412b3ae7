"""
What was noticed of the form of answers, from when an answer showed it until it is told by a `schema` change, once.

A row for each target and name: the fields that its answers lack, and the names that were new in them. A run that dies
leaves them, and the next one of the account tells them. Every function takes a connection; those that write want one
inside `begin(engine, fence)`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from crawler.db import changelog
from crawler.db.schema import Absence, AnswerForms, TargetRow
from crawler.db.sql import insert_missing, portions
from crawler.domain.models import END_OF_TIME

#: What a change says of a name, by what was noticed.
_SAID = {"missing": ("stated", "gone"), "back": ("gone", "stated"), "new": ("unknown", "stated")}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormNews:
    """What an answer of a target shows of its form that was not noticed there before."""

    target_id: int
    account_id: int
    missing: frozenset[str]
    back: frozenset[str]
    new: frozenset[str]

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return bool(self.missing or self.back or self.new)


def lacking(conn: Connection, account_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """Return the names that the answers of each target of the accounts are known to lack."""
    rows = select(AnswerForms.target_id, AnswerForms.name).where(
        AnswerForms.account_id.in_(sorted(account_ids)), AnswerForms.state == "missing"
    )
    found: dict[int, set[str]] = {}
    for target_id, name in conn.execute(rows):
        found.setdefault(target_id, set()).add(name)
    return {target_id: frozenset(names) for target_id, names in found.items()}


def write(conn: Connection, news: Iterable[FormNews]) -> None:
    """Keep *news* until they are told; what was noticed of a name before is not new."""
    rows = [
        {"target_id": one.target_id, "account_id": one.account_id, "name": name, "state": state, "is_told": False}
        for one in news
        for state, names in (("missing", one.missing), ("back", one.back), ("new", one.new))
        for name in sorted(names)
    ]
    if changed := [row for row in rows if row["state"] != "new"]:
        same = (AnswerForms.target_id == bindparam("of_target"), AnswerForms.name == bindparam("of_name"))
        places = [{"of_target": row["target_id"], "of_name": row["name"]} for row in changed]
        conn.execute(delete(AnswerForms).where(*same), places)
        conn.execute(insert(AnswerForms), changed)
    insert_missing(conn, AnswerForms, [row for row in rows if row["state"] == "new"])


def forget(conn: Connection, before: datetime) -> int:
    """
    Forget what was noticed of targets that are asked no more since *before*, and return how many rows that was.

    What nobody was told of yet stays, for the next run of the account tells it.
    """
    gone = select(Absence.target_id).where(Absence.valid_to == END_OF_TIME, Absence.valid_from <= before)
    settled = AnswerForms.is_told.is_(True) | (AnswerForms.state == "back")
    return int(conn.execute(delete(AnswerForms).where(settled, AnswerForms.target_id.in_(gone))).rowcount)


def tell(conn: Connection, run_id: int, account_ids: Collection[int], at: datetime) -> None:
    """
    Write a `schema` change for each account and kind of which something is not told yet.

    What the answers of some targets lack already is not told again of others, and that a field is back only when no
    target that is still asked lacks it.
    """
    statement = (
        select(AnswerForms, TargetRow.kind, Absence.id.label("absence"))
        .join(TargetRow, TargetRow.id == AnswerForms.target_id)
        .outerjoin(Absence, (Absence.target_id == TargetRow.id) & (Absence.valid_to == END_OF_TIME))
        .where(AnswerForms.account_id.in_(sorted(account_ids)))
        .order_by(AnswerForms.account_id, TargetRow.kind, AnswerForms.name, AnswerForms.target_id)
    )
    rows = conn.execute(statement).all()
    if all(row.is_told for row in rows):
        return
    changes = []
    for (account_id, _), of_kind in groupby(rows, key=lambda row: (row.account_id, row.kind)):
        fields: dict[str, list[str]] = {}
        targets: list[int] = []
        for name, own in groupby(of_kind, key=lambda row: str(row.name)):
            noticed = list(own)
            said = _news_of(noticed)
            if said is not None:
                fields[name] = list(_SAID[said])
                targets += [row.target_id for row in noticed if row.state == said]
            _settle(conn, name, noticed, said)
        if fields:
            changes.append(
                {
                    "run_id": run_id,
                    "target_id": min(targets),
                    "account_id": account_id,
                    "event": "schema",
                    "fields": fields,
                    "observed_at": at,
                    "recorded_at": at,
                    "reported_run_id": run_id,
                }
            )
    changelog.append(conn, changes)


def _news_of(noticed: Sequence[Any]) -> str | None:
    """Return what is to be told of a name; None: nothing, or nothing yet."""
    lasting = [row for row in noticed if row.state == "missing" and row.absence is None]
    # where one states it again that lacked it, that it is gone was told, and that it is back was not
    is_back = any(row.state == "back" for row in noticed)
    for state in ("missing", "new"):
        own = [row for row in noticed if row.state == state]
        if own and not any(row.is_told for row in own) and not (is_back and state == "missing"):
            return state
    return "back" if is_back and not lasting else None


def _settle(conn: Connection, name: str, noticed: Sequence[Any], said: str | None) -> None:
    """Keep of a name what the next run has to know."""
    ids = {state: [row.target_id for row in noticed if row.state == state] for state in _SAID}
    of_name = AnswerForms.name == name
    if any(not row.is_told and row.state != "back" for row in noticed):
        for told in portions(ids["missing"] + ids["new"]):
            conn.execute(update(AnswerForms).where(of_name, AnswerForms.target_id.in_(told)).values(is_told=True))
    if said == "back":  # also of who is asked no more
        for over in portions(ids["back"] + ids["missing"]):
            conn.execute(delete(AnswerForms).where(of_name, AnswerForms.target_id.in_(over)))
