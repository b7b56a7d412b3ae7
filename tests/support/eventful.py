"""A story in which everything happens that a mail can say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from crawler.notifications.channels.email import compose
from crawler.notifications.digest import build_digest
from crawler.notifications.models import Digest, NotifiedState
from tests.support.reporting import Story, at, subscribe, target

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SENDER = "Crawler <crawler@example.com>"


def eventful(name: str = "Ubuntu 22.04", image_id: str = "uimage-a") -> Story:
    """Return a story in which everything a mail can say happens, all of it to images called *name*."""
    story = Story(zones=14, projects=("org-a", "org-b"))
    other = f"{image_id}-2"
    story.project_names["prod", "org-a"] = name
    story.change("withdrawn", image_id, name, where=target("zone-01"), run=3)
    story.change("withdrawn", other, name + " x", where=target("zone-02"), counterpart=f"{image_id}-3", run=3)
    story.change("appeared", f"{image_id}-3", name + " x", where=target("zone-02"), run=3)
    story.change("appeared", image_id, name + " y", where=target("zone-03"), counterpart=other, run=3)
    for number in range(4, 10):
        story.change("appeared", f"{image_id}-{number}", name + " z", where=target(f"zone-{number:02}"), run=2)
    for number in range(4, 6):
        changed: dict[str, list[Any]] = {"os_name": [name, name + "!"], "features": [[], [name]]}
        story.change("modified", f"{image_id}-{number}", name, where=f"zone-{number:02}", fields=changed)
    story.change("modified", image_id, name, where="zone-06", fields={"gpu": [True, False]})
    story.change("returned", image_id, name + " r", where="zone-07")
    story.change("withdrawn", image_id, name + " f", where="zone-08", run=2)
    story.change("returned", image_id, name + " f", where="zone-08", run=3)
    story.change("target_retired", None, where=target("zone-13"))
    story.change("target_added", None, where=target("zone-14"))
    story.hold(image_id, where="zone-11", name=name)
    story.set(target("zone-12"), outcome="failed", since=at(1), last_ok_at=at(0), message=f"{name} (RetCode 174: x)")
    story.set(target("zone-10"), outcome="failed", since=at(1), last_ok_at=at(0), message=name)
    story.set(target("zone-09"), outcome="ok", since=at(3), last_ok_at=at(3))
    return story


def digest_of(story: Story, *runs: int, told: NotifiedState | None = None, **more: Any) -> Digest:
    """Return the digest of *runs* (by default both of an eventful story), with a recovered zone and two pins."""
    told = told or NotifiedState(unobserved=frozenset({str(target("zone-09"))}))
    pins = ["zone-01 uimage-a", "zone-02 uimage-a-2"]
    digest = build_digest(subscribe(**{"pins": pins} | more), story.facts(*(runs or (2, 3))), told)
    assert digest is not None
    return digest


def mail(digest: Digest, *, to: Sequence[str] = ("sre@example.com",)) -> bytes:
    """Return the bytes of the mail that tells *digest*."""
    return bytes(compose(digest, sender=SENDER, to=to, at=NOW))
