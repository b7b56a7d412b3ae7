"""The first schema: all tables, and the digest of the views that go with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261123_first_schema"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Microseconds since 1970 UTC.
INSTANT = sa.BigInteger()
JSON_TEXT = sa.Text()
#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False, comment="where it was last asked"),
        sa.Column(
            "fence", KEY, nullable=False, comment="raised by every lock holder; a writer with a lower one lost its lock"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "image_versions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of set, id and attributes"),
        sa.Column("image_set", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False, comment="history by id"),
        sa.Column("image_name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False, comment="normalised name; history by name"),
        sa.Column("gpu", sa.Boolean(), nullable=True, comment="supports GPU; NULL: not stated"),
        sa.Column("attributes", JSON_TEXT, nullable=False, comment="all known fields by JSON name, `extra` included"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_versions")),
        sa.UniqueConstraint("digest", name=op.f("uq_image_versions_digest")),
    )
    op.create_index(op.f("ix_image_versions_image_id"), "image_versions", ["image_id"], unique=False)
    op.create_index(op.f("ix_image_versions_name_key"), "image_versions", ["name_key"], unique=False)
    op.create_table(
        "payloads",
        sa.Column("id", KEY, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of the raw body"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="zlib"),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes before compression"),
        sa.Column("request_uuid", sa.Text(), nullable=False, comment="X-UCLOUD-REQUEST-UUID of the first such answer"),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payloads")),
        sa.UniqueConstraint("digest", name=op.f("uq_payloads_digest")),
    )
    op.create_table(
        "scopes",
        sa.Column("id", KEY, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the sorted target ids"),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scopes")),
        sa.UniqueConstraint("digest", name=op.f("uq_scopes_digest")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "catalogs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("projects", JSON_TEXT, nullable=False, comment="[[project id, name], …]"),
        sa.Column("places", JSON_TEXT, nullable=False, comment="[[region, zone, number or null], …]"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_catalogs_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogs")),
    )
    op.create_index(op.f("ix_catalogs_account_id_id"), "catalogs", ["account_id", "id"], unique=False)
    op.create_table(
        "marks",
        sa.Column("account_id", KEY, autoincrement=False, nullable=False),
        sa.Column("run_id", KEY, nullable=False, comment="no reference: the mark of a run that ended says nothing"),
        sa.Column("reached_at", INSTANT, nullable=False, comment="time of the last recorded batch"),
        sa.Column("counters", JSON_TEXT, nullable=False, comment="what was recorded so far, by the columns of `runs`"),
        sa.Column(
            "reached",
            sa.LargeBinary(),
            nullable=False,
            comment="bitmap over the sorted target ids of the run's scope: those recorded",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_marks_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_marks")),
        sa.UniqueConstraint("run_id", name=op.f("uq_marks_run_id")),
    )
    op.create_table(
        "runs",
        sa.Column("id", KEY, nullable=False),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="running | complete | incomplete | failed | interrupted"
        ),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("accounts", JSON_TEXT, nullable=False, comment="ids of the accounts whose locks it held"),
        sa.Column("restricted", sa.Boolean(), nullable=False, comment="narrowed on the command line"),
        sa.Column("scope_id", KEY, nullable=True),
        sa.Column("ok", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("denied", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("baseline_targets", sa.Integer(), nullable=False),
        sa.Column("baseline_images", sa.Integer(), nullable=False),
        sa.Column("appeared", sa.Integer(), nullable=False),
        sa.Column("returned", sa.Integer(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("modified", sa.Integer(), nullable=False),
        sa.Column("target_added", sa.Integer(), nullable=False),
        sa.Column("target_retired", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("retried", sa.Integer(), nullable=False),
        sa.Column("throttled", sa.Integer(), nullable=False),
        sa.Column("notices", JSON_TEXT, nullable=True),
        sa.ForeignKeyConstraint(["scope_id"], ["scopes.id"], name=op.f("fk_runs_scope_id_scopes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_scope_id_finished_at"), "runs", ["scope_id", "finished_at"], unique=False)
    op.create_index(
        "ix_runs_unfinished",
        "runs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "variants",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parameters", JSON_TEXT, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_variants_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variants")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_variants_account_id_name")),
    )
    op.create_table(
        "zone_numbers",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("number", KEY, autoincrement=False, nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_zone_numbers_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_zone_numbers")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False, comment="what it was told of conditions that last, as JSON"),
        sa.Column("told_run_id", KEY, nullable=True, comment="last run that its last whole digest covers"),
        sa.Column("due_at", INSTANT, nullable=True, comment="when a whole digest was last found due"),
        sa.Column(
            "version",
            KEY,
            nullable=False,
            comment="raised by each change of the row, so that of two writers one notices",
        ),
        sa.Column(
            "sender", JSON_TEXT, nullable=True, comment="ids of the accounts whose locks the present sender holds"
        ),
        sa.Column("sender_until", INSTANT, nullable=True, comment="when the present sender has surely ended"),
        sa.ForeignKeyConstraint(["told_run_id"], ["runs.id"], name=op.f("fk_subscriptions_told_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("name", name=op.f("uq_subscriptions_name")),
    )
    op.create_table(
        "targets",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("project_name", sa.Text(), nullable=False, comment="last known name; project globs match it"),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column(
            "baseline_run_id",
            KEY,
            nullable=True,
            comment="first run that observed it well; NULL: never open to this key",
        ),
        sa.Column("body_hash", sa.LargeBinary(), nullable=True, comment="of the last good body; equal: skip decoding"),
        sa.Column(
            "snapshot_digest", sa.Text(), nullable=True, comment="of the last canonical snapshot; equal: skip the diff"
        ),
        sa.Column("payload_id", KEY, nullable=True, comment="evidence of that snapshot"),
        sa.Column("written_at", INSTANT, nullable=True, comment="time of the last reply that wrote anything here"),
        sa.Column("missing_count", sa.Integer(), nullable=False, comment="good discoveries in a row without it"),
        sa.Column(
            "missing_needed", sa.Integer(), nullable=False, comment="how many retire it: 3, or 9 after a shrunken one"
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_targets_account_id_accounts")),
        sa.ForeignKeyConstraint(["baseline_run_id"], ["runs.id"], name=op.f("fk_targets_baseline_run_id_runs")),
        sa.ForeignKeyConstraint(["payload_id"], ["payloads.id"], name=op.f("fk_targets_payload_id_payloads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint(
            "account_id",
            "project",
            "region",
            "zone",
            "kind",
            "variant",
            name=op.f("uq_targets_account_id_project_region_zone_kind_variant"),
        ),
    )
    op.create_index(op.f("ix_targets_zone"), "targets", ["zone"], unique=False)
    op.create_table(
        "absences",
        sa.Column("id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="retired | deselected"),
        sa.Column("valid_from", INSTANT, nullable=False),
        sa.Column("valid_to", INSTANT, nullable=False, comment="END_OF_TIME while it lasts"),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_absences_target_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_absences")),
    )
    op.create_index(op.f("ix_absences_target_id_valid_to"), "absences", ["target_id", "valid_to"], unique=False)
    op.create_table(
        "changes",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("image_set", sa.Text(), nullable=True),
        sa.Column("image_id", sa.Text(), nullable=True),
        sa.Column("image_name", sa.Text(), nullable=True),
        sa.Column("fields", JSON_TEXT, nullable=True, comment="{name: [before, after]} of a modified image"),
        sa.Column("counterpart", sa.Text(), nullable=True, comment="image id of the other half of a re-issue"),
        sa.Column("not_before", INSTANT, nullable=True),
        sa.Column("observed_at", INSTANT, nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("before_payload_id", KEY, nullable=True),
        sa.Column("after_payload_id", KEY, nullable=True),
        sa.Column(
            "reported_run_id",
            KEY,
            nullable=True,
            comment="run whose reports tell it; NULL where that died, until one of its account finishes",
        ),
        sa.ForeignKeyConstraint(
            ["after_payload_id"], ["payloads.id"], name=op.f("fk_changes_after_payload_id_payloads")
        ),
        sa.ForeignKeyConstraint(
            ["before_payload_id"], ["payloads.id"], name=op.f("fk_changes_before_payload_id_payloads")
        ),
        sa.ForeignKeyConstraint(["reported_run_id"], ["runs.id"], name=op.f("fk_changes_reported_run_id_runs")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_changes_run_id_runs")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_changes_target_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_image_id"), "changes", ["image_id"], unique=False)
    op.create_index(op.f("ix_changes_recorded_at_id"), "changes", ["recorded_at", "id"], unique=False)
    op.create_index(op.f("ix_changes_reported_run_id"), "changes", ["reported_run_id"], unique=False)
    op.create_index(op.f("ix_changes_run_id"), "changes", ["run_id"], unique=False)
    op.create_index(op.f("ix_changes_target_id_recorded_at"), "changes", ["target_id", "recorded_at"], unique=False)
    op.create_table(
        "digests",
        sa.Column("id", KEY, nullable=False),
        sa.Column("subscription_id", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="digest | urgent | again"),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("first_run_id", KEY, nullable=False),
        sa.Column("last_run_id", KEY, nullable=False),
        sa.Column("queued_at", INSTANT, nullable=False, comment="since when its oldest news waits to be told"),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True, comment="zlib; NULL once nobody waits for it any more"),
        sa.ForeignKeyConstraint(["first_run_id"], ["runs.id"], name=op.f("fk_digests_first_run_id_runs")),
        sa.ForeignKeyConstraint(["last_run_id"], ["runs.id"], name=op.f("fk_digests_last_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_digests_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digests")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_digests_subscription_id_id"), "digests", ["subscription_id", "id"], unique=False)
    op.create_table(
        "exceptions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("from_run_id", KEY, nullable=False),
        sa.Column("to_run_id", KEY, nullable=False, comment="first run after it; 2^62 while it lasts"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="held | denied | failed | skipped"),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("ret_code", KEY, nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("request_uuid", sa.Text(), nullable=False),
        sa.Column("since", INSTANT, nullable=False, comment="since when the outcome is so, whatever the RetCode"),
        sa.Column(
            "last_good_at",
            INSTANT,
            nullable=True,
            comment="end of the last run before the span that observed the target well",
        ),
        sa.ForeignKeyConstraint(["from_run_id"], ["runs.id"], name=op.f("fk_exceptions_from_run_id_runs")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_exceptions_target_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exceptions")),
    )
    op.create_index(op.f("ix_exceptions_from_run_id"), "exceptions", ["from_run_id"], unique=False)
    op.create_index(
        op.f("ix_exceptions_target_id_from_run_id"), "exceptions", ["target_id", "from_run_id"], unique=False
    )
    op.create_table(
        "holds",
        sa.Column("id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False, comment="run of the first held answer"),
        sa.Column("held_at", INSTANT, nullable=False),
        sa.Column("not_before", INSTANT, nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="open | confirmed | dissolved | accepted | rejected"),
        sa.Column("resolved_at", INSTANT, nullable=False, comment="END_OF_TIME while open"),
        sa.Column("resolved_run_id", KEY, nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True, comment="who accepted or rejected it by hand"),
        sa.Column("before_payload_id", KEY, nullable=True, comment="the answer before it, which still listed them"),
        sa.Column("payload_id", KEY, nullable=True, comment="the answer not believed"),
        sa.ForeignKeyConstraint(
            ["before_payload_id"], ["payloads.id"], name=op.f("fk_holds_before_payload_id_payloads")
        ),
        sa.ForeignKeyConstraint(["payload_id"], ["payloads.id"], name=op.f("fk_holds_payload_id_payloads")),
        sa.ForeignKeyConstraint(["resolved_run_id"], ["runs.id"], name=op.f("fk_holds_resolved_run_id_runs")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_holds_run_id_runs")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_holds_target_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_target_id_status"), "holds", ["target_id", "status"], unique=False)
    op.create_table(
        "intervals",
        sa.Column("id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("version_id", KEY, nullable=False),
        sa.Column("valid_from", INSTANT, nullable=False),
        sa.Column("valid_to", INSTANT, nullable=False, comment="END_OF_TIME while open"),
        sa.Column(
            "present_since", INSTANT, nullable=False, comment="start of the unbroken presence this version is part of"
        ),
        sa.Column("baseline", sa.Boolean(), nullable=False, comment="present since before anyone looked"),
        sa.Column("opened_run_id", KEY, nullable=False),
        sa.Column("closed_run_id", KEY, nullable=True),
        sa.ForeignKeyConstraint(["closed_run_id"], ["runs.id"], name=op.f("fk_intervals_closed_run_id_runs")),
        sa.ForeignKeyConstraint(["opened_run_id"], ["runs.id"], name=op.f("fk_intervals_opened_run_id_runs")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_intervals_target_id_targets")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["image_versions.id"], name=op.f("fk_intervals_version_id_image_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intervals")),
    )
    op.create_index(
        op.f("ix_intervals_target_id_valid_to_valid_from"),
        "intervals",
        ["target_id", "valid_to", "valid_from"],
        unique=False,
    )
    op.create_index(op.f("ix_intervals_version_id_target_id"), "intervals", ["version_id", "target_id"], unique=False)
    op.create_table(
        "scope_targets",
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("scope_id", KEY, nullable=False),
        sa.ForeignKeyConstraint(["scope_id"], ["scopes.id"], name=op.f("fk_scope_targets_scope_id_scopes")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_scope_targets_target_id_targets")),
        sa.PrimaryKeyConstraint("target_id", "scope_id", name=op.f("pk_scope_targets")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_scope_targets_scope_id_target_id"), "scope_targets", ["scope_id", "target_id"], unique=False
    )
    op.create_table(
        "deliveries",
        sa.Column("subscription_id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("queued_at", INSTANT, nullable=False),
        sa.Column("settled_at", INSTANT, nullable=True, comment="when a digest told it, or there was nothing to tell"),
        sa.Column("digest_id", KEY, nullable=True, comment="the digest that tells it"),
        sa.ForeignKeyConstraint(["digest_id"], ["digests.id"], name=op.f("fk_deliveries_digest_id_digests")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_deliveries_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_deliveries_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("subscription_id", "run_id", name=op.f("pk_deliveries")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["subscription_id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "hold_images",
        sa.Column("hold_id", KEY, nullable=False),
        sa.Column("image_set", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_hold_images_hold_id_holds")),
        sa.PrimaryKeyConstraint("hold_id", "image_set", "image_id", name=op.f("pk_hold_images")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recipients",
        sa.Column("digest_id", KEY, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="waiting | sent | skipped"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", INSTANT, nullable=False, comment="not tried before"),
        sa.Column(
            "refused",
            sa.Text(),
            nullable=True,
            comment="what the last try said no to: channel | recipient | message; NULL: it may work the next time",
        ),
        sa.Column("trouble", sa.Text(), nullable=False, comment="how the last try failed"),
        sa.Column("ended_at", INSTANT, nullable=True, comment="when it was sent or skipped"),
        sa.ForeignKeyConstraint(["digest_id"], ["digests.id"], name=op.f("fk_recipients_digest_id_digests")),
        sa.PrimaryKeyConstraint("digest_id", "address", name=op.f("pk_recipients")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_recipients_waiting",
        "recipients",
        ["digest_id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
