"""
The channel `webhook`: a digest as JSON, in words and as data, POSTed with a signature.

`X-Crawler-Signature` is `sha256=` and the HMAC-SHA256, in hexadecimal, of the `X-Crawler-Timestamp` (seconds since
1970), a full stop and the body, keyed with the shared secret. `Idempotency-Key` is the Message-ID: a message that came
twice has it twice. Any 2xx means that it arrived.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from crawler.domain.models import iso_utc
from crawler.domain.rows import json_value
from crawler.notifications.channels.base import Message
from crawler.notifications.channels.http import LIMITS, HttpChannel, identity_of, message_of, view_of
from crawler.notifications.models import Digest
from crawler.notifications.rendering.render import as_text

#: The full list of changes ends here; `changes_left_out` says how many more there were.
MOST_CHANGES = 1000


class WebhookChannel(HttpChannel):
    """Sends digests to one webhook."""

    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """Return the JSON document that tells *digest*."""
        seen = view_of(digest, LIMITS[0])
        coverage = digest.coverage
        return message_of(
            {
                "message_id": identity_of(digest, copy),
                "report": digest.subscription.name,
                "kind": digest.kind,
                "at": iso_utc(at),
                "language": digest.subscription.language,
                "subject": seen.subject,
                "text": as_text(seen),
                "accounts": list(digest.accounts),
                "first_run": digest.first_run,
                "last_run": digest.last_run,
                "since": iso_utc(digest.since),
                "until": iso_utc(digest.until),
                "observed": {"zones": coverage.observed, "of": coverage.total, "at": iso_utc(coverage.at)},
                "pins": json_value(digest.pins),
                "lines": json_value(digest.lines),
                "gaps": json_value(digest.gaps),
                "recovered": json_value(digest.recovered),
                "held": json_value(digest.held),
                "changes": [change.as_dict() for change in digest.changes[:MOST_CHANGES]],
                "changes_left_out": max(0, len(digest.changes) - MOST_CHANGES),
            }
        )

    def request(self, content: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Return a message with its signature in the headers."""
        timestamp = str(int(self.clock().timestamp()))
        headers = {"Idempotency-Key": json.loads(content)["message_id"], "X-Crawler-Timestamp": timestamp}
        if self.options.secret is not None:
            headers["X-Crawler-Signature"] = signature(timestamp, content, self.options.secret)
        return content, headers


def signature(timestamp: str, body: bytes, secret: str) -> str:
    """Return the value of `X-Crawler-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
