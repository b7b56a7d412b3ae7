"""
What is listed for which machine with which Kubernetes version, by the history of an account's matrix.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from crawler.db.filters import chosen_targets
from crawler.db.targets import find_accounts, known_variants
from crawler.domain.filters import Filters, part_fits
from crawler.domain.matrix import KIND, Combination, question_of, version_key
from crawler.domain.models import DEFAULT_VARIANT, Target, normalise_name
from crawler.domain.rows import NOT_IN_JSON, JsonRow, Reason
from crawler.queries import images as queries_images
from crawler.queries.freshness import knowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow(JsonRow):
    """What one target of the matrix lists."""

    target: Target
    machine_type: str
    #: None for a machine without a GPU.
    gpu_type: str | None
    k8s_version: str
    #: How many images are open there, and how many of them `default` does not list in that zone; None: what that lists
    #: is not known.
    images: int
    hidden: int | None
    #: Why that is not known; None: it is.
    reason: Reason | None
    #: The last good observation at or before the moment (UTC).
    observed_at: datetime | None
    #: Names of the images that `default` does not list.
    hidden_names: frozenset[str] = field(default=frozenset(), metadata=NOT_IN_JSON)

    @property
    def machine(self) -> str:
        """Return the machine as a table names it: `G V100`."""
        return f"{self.machine_type} {self.gpu_type or ''}".rstrip()


def matrix(
    conn: Connection,
    at: datetime | None,
    filters: Filters,
    *,
    now: datetime,
    stale_after: timedelta,
    include_retired: bool = False,
) -> list[MachineRow]:
    """
    Return what the targets of the matrix that *filters* want list at *at* (None: *now*), by zone, machine and version.

    Image filters choose which images are counted. Raises ValueError for a time without a time zone.
    """
    moment = now if at is None else at
    questions = _questions(conn)
    # the plain question tells what the others list besides
    beside = {variant for _, variant in questions} | {DEFAULT_VARIANT}
    wanted = replace(filters, kind=(KIND,), variant=())
    chosen = [choice for choice in chosen_targets(conn, wanted) if choice.target.variant in beside]
    known = knowledge(conn, chosen, moment, stale_after, include_retired=include_retired)
    listed: dict[Target, dict[tuple[str, str], str]] = {target: {} for target in known}
    for row in queries_images.images(
        conn, at, wanted, now=now, stale_after=stale_after, include_retired=include_retired
    ):
        if row.target in listed:
            listed[row.target][row.image_set, row.image_id] = row.image_name
    found = []
    for target, about in known.items():
        question = questions.get((target.account, target.variant))
        if question is None or (filters.variant and not part_fits("variant", target.variant, filters.variant)):
            continue
        images = listed[target]
        plain = target._replace(variant=DEFAULT_VARIANT)
        is_plain_known = plain in known and known[plain].reason is None
        hidden = images.keys() - listed[plain].keys() if is_plain_known else frozenset()
        found.append(
            MachineRow(
                target=target,
                machine_type=question.machine_type,
                gpu_type=question.gpu_type or None,
                k8s_version=question.version,
                images=len(images),
                hidden=len(hidden) if is_plain_known else None,
                reason=about.reason,
                observed_at=about.observed_at,
                hidden_names=frozenset(images[key] or key[1] for key in hidden),
            )
        )
    return sorted(found, key=lambda row: (row.target[:4], row.machine, version_key(row.k8s_version), row.target))


def _questions(conn: Connection) -> dict[tuple[str, str], Combination]:
    """Return the questions that the variants of a matrix ask, by account and variant."""
    return {
        (account, name): question
        for account, account_id in find_accounts(conn, None).items()
        for name, parameters in known_variants(conn, account_id).items()
        if (question := question_of(parameters)) is not None
    }


def by_machine(rows: Iterable[MachineRow]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the versions there are, and for each machine in words what is listed there with each of them."""
    cells: dict[str, dict[str, list[MachineRow]]] = {}
    for row in rows:
        cells.setdefault(row.machine, {}).setdefault(row.k8s_version, []).append(row)
    versions = sorted({version for found in cells.values() for version in found}, key=version_key)
    return versions, [
        {"machine": machine, **{version: _cell(found.get(version, [])) for version in versions}}
        for machine, found in sorted(cells.items())
    ]


def _cell(rows: list[MachineRow]) -> str:
    """Tell what targets list: how many images in how many zones, and in how many that is not known."""
    if not rows:
        return ""
    known = [row for row in rows if row.reason is None]
    unknown = {row.target.zone for row in rows if row.reason is not None}
    counts = sorted({row.images for row in known})
    zones = len({row.target.zone for row in known})
    parts = []
    if counts:
        span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        parts.append(f"{span} in {zones}")
    return ", ".join([*parts, *([f"unknown in {len(unknown)}"] if unknown else [])])


def hidden_names(rows: Iterable[MachineRow]) -> Iterator[str]:
    """Yield the names of images that `default` does not list, each once, in their order."""
    spelled = {normalise_name(name): name for row in rows for name in row.hidden_names}
    yield from (spelled[key] for key in sorted(spelled))
