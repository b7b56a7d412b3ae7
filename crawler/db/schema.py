"""
The tables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnClause, Float, ForeignKey, LargeBinary, UniqueConstraint, text

from crawler.db.table_base import Base as Base  # with every table in its metadata
from crawler.db.table_base import column, index
from crawler.db.types import BigKey

#: `to_run_id` of an exception that still lasts.
OPEN_RUN = 2**62


class Setting(Base):
    """What the views need from the configuration, written by each run when it differs (`stale_after_seconds`)."""

    __tablename__ = "settings"

    name: ColumnClause[str] = column(primary_key=True)
    value: ColumnClause[str]


class Account(Base):
    """One configured key pair at one endpoint; its identity is its name."""

    __tablename__ = "accounts"

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    name: ColumnClause[str] = column(unique=True)
    endpoint: ColumnClause[str] = column(comment="where it was last asked")
    fence: ColumnClause[int] = column(
        BigKey, default=0, comment="raised by every lock holder; a writer with a lower one lost its lock"
    )


class Variant(Base):
    """A named set of extra request parameters; a name keeps its parameters for ever."""

    __tablename__ = "variants"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"))
    name: ColumnClause[str]
    parameters: ColumnClause[dict[str, Any]]


class CatalogRow(Base):
    """
    A good discovery that differed from the one before; the newest row is the last good catalog.

    The default project, where the list says which it is, has a third element, true.
    """

    __tablename__ = "catalogs"
    __table_args__ = (index(None, "account_id", "id"),)

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"))
    recorded_at: ColumnClause[datetime]
    digest: ColumnClause[str]
    #: A third member is true where the project is the account's default.
    projects: ColumnClause[list[Any]] = column(comment="[[project id, name], …]")
    places: ColumnClause[list[Any]] = column(comment="[[region, zone, number or null], …]")


class TargetRow(Base):
    """One place to ask."""

    __tablename__ = "targets"
    __table_args__ = (
        UniqueConstraint("account_id", "project", "region", "zone", "kind", "variant"),
        # where most questions to the views begin; SQLite would start from the intervals without it
        index(None, "zone"),
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"))
    project: ColumnClause[str]
    project_name: ColumnClause[str] = column(default="", comment="last known name; project globs match it")
    region: ColumnClause[str]
    zone: ColumnClause[str]
    kind: ColumnClause[str]
    variant: ColumnClause[str]
    baseline_run_id: ColumnClause[int | None] = column(
        ForeignKey("runs.id"), comment="first run that observed it well; NULL: never open to this key"
    )
    body_hash: ColumnClause[bytes | None] = column(LargeBinary, comment="of the last good body; equal: skip decoding")
    snapshot_digest: ColumnClause[str | None] = column(comment="of the last canonical snapshot; equal: skip the diff")
    payload_id: ColumnClause[int | None] = column(ForeignKey("payloads.id"), comment="evidence of that snapshot")
    written_at: ColumnClause[datetime | None] = column(comment="time of the last reply that wrote anything here")
    unreadable: ColumnClause[int] = column(
        server_default=text("0"),
        comment="records without a readable id in the last good answer that did not lack too much",
    )
    excess: ColumnClause[int] = column(
        BigKey,
        server_default=text("0"),
        comment="by how many records that answer counted more than it listed",
    )
    answered_by: ColumnClause[str | None] = column(comment="action of that answer, where its kind knows two; else NULL")
    missing_count: ColumnClause[int] = column(default=0, comment="good discoveries in a row without it")
    missing_needed: ColumnClause[int] = column(default=0, comment="how many retire it: 3, or 9 after a shrunken one")


class ZoneNumber(Base):
    """A numeric ZoneId whose zone is known: unique in the catalog, confirmed by an answer that agrees with itself."""

    __tablename__ = "zone_numbers"

    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"), primary_key=True)
    number: ColumnClause[int] = column(BigKey, primary_key=True, autoincrement=False)
    zone: ColumnClause[str]


class Absence(Base):
    """A span in which a target was not asked: retired (discovery stopped listing it) or deselected (configuration)."""

    __tablename__ = "absences"
    __table_args__ = (index(None, "target_id", "valid_to"),)

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"))
    reason: ColumnClause[str] = column(comment="retired | deselected")
    valid_from: ColumnClause[datetime]
    valid_to: ColumnClause[datetime] = column(comment="END_OF_TIME while it lasts")


class ConditionRow(Base):
    """
    Something that goes wrong, or is worth a word, and lasts: kept from when a run told it until one tells its end.

    So a condition that lasts is told once, whichever runs, accounts and processes meet it.
    """

    __tablename__ = "conditions"
    __table_args__ = (index(None, "account_id"),)

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    account_id: ColumnClause[int | None] = column(
        ForeignKey("accounts.id"), comment="NULL: of a configuration or a report"
    )
    key: ColumnClause[list[Any]] = column(comment="what goes wrong, and where")
    since: ColumnClause[datetime]
    size: ColumnClause[int] = column(comment="when it was last told: told again once it doubles")
    told: ColumnClause[str] = column(comment="what it is called when it is over")
    target_ids: ColumnClause[list[Any] | None]


class Scope(Base):
    """A set of targets, stored once and shared by every run that asks exactly them."""

    __tablename__ = "scopes"

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    digest: ColumnClause[str] = column(unique=True, comment="SHA-256 of the sorted target ids")
    size: ColumnClause[int]
    account_id: ColumnClause[int | None] = column(BigKey, index=True, comment="of one account alone; NULL: of several")


class ScopeTarget(Base):
    """Membership of a target in a scope."""

    __tablename__ = "scope_targets"
    __table_args__ = (index(None, "scope_id", "target_id"), {"sqlite_with_rowid": False})

    target_id: ColumnClause[int] = column(ForeignKey("targets.id"), primary_key=True)
    scope_id: ColumnClause[int] = column(ForeignKey("scopes.id"), primary_key=True)


class Run(Base):
    """One execution of the crawl. `finished_at` NULL: it still runs, or died and the next run will mark it."""

    __tablename__ = "runs"
    __table_args__ = (
        index(None, "scope_id", "finished_at"),
        # those of several accounts; of one account alone they are found by its scopes
        index(
            "ix_runs_shared",
            "id",
            sqlite_where=text("account_id IS NULL"),
            postgresql_where=text("account_id IS NULL"),
        ),
        # the few that still run, or died
        index(
            "ix_runs_unfinished",
            "id",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    status: ColumnClause[str] = column(comment="running | complete | incomplete | failed | interrupted")
    started_at: ColumnClause[datetime]
    finished_at: ColumnClause[datetime | None]
    accounts: ColumnClause[list[Any]] = column(comment="ids of the accounts whose locks it held")
    account_id: ColumnClause[int | None] = column(BigKey, comment="of one account alone; NULL: of several")
    restricted: ColumnClause[bool] = column(default=False, comment="narrowed on the command line")
    tick: ColumnClause[datetime | None] = column(comment="of the fleet, that it was made for; NULL: of no fleet")
    scope_id: ColumnClause[int | None] = column(ForeignKey("scopes.id"))
    ok: ColumnClause[int] = column(default=0)
    held: ColumnClause[int] = column(default=0)
    denied: ColumnClause[int] = column(default=0)
    failed: ColumnClause[int] = column(default=0)
    skipped: ColumnClause[int] = column(default=0)
    baseline_targets: ColumnClause[int] = column(default=0)
    baseline_images: ColumnClause[int] = column(default=0)
    appeared: ColumnClause[int] = column(default=0)
    returned: ColumnClause[int] = column(default=0)
    withdrawn: ColumnClause[int] = column(default=0)
    modified: ColumnClause[int] = column(default=0)
    target_added: ColumnClause[int] = column(default=0)
    target_retired: ColumnClause[int] = column(default=0)
    sent: ColumnClause[int] = column(default=0)
    retried: ColumnClause[int] = column(default=0)
    throttled: ColumnClause[int] = column(default=0)
    notices: ColumnClause[list[Any] | None]
    reports: ColumnClause[dict[str, Any] | None] = column(comment="queued, sent, failed; NULL: none of them")


class WorkerRow(Base):
    """A process of the fleet: who it is, and when its session was last alive, by the server's clock."""

    __tablename__ = "workers"

    id: ColumnClause[str] = column(primary_key=True, comment="chosen at its start; in the names of its sessions")
    host: ColumnClause[str]
    pid: ColumnClause[int]
    version: ColumnClause[str] = column(comment="of the program")
    config: ColumnClause[str] = column(comment="digest of its configuration without secrets")
    slots: ColumnClause[int] = column(comment="accounts that it crawls at a time")
    in_flight: ColumnClause[int] = column(comment="accounts that it crawls now")
    session: ColumnClause[int] = column(BigKey, comment="the database session that holds its locks")
    session_began: ColumnClause[datetime] = column(comment="when that began; numbers of sessions come again")
    started_at: ColumnClause[datetime]
    seen_at: ColumnClause[datetime]


class Budget(Base):
    """A rate that accounts share on all hosts: whoever sends a request took its slot here first. Times are epochs."""

    __tablename__ = "budgets"

    name: ColumnClause[str] = column(primary_key=True)
    configured: ColumnClause[float] = column(Float(53), comment="requests per period, by the configuration")
    period: ColumnClause[float] = column(Float(53), comment="seconds")
    rate: ColumnClause[float] = column(Float(53), comment="requests per period allowed now")
    due: ColumnClause[float] = column(Float(53), comment="when the next slot is free, by the server's clock")
    halved_at: ColumnClause[float] = column(Float(53), comment="when the rate was last halved")
    clean_since: ColumnClause[float] = column(Float(53), comment="since when nothing was refused as too many")


class Mark(Base):
    """
    How far a run had got at its last recorded batch; it counts only while that run has no end.

    The row belongs to an account whose lock the run holds, and serves one run after the other: a bitmap in the row of
    each run, however soon it is removed, would leave hardly any room for others on its page.
    """

    __tablename__ = "marks"

    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    run_id: ColumnClause[int] = column(
        BigKey, unique=True, comment="no reference: the mark of a run that ended says nothing"
    )
    reached_at: ColumnClause[datetime] = column(comment="time of the last recorded batch")
    counters: ColumnClause[dict[str, Any]] = column(comment="what was recorded so far, by the columns of `runs`")
    reached: ColumnClause[bytes] = column(
        LargeBinary, comment="bitmap over the sorted target ids of the run's scope: those recorded"
    )


class OutcomeSpan(Base):
    """
    A span of runs in which a target's outcome was not `ok`: `[from_run_id, to_run_id)`.

    A run of the span counts only where the target is in that run's scope. The row stays open (`OPEN_RUN`) while the
    outcome, class and RetCode stay the same, so a lasting failure costs nothing per run.
    """

    __tablename__ = "exceptions"
    __table_args__ = (
        index(None, "target_id", "from_run_id"),
        index(None, "from_run_id"),
        # what lasts at an account
        index(None, "account_id", "to_run_id"),
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"))
    from_run_id: ColumnClause[int] = column(ForeignKey("runs.id"))
    to_run_id: ColumnClause[int] = column(BigKey, default=OPEN_RUN, comment="first run after it; 2^62 while it lasts")
    outcome: ColumnClause[str] = column(comment="held | denied | failed | skipped")
    failure_class: ColumnClause[str | None]
    ret_code: ColumnClause[int | None] = column(BigKey)
    message: ColumnClause[str] = column(default="")
    request_uuid: ColumnClause[str] = column(default="")
    payload_id: ColumnClause[int | None] = column(
        ForeignKey("payloads.id"), comment="the first answer of the span that was not believed at all"
    )
    since: ColumnClause[datetime] = column(comment="since when the outcome is so, whatever the RetCode")
    last_good_at: ColumnClause[datetime | None] = column(
        comment="end of the last run before the span that observed the target well"
    )
    account_id: ColumnClause[int | None] = column(BigKey, comment="that of the target")


class ImageVersion(Base):
    """One state of an image's attributes; shared by every target that lists exactly it."""

    __tablename__ = "image_versions"
    __table_args__ = (
        # history by id, and by name
        index(None, "image_id", postgresql_using="hash"),
        index(None, "name_key", postgresql_using="hash"),
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    digest: ColumnClause[str] = column(unique=True, comment="SHA-256 of set, id and attributes")
    image_set: ColumnClause[str]
    image_id: ColumnClause[str] = column(comment="history by id")
    image_name: ColumnClause[str] = column(default="")
    name_key: ColumnClause[str] = column(default="", comment="normalised name; history by name")
    gpu: ColumnClause[bool | None] = column(comment="supports GPU; NULL: not stated")
    attributes: ColumnClause[dict[str, Any]] = column(comment="all known fields by JSON name, `extra` included")


class Interval(Base):
    """Half-open validity `[valid_from, valid_to)` of one image version at one target."""

    __tablename__ = "intervals"
    __table_args__ = (
        # as-of: one target at a moment
        index(None, "target_id", "valid_to", "valid_from"),
        # history of one image over all targets; was it here before
        index(None, "version_id", "target_id"),
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"))
    version_id: ColumnClause[int] = column(ForeignKey("image_versions.id"))
    valid_from: ColumnClause[datetime]
    valid_to: ColumnClause[datetime] = column(comment="END_OF_TIME while open")
    present_since: ColumnClause[datetime] = column(comment="start of the unbroken presence this version is part of")
    baseline: ColumnClause[bool] = column(default=False, comment="present since before anyone looked")
    opened_run_id: ColumnClause[int] = column(ForeignKey("runs.id"))
    closed_run_id: ColumnClause[int | None] = column(ForeignKey("runs.id"))
    account_id: ColumnClause[int | None] = column(BigKey, comment="that of the target")


class ChangeLog(Base):
    """What diff found; append-only, but for the mark of the run that reports it."""

    __tablename__ = "changes"
    __table_args__ = (
        index(None, "recorded_at", "id"),
        index(None, "target_id", "recorded_at"),
        index(None, "account_id", "recorded_at"),
        index(None, "run_id"),
        index(None, "image_id", postgresql_using="hash"),
        # what reports tell of a run, and what no run has taken up yet
        index(None, "reported_run_id"),
    )

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    run_id: ColumnClause[int] = column(ForeignKey("runs.id"))
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"))
    event: ColumnClause[str]
    image_set: ColumnClause[str | None]
    image_id: ColumnClause[str | None]
    image_name: ColumnClause[str | None]
    fields: ColumnClause[dict[str, Any] | None] = column(comment="{name: [before, after]} of a modified image")
    counterpart: ColumnClause[str | None] = column(comment="image id of the other half of a re-issue")
    not_before: ColumnClause[datetime | None]
    observed_at: ColumnClause[datetime]
    recorded_at: ColumnClause[datetime]
    before_payload_id: ColumnClause[int | None] = column(ForeignKey("payloads.id"))
    after_payload_id: ColumnClause[int | None] = column(ForeignKey("payloads.id"))
    reported_run_id: ColumnClause[int | None] = column(
        ForeignKey("runs.id"),
        comment="run whose reports tell it; NULL where that died, until one of its account finishes",
    )
    account_id: ColumnClause[int | None] = column(BigKey, comment="that of the target")


class Payload(Base):
    """A raw answer kept as evidence, compressed, addressed by its hash."""

    __tablename__ = "payloads"

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    digest: ColumnClause[bytes] = column(LargeBinary, unique=True, comment="of the raw body")
    body: ColumnClause[bytes] = column(LargeBinary, comment="zlib")
    size: ColumnClause[int] = column(comment="bytes before compression")
    request_uuid: ColumnClause[str] = column(default="", comment="X-UCLOUD-REQUEST-UUID of the first such answer")
    received_at: ColumnClause[datetime]


class AnswerRow(Base):
    """
    A good answer of a target that was no repetition of its last: which, in what run; `crawler replay` reads them again.

    One for each target that a run wrote anything about, in step with `targets.payload_id`.
    """

    __tablename__ = "answers"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: ColumnClause[int] = column(ForeignKey("runs.id"), primary_key=True)
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"), primary_key=True)
    payload_id: ColumnClause[int] = column(ForeignKey("payloads.id"))
    observed_at: ColumnClause[datetime]


class AnswerForms(Base):
    """A name that a target's answers stated and lack now, state again, or that was new in them; `schema` tells it."""

    __tablename__ = "answer_forms"
    __table_args__ = (index(None, "account_id"), {"sqlite_with_rowid": False})

    target_id: ColumnClause[int] = column(ForeignKey("targets.id"), primary_key=True)
    name: ColumnClause[str] = column(primary_key=True, comment="a field, extra. and a field, set and a set")
    account_id: ColumnClause[int] = column(ForeignKey("accounts.id"))
    state: ColumnClause[str] = column(comment="missing | back | new")
    is_told: ColumnClause[bool]


class Hold(Base):
    """Withdrawals at one target that wait for confirmation."""

    __tablename__ = "holds"
    __table_args__ = (index(None, "target_id", "status"),)

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    target_id: ColumnClause[int] = column(ForeignKey("targets.id"))
    run_id: ColumnClause[int] = column(ForeignKey("runs.id"), comment="run of the first held answer")
    held_at: ColumnClause[datetime]
    not_before: ColumnClause[datetime | None]
    confirmations: ColumnClause[int] = column(default=0)
    waits_for: ColumnClause[str] = column(
        server_default=text("'confirmations'"),
        comment="confirmations | readable: an answer with no more unreadable records",
    )
    unreadable: ColumnClause[int | None] = column(
        comment="unreadable records of the good answer before it; one with more confirms nothing; NULL: not kept"
    )
    status: ColumnClause[str] = column(comment="open | confirmed | dissolved | accepted | rejected")
    resolved_at: ColumnClause[datetime] = column(comment="END_OF_TIME while open")
    resolved_run_id: ColumnClause[int | None] = column(ForeignKey("runs.id"))
    resolved_by: ColumnClause[str | None] = column(comment="who accepted or rejected it by hand")
    before_payload_id: ColumnClause[int | None] = column(
        ForeignKey("payloads.id"), comment="the answer before it, which still listed them"
    )
    payload_id: ColumnClause[int | None] = column(ForeignKey("payloads.id"), comment="the answer not believed")


class HoldImage(Base):
    """One image of a hold."""

    __tablename__ = "hold_images"
    __table_args__ = ({"sqlite_with_rowid": False},)

    hold_id: ColumnClause[int] = column(ForeignKey("holds.id"), primary_key=True)
    position: ColumnClause[int] = column(primary_key=True, autoincrement=False, comment="counts the images of a hold")
    image_set: ColumnClause[str]
    image_id: ColumnClause[str]


class Revocation(Base):
    """An image that a person revoked: not to be used, whatever the cloud lists."""

    __tablename__ = "revocations"

    image_id: ColumnClause[str] = column(primary_key=True)
    reason: ColumnClause[str]
    revoked_at: ColumnClause[datetime]
    revoked_by: ColumnClause[str]


class SubscriptionRow(Base):
    """What one `[[reports]]` has been told; its identity is its name."""

    __tablename__ = "subscriptions"

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    name: ColumnClause[str] = column(unique=True)
    told: ColumnClause[str] = column(default="{}", comment="what it was told of conditions that last, as JSON")
    told_run_id: ColumnClause[int | None] = column(
        ForeignKey("runs.id"), comment="last run that its last whole digest covers"
    )
    due_at: ColumnClause[datetime | None] = column(comment="when a whole digest was last found due")
    version: ColumnClause[int] = column(
        BigKey, default=0, comment="raised by each change of the row, so that of two writers one notices"
    )
    sender: ColumnClause[list[Any] | None] = column(comment="ids of the accounts whose locks the present sender holds")
    sender_until: ColumnClause[datetime | None] = column(comment="when the present sender has surely ended")


class Delivery(Base):
    """A subscription has to be told of what a run reports; written by the transaction that finishes the run."""

    __tablename__ = "deliveries"
    __table_args__ = (
        index(
            "ix_deliveries_waiting",
            "subscription_id",
            sqlite_where=text("settled_at IS NULL"),
            postgresql_where=text("settled_at IS NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    subscription_id: ColumnClause[int] = column(ForeignKey("subscriptions.id"), primary_key=True)
    run_id: ColumnClause[int] = column(ForeignKey("runs.id"), primary_key=True)
    queued_at: ColumnClause[datetime]
    settled_at: ColumnClause[datetime | None] = column(comment="when a digest told it, or there was nothing to tell")
    digest_id: ColumnClause[int | None] = column(ForeignKey("digests.id"), comment="the digest that tells it")


class DigestRow(Base):
    """A digest as it was composed, before it was first sent: every retry sends exactly this."""

    __tablename__ = "digests"
    __table_args__ = (index(None, "subscription_id", "id"), {"sqlite_autoincrement": True})

    id: ColumnClause[int] = column(BigKey, primary_key=True)
    subscription_id: ColumnClause[int] = column(ForeignKey("subscriptions.id"))
    kind: ColumnClause[str] = column(comment="digest | urgent | again")
    channel: ColumnClause[str]
    first_run_id: ColumnClause[int] = column(ForeignKey("runs.id"))
    last_run_id: ColumnClause[int] = column(ForeignKey("runs.id"))
    queued_at: ColumnClause[datetime] = column(comment="since when its oldest news waits to be told")
    made_at: ColumnClause[datetime]
    message_id: ColumnClause[str]
    subject: ColumnClause[str]
    content: ColumnClause[bytes | None] = column(LargeBinary, comment="zlib; NULL once nobody waits for it any more")


class Recipient(Base):
    """Whom a digest goes to, and how that went."""

    __tablename__ = "recipients"
    __table_args__ = (
        index(
            "ix_recipients_waiting",
            "digest_id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        {"sqlite_with_rowid": False},
    )

    digest_id: ColumnClause[int] = column(ForeignKey("digests.id"), primary_key=True)
    address: ColumnClause[str] = column(primary_key=True)
    state: ColumnClause[str] = column(comment="waiting | sent | skipped")
    attempts: ColumnClause[int] = column(default=0)
    next_at: ColumnClause[datetime] = column(comment="not tried before")
    refused: ColumnClause[str | None] = column(
        comment="what the last try said no to: channel | recipient | message; NULL: it may work the next time"
    )
    trouble: ColumnClause[str] = column(default="", comment="how the last try failed")
    ended_at: ColumnClause[datetime | None] = column(comment="when it was sent or skipped")
