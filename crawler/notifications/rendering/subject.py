"""
The subject of a mail: the news itself, the worst first, in a line that a phone shows. Pure.
"""

from __future__ import annotations

from crawler.domain.text import plain
from crawler.notifications.grouping import TOPICS
from crawler.notifications.i18n.phrases import flat, spans
from crawler.notifications.models import Digest, Line, Topic
from crawler.notifications.rendering.lines import Writer

#: Longer subjects are cut.
LIMIT = 150
#: How many kinds of news are counted.
_COUNTED = 3


def subject(digest: Digest, writer: Writer) -> str:
    """Return the subject of *digest*: the news that needs a sentence; then what is counted; then the accounts."""
    words = writer.words
    is_single = len(digest.lines) == 1 and not digest.pins
    sentence = _single(digest.lines[0], writer) if is_single else _pins(digest, writer)
    counts = [] if is_single else _counts(digest, writer)
    unseen = sum(len(gap.zones) for gap in digest.gaps)
    back = sum(len(gap.zones) for gap in digest.recovered)
    counts += [words.unseen.of(unseen)] * bool(unseen) + [words.seen_again.of(back)] * bool(back)
    counted = words.subject_comma.join(counts)
    also = f"{words.also} " if words.also and counted[:1].isdigit() else words.also
    line = f"{sentence}{words.semicolon}{also}{counted}" if sentence and counted else sentence or counted
    if digest.introduction is not None and not digest.pins:
        line = words.first + words.colon + (line or words.zones.of(digest.coverage.total))
    line = line or words.no_news.format(n=digest.coverage.observed, total=digest.coverage.total)
    return f"{plain(line, LIMIT)} [{_accounts(digest, writer)}]"


def _pins(digest: Digest, writer: Writer) -> str:
    """Return the worst condition in full, and how many more there are."""
    if not digest.pins:
        return ""
    words, worst = writer.words, digest.pins[0]
    said = spans(
        words.pin_subject[worst.state],
        zone=writer.zone(worst.account, worst.pin.zone),
        successor=plain(worst.successor or " / ".join(worst.candidates)),
    )
    others = len(digest.pins) - 1
    return words.subject_comma.join([flat(said), *([words.more_pins.of(others)] if others else [])])


def _counts(digest: Digest, writer: Writer) -> list[str]:
    """Return how many images or zones each of the worst kinds of news is about."""
    counts: dict[Topic, int] = {}
    for line in digest.lines:
        counts[line.topic] = counts.get(line.topic, 0) + _size(line)
    return [writer.words.counted[topic].of(counts[topic]) for topic in TOPICS if topic in counts][:_COUNTED]


def _single(line: Line, writer: Writer) -> str:
    name = writer.line_name(line)
    where = writer.where(line)
    if not line.image_set:
        where = flat(writer.line(line).what) if line.project or line.variant else where
        if line.topic == "flapped":
            return writer.words.single["flapped"].format(name=where, where=where)
    return writer.words.single[line.topic].format(name=name, where=where)


def _size(line: Line) -> int:
    """Return how much a line counts: its images, or its zones where it is about zones."""
    if line.image_set:
        return line.image_count
    return len({(place.account, place.zone) for place in line.places})


def _accounts(digest: Digest, writer: Writer) -> str:
    if len(digest.accounts) > 2:
        return writer.words.accounts.of(len(digest.accounts))
    return "+".join(plain(name, 40) for name in digest.accounts) or plain(digest.subscription.name, 40)
