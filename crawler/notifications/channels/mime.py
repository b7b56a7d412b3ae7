"""
A digest as a mail: headers, both parts, the full list attached where the mail is cut. Pure; sending is the channel's.

The Message-ID is a hash of what the digest is about, and parts are divided by it too: a mail composed again is the same
mail, byte for byte, so a server that got it twice can tell. All mails of a subscription refer to one that was never
sent, the root of their thread.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parseaddr

from crawler.domain.models import digest_of
from crawler.domain.text import plain
from crawler.notifications.models import Digest
from crawler.notifications.rendering.render import LARGEST_HTML, render

#: Everything travels in seven bits: not every server on the way takes eight.
_POLICY = SMTP.clone(cte_type="7bit")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
ATTACHMENT = "changes.csv"
#: A longer list is attached zipped: servers refuse mails of some ten million bytes.
LARGEST_CSV = 1_000_000


def compose(
    digest: Digest, *, sender: str, to: Sequence[str], at: datetime, largest: int = LARGEST_HTML
) -> EmailMessage:
    """
    Return the mail that tells *digest* from *sender* (`Crawler <crawler@example.com>`) to all of *to*, dated *at*.

    Equal arguments give equal bytes. An HTML part that gets *largest* bytes is cut, and the full list attached.
    """
    rendered = render(digest, largest=largest)
    identity = message_id(digest, sender=sender)
    root = _thread_root(digest, sender)
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = rendered.subject
    message["From"] = _address(sender)
    message["To"] = [_address(address) for address in to]
    message["Date"] = format_datetime(at)
    message["Message-ID"] = identity
    message["In-Reply-To"] = root
    message["References"] = root
    message["List-Id"] = f"<{_label(digest.subscription.name)}.crawler.{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    if rendered.is_cut and len(rendered.csv) <= LARGEST_CSV:
        message.add_attachment(rendered.csv, maintype="text", subtype="csv", filename=ATTACHMENT)
    elif rendered.is_cut:
        message.add_attachment(
            _zipped(rendered.csv), maintype="application", subtype="zip", filename=f"{ATTACHMENT}.zip"
        )
    # Last, because a message that becomes a multipart passes what is called content-… on to its part.
    message["Content-Language"] = "zh-CN" if digest.subscription.language == "zh" else "en"
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{identity[1:].partition('@')[0]}.{number}")
    return message


def message_id(digest: Digest, *, sender: str) -> str:
    """Return the Message-ID of *digest*, angle brackets included: the same for the same subscription and range."""
    about = [
        list(digest.accounts),
        digest.subscription.name,
        digest.kind,
        digest.first_run,
        digest.last_run,
        # Runs count from one again in a new database, so their numbers alone would meet a mail of the old one.
        digest.until.isoformat(),
    ]
    return f"<crawler.{digest.last_run}.{digest_of(about)[:24]}@{_domain(sender)}>"


def _zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        # The date is the format's first, so that equal lists give equal bytes.
        entry = zipfile.ZipInfo(ATTACHMENT)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return file.getvalue()


def _thread_root(digest: Digest, sender: str) -> str:
    """Return the Message-ID that all mails of a subscription answer to."""
    return f"<crawler.{digest_of([digest.subscription.name])[:24]}@{_domain(sender)}>"


def _domain(sender: str) -> str:
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return domain.lower() if _DOMAIN.fullmatch(domain) else "crawler.invalid"


def _label(name: str) -> str:
    """Return a subscription's name as one label of a List-Id; names that have none get a number that stays."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    is_same = re.sub(r"[^a-z0-9]+", "-", label) == name.lower()
    return label if label and is_same else f"{label or 'report'}-{digest_of(name)[:8]}"


def _address(text: str) -> Address:
    """Read one address; its name loses what a header must not hold."""
    name, spec = getaddresses([text])[0]
    return Address(display_name=plain(name), addr_spec=spec)
