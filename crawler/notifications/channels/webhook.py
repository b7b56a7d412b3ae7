"""
The channel `webhook`: a digest as JSON, in words and as data, POSTed with a signature.

It is signed by the Standard Webhooks specification (`crawler.domain.webhooks`), with the secret before as well while
that is being replaced. With the format `cloudevents` the body is an event of CloudEvents 1.0 that has the digest in it.

Older receivers find what they had: `X-Crawler-Signature` is `sha256=` and the HMAC-SHA256, in hexadecimal, of the
`X-Crawler-Timestamp` (seconds since 1970), a full stop and the body, keyed with the shared secret. `Idempotency-Key` is
the Message-ID: a message that came twice has it twice. Any 2xx means that it arrived.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from crawler.domain.models import iso_utc
from crawler.domain.rows import json_value
from crawler.domain.webhooks import hook_headers
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
                "endings": [
                    {**asdict(ending), "zones": list(ending.zones), "ends_on": ending.ends_on.isoformat()}
                    for ending in digest.endings
                ],
                "schema": json_value(digest.schema),
                "changes": [change.as_dict() for change in digest.changes[:MOST_CHANGES]],
                "changes_left_out": max(0, len(digest.changes) - MOST_CHANGES),
            }
        )

    def request(self, content: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Return the body that carries a message, and its signatures in the headers."""
        document = json.loads(content)
        identity = f"msg_{hashlib.sha256(document['message_id'].encode()).hexdigest()[:32]}"
        body, media = content, {}
        if self.options.format == "cloudevents":
            body = json.dumps(_event(document, identity), separators=(",", ":")).encode()
            media = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        now = int(self.clock().timestamp())
        headers = {"Idempotency-Key": document["message_id"], "X-Crawler-Timestamp": str(now), **media}
        secrets = [secret for secret in (self.options.secret, self.options.old_secret) if secret is not None]
        if secrets:
            headers["X-Crawler-Signature"] = signature(str(now), body, secrets[0])
            headers |= hook_headers(identity, now, body, secrets)
        return body, headers


def _event(document: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """Return the event of CloudEvents 1.0, in its structured mode, that has the digest *document* in it."""
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"crawler/reports/{quote(document['report'], safe='')}",
        "type": f"crawler.report.{document['kind']}",
        "subject": document["subject"],
        "time": document["at"],
        "datacontenttype": "application/json",
        "data": document,
    }


def signature(timestamp: str, body: bytes, secret: str) -> str:
    """Return the value of `X-Crawler-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
