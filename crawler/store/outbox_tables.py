"""
The outbox: what has to be told to whom, and how far that got.

A delivery says that a subscription has to be told what a run reports; it is written with the end of the run. Deliveries
that wait are composed into one digest, which is stored before it is sent and goes to each recipient by itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from crawler.store.base import Base
from crawler.store.types import BigKey


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
