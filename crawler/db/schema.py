"""
The tables, as SQLAlchemy models.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from crawler.db.types import BigKey, CanonicalJSON, UTCDateTime

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The common base; carries the naming convention from the first migration on."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UTCDateTime, dict[str, Any]: CanonicalJSON, list[Any]: CanonicalJSON, str: Text}


#: `to_run_id` of an exception that still lasts.
OPEN_RUN = 2**62


class Setting(Base):
    """What the views need from the configuration, written by each run when it differs (`stale_after_seconds`)."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Account(Base):
    """One configured key pair at one endpoint; its identity is its name."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    endpoint: Mapped[str] = mapped_column(comment="where it was last asked")
    fence: Mapped[int] = mapped_column(
        BigKey, default=0, comment="raised by every lock holder; a writer with a lower one lost its lock"
    )


class Variant(Base):
    """A named set of extra request parameters; a name keeps its parameters for ever."""

    __tablename__ = "variants"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    parameters: Mapped[dict[str, Any]]


class CatalogRow(Base):
    """
    A good discovery that differed from the one before; the newest row is the last good catalog.

    The default project, where the list says which it is, has a third element, true.
    """

    __tablename__ = "catalogs"
    __table_args__ = (Index(None, "account_id", "id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    recorded_at: Mapped[datetime]
    digest: Mapped[str]
    #: A third member is true where the project is the account's default.
    projects: Mapped[list[Any]] = mapped_column(comment="[[project id, name], …]")
    places: Mapped[list[Any]] = mapped_column(comment="[[region, zone, number or null], …]")


class TargetRow(Base):
    """One place to ask."""

    __tablename__ = "targets"
    __table_args__ = (
        UniqueConstraint("account_id", "project", "region", "zone", "kind", "variant"),
        # where most questions to the views begin; SQLite would start from the intervals without it
        Index(None, "zone"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    project: Mapped[str]
    project_name: Mapped[str] = mapped_column(default="", comment="last known name; project globs match it")
    region: Mapped[str]
    zone: Mapped[str]
    kind: Mapped[str]
    variant: Mapped[str]
    baseline_run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="first run that observed it well; NULL: never open to this key"
    )
    body_hash: Mapped[bytes | None] = mapped_column(LargeBinary, comment="of the last good body; equal: skip decoding")
    snapshot_digest: Mapped[str | None] = mapped_column(comment="of the last canonical snapshot; equal: skip the diff")
    payload_id: Mapped[int | None] = mapped_column(ForeignKey("payloads.id"), comment="evidence of that snapshot")
    written_at: Mapped[datetime | None] = mapped_column(comment="time of the last reply that wrote anything here")
    unreadable: Mapped[int] = mapped_column(
        server_default=text("0"),
        comment="records without a readable id in the last good answer that did not lack too much",
    )
    excess: Mapped[int] = mapped_column(
        BigKey,
        server_default=text("0"),
        comment="by how many records that answer counted more than it listed",
    )
    missing_count: Mapped[int] = mapped_column(default=0, comment="good discoveries in a row without it")
    missing_needed: Mapped[int] = mapped_column(default=0, comment="how many retire it: 3, or 9 after a shrunken one")


class ZoneNumber(Base):
    """A numeric ZoneId whose zone is known: unique in the catalog, confirmed by an answer that agrees with itself."""

    __tablename__ = "zone_numbers"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    zone: Mapped[str]


class Absence(Base):
    """A span in which a target was not asked: retired (discovery stopped listing it) or deselected (configuration)."""

    __tablename__ = "absences"
    __table_args__ = (Index(None, "target_id", "valid_to"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    reason: Mapped[str] = mapped_column(comment="retired | deselected")
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime] = mapped_column(comment="END_OF_TIME while it lasts")


class ConditionRow(Base):
    """
    Something that goes wrong, or is worth a word, and lasts: kept from when a run told it until one tells its end.

    So a condition that lasts is told once, whichever runs, accounts and processes meet it.
    """

    __tablename__ = "conditions"
    __table_args__ = (Index(None, "account_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    account_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id"), comment="NULL: of a configuration or a report"
    )
    key: Mapped[list[Any]] = mapped_column(comment="what goes wrong, and where")
    since: Mapped[datetime]
    size: Mapped[int] = mapped_column(comment="when it was last told: told again once it doubles")
    told: Mapped[str] = mapped_column(comment="what it is called when it is over")
    target_ids: Mapped[list[Any] | None]


class Scope(Base):
    """A set of targets, stored once and shared by every run that asks exactly them."""

    __tablename__ = "scopes"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of the sorted target ids")
    size: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(BigKey, index=True, comment="of one account alone; NULL: of several")


class ScopeTarget(Base):
    """Membership of a target in a scope."""

    __tablename__ = "scope_targets"
    __table_args__ = (Index(None, "scope_id", "target_id"), {"sqlite_with_rowid": False})

    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"), primary_key=True)
    scope_id: Mapped[int] = mapped_column(ForeignKey("scopes.id"), primary_key=True)


class Run(Base):
    """One execution of the crawl. `finished_at` NULL: it still runs, or died and the next run will mark it."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "scope_id", "finished_at"),
        Index(None, "account_id", "id"),
        # the few that still run, or died
        Index(
            "ix_runs_unfinished",
            "id",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    status: Mapped[str] = mapped_column(comment="running | complete | incomplete | failed | interrupted")
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    accounts: Mapped[list[Any]] = mapped_column(comment="ids of the accounts whose locks it held")
    account_id: Mapped[int | None] = mapped_column(BigKey, comment="of one account alone; NULL: of several")
    restricted: Mapped[bool] = mapped_column(default=False, comment="narrowed on the command line")
    scope_id: Mapped[int | None] = mapped_column(ForeignKey("scopes.id"))
    ok: Mapped[int] = mapped_column(default=0)
    held: Mapped[int] = mapped_column(default=0)
    denied: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    baseline_targets: Mapped[int] = mapped_column(default=0)
    baseline_images: Mapped[int] = mapped_column(default=0)
    appeared: Mapped[int] = mapped_column(default=0)
    returned: Mapped[int] = mapped_column(default=0)
    withdrawn: Mapped[int] = mapped_column(default=0)
    modified: Mapped[int] = mapped_column(default=0)
    target_added: Mapped[int] = mapped_column(default=0)
    target_retired: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    retried: Mapped[int] = mapped_column(default=0)
    throttled: Mapped[int] = mapped_column(default=0)
    notices: Mapped[list[Any] | None]
    reports: Mapped[dict[str, Any] | None] = mapped_column(comment="queued, sent, failed; NULL: none of them")


class Mark(Base):
    """
    How far a run had got at its last recorded batch; it counts only while that run has no end.

    The row belongs to an account whose lock the run holds, and serves one run after the other: a bitmap in the row of
    each run, however soon it is removed, would leave hardly any room for others on its page.
    """

    __tablename__ = "marks"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    run_id: Mapped[int] = mapped_column(
        BigKey, unique=True, comment="no reference: the mark of a run that ended says nothing"
    )
    reached_at: Mapped[datetime] = mapped_column(comment="time of the last recorded batch")
    counters: Mapped[dict[str, Any]] = mapped_column(comment="what was recorded so far, by the columns of `runs`")
    reached: Mapped[bytes] = mapped_column(
        LargeBinary, comment="bitmap over the sorted target ids of the run's scope: those recorded"
    )


class OutcomeSpan(Base):
    """
    A span of runs in which a target's outcome was not `ok`: `[from_run_id, to_run_id)`.

    A run of the span counts only where the target is in that run's scope. The row stays open (`OPEN_RUN`) while the
    outcome, class and RetCode stay the same, so a lasting failure costs nothing per run.
    """

    __tablename__ = "exceptions"
    __table_args__ = (Index(None, "target_id", "from_run_id"), Index(None, "from_run_id"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    from_run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    to_run_id: Mapped[int] = mapped_column(BigKey, default=OPEN_RUN, comment="first run after it; 2^62 while it lasts")
    outcome: Mapped[str] = mapped_column(comment="held | denied | failed | skipped")
    failure_class: Mapped[str | None]
    ret_code: Mapped[int | None] = mapped_column(BigKey)
    message: Mapped[str] = mapped_column(default="")
    request_uuid: Mapped[str] = mapped_column(default="")
    payload_id: Mapped[int | None] = mapped_column(
        ForeignKey("payloads.id"), comment="the first answer of the span that was not believed at all"
    )
    since: Mapped[datetime] = mapped_column(comment="since when the outcome is so, whatever the RetCode")
    last_good_at: Mapped[datetime | None] = mapped_column(
        comment="end of the last run before the span that observed the target well"
    )


class ImageVersion(Base):
    """One state of an image's attributes; shared by every target that lists exactly it."""

    __tablename__ = "image_versions"
    __table_args__ = (
        # history by id, and by name
        Index(None, "image_id", postgresql_using="hash"),
        Index(None, "name_key", postgresql_using="hash"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True, comment="SHA-256 of set, id and attributes")
    image_set: Mapped[str]
    image_id: Mapped[str] = mapped_column(comment="history by id")
    image_name: Mapped[str] = mapped_column(default="")
    name_key: Mapped[str] = mapped_column(default="", comment="normalised name; history by name")
    gpu: Mapped[bool | None] = mapped_column(comment="supports GPU; NULL: not stated")
    attributes: Mapped[dict[str, Any]] = mapped_column(comment="all known fields by JSON name, `extra` included")


class Interval(Base):
    """Half-open validity `[valid_from, valid_to)` of one image version at one target."""

    __tablename__ = "intervals"
    __table_args__ = (
        # as-of: one target at a moment
        Index(None, "target_id", "valid_to", "valid_from"),
        # history of one image over all targets; was it here before
        Index(None, "version_id", "target_id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("image_versions.id"))
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime] = mapped_column(comment="END_OF_TIME while open")
    present_since: Mapped[datetime] = mapped_column(comment="start of the unbroken presence this version is part of")
    baseline: Mapped[bool] = mapped_column(default=False, comment="present since before anyone looked")
    opened_run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    closed_run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))


class ChangeLog(Base):
    """What diff found; append-only, but for the mark of the run that reports it."""

    __tablename__ = "changes"
    __table_args__ = (
        Index(None, "recorded_at", "id"),
        Index(None, "target_id", "recorded_at"),
        Index(None, "run_id"),
        Index(None, "image_id", postgresql_using="hash"),
        # what reports tell of a run, and what no run has taken up yet
        Index(None, "reported_run_id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    event: Mapped[str]
    image_set: Mapped[str | None]
    image_id: Mapped[str | None]
    image_name: Mapped[str | None]
    fields: Mapped[dict[str, Any] | None] = mapped_column(comment="{name: [before, after]} of a modified image")
    counterpart: Mapped[str | None] = mapped_column(comment="image id of the other half of a re-issue")
    not_before: Mapped[datetime | None]
    observed_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    before_payload_id: Mapped[int | None] = mapped_column(ForeignKey("payloads.id"))
    after_payload_id: Mapped[int | None] = mapped_column(ForeignKey("payloads.id"))
    reported_run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"),
        comment="run whose reports tell it; NULL where that died, until one of its account finishes",
    )


class Payload(Base):
    """A raw answer kept as evidence, compressed, addressed by its hash."""

    __tablename__ = "payloads"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True, comment="of the raw body")
    body: Mapped[bytes] = mapped_column(LargeBinary, comment="zlib")
    size: Mapped[int] = mapped_column(comment="bytes before compression")
    request_uuid: Mapped[str] = mapped_column(default="", comment="X-UCLOUD-REQUEST-UUID of the first such answer")
    received_at: Mapped[datetime]


class Hold(Base):
    """Withdrawals at one target that wait for confirmation."""

    __tablename__ = "holds"
    __table_args__ = (Index(None, "target_id", "status"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), comment="run of the first held answer")
    held_at: Mapped[datetime]
    not_before: Mapped[datetime | None]
    confirmations: Mapped[int] = mapped_column(default=0)
    waits_for: Mapped[str] = mapped_column(
        server_default=text("'confirmations'"),
        comment="confirmations | readable: an answer with no more unreadable records",
    )
    unreadable: Mapped[int | None] = mapped_column(
        comment="unreadable records of the good answer before it; one with more confirms nothing; NULL: not kept"
    )
    status: Mapped[str] = mapped_column(comment="open | confirmed | dissolved | accepted | rejected")
    resolved_at: Mapped[datetime] = mapped_column(comment="END_OF_TIME while open")
    resolved_run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    resolved_by: Mapped[str | None] = mapped_column(comment="who accepted or rejected it by hand")
    before_payload_id: Mapped[int | None] = mapped_column(
        ForeignKey("payloads.id"), comment="the answer before it, which still listed them"
    )
    payload_id: Mapped[int | None] = mapped_column(ForeignKey("payloads.id"), comment="the answer not believed")


class HoldImage(Base):
    """One image of a hold."""

    __tablename__ = "hold_images"
    __table_args__ = ({"sqlite_with_rowid": False},)

    hold_id: Mapped[int] = mapped_column(ForeignKey("holds.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="counts the images of a hold")
    image_set: Mapped[str]
    image_id: Mapped[str]


class SubscriptionRow(Base):
    """What one `[[reports]]` has been told; its identity is its name."""

    __tablename__ = "subscriptions"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    told: Mapped[str] = mapped_column(default="{}", comment="what it was told of conditions that last, as JSON")
    told_run_id: Mapped[int | None] = mapped_column(
        ForeignKey("runs.id"), comment="last run that its last whole digest covers"
    )
    due_at: Mapped[datetime | None] = mapped_column(comment="when a whole digest was last found due")
    version: Mapped[int] = mapped_column(
        BigKey, default=0, comment="raised by each change of the row, so that of two writers one notices"
    )
    sender: Mapped[list[Any] | None] = mapped_column(comment="ids of the accounts whose locks the present sender holds")
    sender_until: Mapped[datetime | None] = mapped_column(comment="when the present sender has surely ended")


class Delivery(Base):
    """A subscription has to be told of what a run reports; written by the transaction that finishes the run."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_waiting",
            "subscription_id",
            sqlite_where=text("settled_at IS NULL"),
            postgresql_where=text("settled_at IS NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    queued_at: Mapped[datetime]
    settled_at: Mapped[datetime | None] = mapped_column(comment="when a digest told it, or there was nothing to tell")
    digest_id: Mapped[int | None] = mapped_column(ForeignKey("digests.id"), comment="the digest that tells it")


class DigestRow(Base):
    """A digest as it was composed, before it was first sent: every retry sends exactly this."""

    __tablename__ = "digests"
    __table_args__ = (Index(None, "subscription_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"))
    kind: Mapped[str] = mapped_column(comment="digest | urgent | again")
    channel: Mapped[str]
    first_run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    last_run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    queued_at: Mapped[datetime] = mapped_column(comment="since when its oldest news waits to be told")
    made_at: Mapped[datetime]
    message_id: Mapped[str]
    subject: Mapped[str]
    content: Mapped[bytes | None] = mapped_column(LargeBinary, comment="zlib; NULL once nobody waits for it any more")


class Recipient(Base):
    """Whom a digest goes to, and how that went."""

    __tablename__ = "recipients"
    __table_args__ = (
        Index(
            "ix_recipients_waiting",
            "digest_id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        {"sqlite_with_rowid": False},
    )

    digest_id: Mapped[int] = mapped_column(ForeignKey("digests.id"), primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(comment="waiting | sent | skipped")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(comment="not tried before")
    refused: Mapped[str | None] = mapped_column(
        comment="what the last try said no to: channel | recipient | message; NULL: it may work the next time"
    )
    trouble: Mapped[str] = mapped_column(default="", comment="how the last try failed")
    ended_at: Mapped[datetime | None] = mapped_column(comment="when it was sent or skipped")
