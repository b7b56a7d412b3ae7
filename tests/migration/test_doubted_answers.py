"""The migration that lets answers be doubted: what the last good ones left unread is counted in what was kept."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler.db.engine import begin, opened, read
from crawler.db.migrations import schema_state, upgrade
from tests.support.ageing import upgrade_to

BEFORE = "20261123_first_schema"
#: Answers as the first program kept them, with the unreadable records and the excess of each.
KEPT: list[tuple[Any, int, int]] = [
    ({"ImageSet": [{"ImageId": "a"}, {"imageid": 7}, "b"], "TotalCount": 3}, 0, 0),
    ({"ImageSet": [{"ImageId": "a"}, {"Id": "b"}, None, {}], "customiimageset": ["", " "]}, 2, 0),
    ({"ImageSet": [{"ImageId": "a"}], "PHostImageSet": {"ImageId": None}, "TotalCount": 9}, 1, 7),
    ({"ImageSet": None, "TotalCount": "many", "ImageSetCount": 2**80}, 0, 2**62),
    ("no JSON", 0, 0),
]


@pytest.fixture
def old(empty_database_url: str) -> Any:
    """Return a database of the first program."""
    upgrade_to(empty_database_url, BEFORE)
    with opened(empty_database_url) as engine:
        yield engine


def test_counts_are_taken_from_the_kept_answers(old: Engine) -> None:
    """Targets get the counts of their last answer, holds wait for confirmations as before, and no row is lost."""
    with begin(old) as conn:
        conn.execute(text("INSERT INTO accounts (id, name, endpoint, fence) VALUES (1, 'prod', '', 0)"))
        for number, (document, _, _) in enumerate(KEPT, start=1):
            body = json.dumps(document).encode() if not isinstance(document, str) else document.encode()
            conn.execute(
                text(
                    "INSERT INTO payloads (id, digest, body, size, request_uuid, received_at)"
                    " VALUES (:id, :digest, :body, 1, '', 0)"
                ),
                {"id": number, "digest": bytes([number]), "body": zlib.compress(body)},
            )
            conn.execute(
                text(
                    "INSERT INTO targets (id, account_id, project, project_name, region, zone, kind, variant,"
                    " payload_id, missing_count, missing_needed)"
                    " VALUES (:id, 1, 'org-x', '', 'hk', :zone, 'uk8s-image', 'default', :id, 0, 0)"
                ),
                {"id": number, "zone": f"hk-0{number}"},
            )
        conn.execute(
            text(
                "INSERT INTO runs (id, status, started_at, finished_at, accounts, restricted, ok, held, denied, failed,"
                " skipped, baseline_targets, baseline_images, appeared, returned, withdrawn, modified, target_added,"
                " target_retired, sent, retried, throttled) VALUES (1, 'complete', 0, 1, '[1]', :no, 0, 0, 0, 0, 0,"
                " 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
            ),
            {"no": False},
        )
        conn.execute(
            text(
                "INSERT INTO holds (id, target_id, run_id, held_at, confirmations, status, resolved_at)"
                " VALUES (1, 1, 1, 0, 1, 'open', 9)"
            )
        )
        conn.execute(
            text(
                "INSERT INTO exceptions (id, target_id, from_run_id, to_run_id, outcome, message, request_uuid, since)"
                " VALUES (1, 1, 1, 2, 'failed', 'odd', '', 0)"
            )
        )

    upgrade(old)

    assert schema_state(old).name == "current"
    with read(old) as conn:
        counted = conn.execute(text("SELECT unreadable, excess FROM targets ORDER BY id")).all()
        hold = conn.execute(text("SELECT confirmations, waits_for, unreadable FROM holds")).one()
        span = conn.execute(text("SELECT message, payload_id FROM exceptions")).one()
    assert [tuple(row) for row in counted] == [(unread, excess) for _, unread, excess in KEPT]
    assert tuple(hold) == (1, "confirmations", None)
    assert tuple(span) == ("odd", None)
