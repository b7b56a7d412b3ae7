"""The mail: both parts say the same, headers hold, and nothing that came from the API is ever more than text."""

from __future__ import annotations

import csv
import io
import re
import string
import zipfile
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crawler.notifications.channels.email import as_bytes, compose
from crawler.notifications.digest import build_digest
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Counted
from crawler.notifications.models import NotifiedState, message_id
from crawler.notifications.rendering.render import LARGEST_HTML, render
from tests.support.eventful import NOW, SENDER, digest_of, eventful, mail
from tests.support.mails import ATTRIBUTES, ELEMENTS, content, parsed, part, read_html
from tests.support.reporting import Story, at, subscribe, target

KNOWN = NotifiedState(introduced=True)


# --- both parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_parts_are_equal(language: str) -> None:
    """Text and HTML, read back by the standard library, say the same in the same order."""
    message = parsed(mail(digest_of(eventful(), language=language)))
    html = read_html(part(message, "html"))

    assert content("".join(html.text)) == content(part(message, "plain"))
    assert (html.unbalanced, html.open) == ([], [])


def test_nothing_is_fetched() -> None:
    """The HTML refers to nothing: no image, link, script, font or import, and no element beyond the plain few."""
    html = render(digest_of(eventful())).html
    reader = read_html(html)

    assert reader.elements <= ELEMENTS
    assert reader.attributes <= ATTRIBUTES
    assert not re.search(r"url\(|@import|@font-face|https?:|//[a-z]", html)


@pytest.mark.parametrize(("language", "folder"), [("en", ""), ("zh", "zh/")])
def test_page(language: str, folder: str) -> None:
    """Where the web page is published, both parts lead to its changes in the report's language, and to nothing else."""
    where = "https://images.example.com/pages/"
    rendered = render(digest_of(eventful(), language=language, page_url=where))

    assert re.findall('href="([^"]*)"', rendered.html) == [f"{where}{folder}changes.html"]
    assert rendered.text.splitlines()[-1].endswith(f"{where}{folder}changes.html")


def test_style_survives() -> None:
    """The style stands in the elements; dark mode and narrow screens stay in one style element in the head."""
    html = render(digest_of(eventful())).html
    head, _, body = html.partition("</head>")

    assert re.findall(r"@media ([^{]*) {", head) == [
        "only screen and (max-width: 600px)", "(prefers-color-scheme: dark)"
    ]  # fmt: skip
    assert '<meta name="color-scheme" content="light dark">' in head
    assert "<style" not in body
    assert all("style=" in cell for cell in re.findall(r"<td[^>]*>", re.sub(r"<!--.*?-->", "", body)))
    assert "<!--[if mso]>" in body


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lines_of_the_demo(language: str) -> None:
    """A mail about a pinned re-issue, a withdrawal and a blind zone reads as it should."""
    story = Story(zones=["hk-02", "kr-seoul-01"])
    story.change("withdrawn", "uimage-vareox", "Ubuntu 20.04", where="hk-02", run=2, counterpart="uimage-rccvz4l9itr")
    story.change("appeared", "uimage-rccvz4l9itr", "Ubuntu 20.04", where="hk-02", run=2)
    story.change("withdrawn", "uimage-yjoh5a", "Anolis 8.6", where="hk-02", run=3)
    story.image("uimage-rccvz4l9itr", "Ubuntu 20.04", where="hk-02")
    message = "service unavailable (RetCode 150: the service is unavailable)"
    story.set(target("kr-seoul-01"), outcome="failed", since=at(3), last_ok_at=at(2), message=message)
    rendered = render(digest_of(story, 1, 2, 3, told=KNOWN, pins=["hk-02 uimage-vareox"], language=language))

    assert (rendered.subject, rendered.text) == EXPECTED[language]


EXPECTED = {
    "en": (
        "Pinned image gone in hk-02, use uimage-rccvz4l9itr; 1 withdrawn, 1 zone unseen [prod]",
        """\
PINNED, ACT NOW
hk-02  Ubuntu 20.04  uimage-vareox is gone. Use uimage-rccvz4l9itr  between 22 Nov 19:00 and 20:00
       uimage-vareox (gone by 20:00) → uimage-rccvz4l9itr

WITHDRAWN, NO SUCCESSOR
hk-02  Anolis 8.6  uimage-yjoh5a  between 22 Nov 20:00 and 21:00

NOT OBSERVED (nothing above or below speaks for these)
kr-seoul-01  since 20:00  RetCode 150 "service unavailable" (the service is unavailable)  3 images unknown

Observed 1 of 2 zones at 21:01. 22 Nov 19:00 to 22 Nov 21:01, Asia/Shanghai (UTC+8).
Report sre of crawler.
""",
    ),
    "zh": (
        "hk-02 在用镜像已下架，请改用 uimage-rccvz4l9itr；另有下架 1 个，1 个可用区未观测到 [prod]",
        """\
【在用镜像，请处理】
hk-02  Ubuntu 20.04  uimage-vareox 已下架，请改用 uimage-rccvz4l9itr  11-22 19:00 至 20:00 之间
       uimage-vareox（20:00 前下架） → uimage-rccvz4l9itr

【已下架，无替代镜像】
hk-02  Anolis 8.6  uimage-yjoh5a  11-22 20:00 至 21:00 之间

【未观测到】（本报告对以下可用区不作任何判断）
kr-seoul-01  自 20:00 起  RetCode 150“service unavailable”（服务暂不可用，正在恢复）  3 个镜像状态未知

21:01 观测到 1/2 个可用区。统计区间 11-22 19:00 至 11-22 21:01，Asia/Shanghai（UTC+8）。
crawler 报告：sre。
""",
    ),
}


def test_many_zones_are_counted() -> None:
    """An image that came to 9 of 14 zones is one row that says so, and one subject."""
    story = Story(zones=14)
    for number in range(1, 10):
        story.change("appeared", f"uimage-{number}", where=f"zone-{number:02}")
    rendered = render(digest_of(story, 2, told=KNOWN, pins=[]))

    assert rendered.subject == "Ubuntu 22.04 appeared in 9 of 14 zones [prod]"
    assert rendered.text.startswith("NEW\n9 of 14 zones  Ubuntu 22.04  between 22 Nov 19:00 and 20:00\n")


@pytest.mark.parametrize(
    ("language", "subject", "observed"),
    [
        ("en", "1 zone closed, 1 new, 1 zone unseen [prod+test]", "Observed 2 of 3 zones"),
        ("zh", "关闭 1 个可用区，新上架 1 个，1 个可用区未观测到 [prod+test]", "2/3 个可用区"),
    ],
)
def test_a_zone_of_two_accounts(language: str, subject: str, observed: str) -> None:
    """Where zones are counted it is one; whose it is stands where the places are told."""
    story = Story(zones=3)
    for account in ("prod", "test"):
        for zone in ("zone-01", "zone-02"):
            story.set(target(zone, account=account))
        story.set(target("zone-03", account=account), outcome="failed", since=at(-9), message="no route")
        story.change("appeared", "uimage-new", where=target("zone-01", account=account))
        story.change("target_retired", None, where=target("zone-02", account=account))
    digest = build_digest(subscribe(language=language), story.facts(), KNOWN)

    assert digest is not None
    rendered = render(digest)
    assert rendered.subject == subject
    for words in ("zone-01  Ubuntu 22.04", "prod/zone-01 uimage-new", "test/zone-01 uimage-new", observed):
        assert words in rendered.text, rendered.text


@pytest.mark.parametrize(
    ("language", "subject", "first_line"),
    [
        ("en", "No news, 3 of 3 zones observed [prod]", "Nothing changed."),
        ("zh", "无变化，观测到 3/3 个可用区 [prod]", "没有变化。"),
    ],
)
def test_no_news(language: str, subject: str, first_line: str) -> None:
    """An empty digest says how well was observed."""
    rendered = render(digest_of(Story(zones=3), 2, told=KNOWN, pins=[], empty=True, language=language))

    assert (rendered.subject, rendered.text.splitlines()[0]) == (subject, first_line)


def test_languages_are_complete() -> None:
    """Both languages have every phrase, with the same places to fill in."""

    def places(value: Any) -> Any:
        if isinstance(value, Counted):
            return places(value.many)
        if isinstance(value, str):
            return {name for _, name, _, _ in string.Formatter().parse(value) if name}
        return {key: places(item) for key, item in value.items()} if hasattr(value, "items") else None

    english, chinese = WORDS["en"], WORDS["zh"]
    aside = {"day", "day_of_year", "explain", "classes", "pin"}
    for phrase in fields(english):
        if phrase.name not in aside:
            assert places(getattr(english, phrase.name)) == places(getattr(chinese, phrase.name)), phrase.name
    assert english.pin.keys() == chinese.pin.keys() == english.pin_subject.keys()


# --- headers ---------------------------------------------------------------------------------------------------------


def test_headers() -> None:
    """A mail says that a machine wrote it, to which list it belongs, and what it answers to."""
    message = parsed(mail(digest_of(eventful(), name="sre"), to=["sre@example.com", "值班 <oncall@example.com>"]))

    assert message["From"] == SENDER
    assert message["To"] == "sre@example.com, 值班 <oncall@example.com>"
    assert message["Date"].datetime == NOW
    assert (message["Auto-Submitted"], message["List-Id"]) == ("auto-generated", "<sre.crawler.example.com>")
    assert message["In-Reply-To"] == message["References"]
    assert message.get_content_type() == "multipart/alternative"


def test_equal_bytes() -> None:
    """Composed again, a digest is the same mail, byte for byte; each news, subscription and kind has its own id."""
    story = eventful()
    assert mail(digest_of(story)) == mail(digest_of(story))

    again = build_digest(subscribe(pins=["zone-01 uimage-new"]), story.facts(2, 3), KNOWN)
    urgent = build_digest(subscribe(pins=["zone-01 uimage-a"]), story.facts(2, 3), KNOWN, urgent_only=True)
    assert urgent is not None
    assert again is not None
    digests = [
        *(digest_of(story), digest_of(story, 2), digest_of(story, 3), digest_of(story, name="other")),
        *(urgent, again),
    ]
    ids = [message_id(digest, sender=SENDER) for digest in digests]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"<[\w.]+@example\.com>", identity) for identity in ids)


def test_threads() -> None:
    """All mails of a subscription share a thread, and no other's does."""
    roots = [
        parsed(mail(digest))["References"]
        for digest in (digest_of(eventful(), 2), digest_of(eventful(), 3), digest_of(eventful(), name="other"))
    ]

    assert (roots[0] == roots[1], roots[0] == roots[2]) == (True, False)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("sre", "sre"),
        ("a-b", "a-b"),
        ("On Call", r"on-call-\w{8}"),
        ("值班", r"report-\w{8}"),
        ("x\u202ey>", r"x-y-\w{8}"),
    ],
)
def test_list_ids(name: str, label: str) -> None:
    """Every name of a subscription makes a List-Id that is one, and names do not meet in it."""
    message = parsed(mail(digest_of(eventful(), name=name)))

    assert re.fullmatch(rf"<{label}\.crawler\.example\.com>", message["List-Id"])


def test_long_ids() -> None:
    """However long the domain and the name are, what programs look for stands in the headers as it is, on one line."""
    sender = f"crawler@{'notifications.' * 12}example.com"
    raw = as_bytes(compose(digest_of(eventful(), name="night shift " * 40), sender=sender, to=[sender], at=NOW))
    headers = dict(line.split(": ", 1) for line in raw.decode().partition("\r\n\r\n")[0].split("\r\n") if ": <" in line)

    assert headers.keys() >= {"Message-ID", "In-Reply-To", "References", "List-Id"}
    assert all(value.endswith(f"{sender.partition('@')[2]}>") and " " not in value for value in headers.values())
    assert len(headers["List-Id"]) <= 320


def test_odd_senders() -> None:
    """A sender without a usable domain still gives identifiers that are some."""
    assert message_id(digest_of(eventful()), sender="crawler@[127.0.0.1]").endswith("@crawler.invalid>")
    assert message_id(digest_of(eventful()), sender="root@localhost").endswith("@localhost>")


# --- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_size(language: str) -> None:
    """However much happens, the HTML stays below what Gmail cuts; the full list is attached then."""
    story = Story(zones=60)
    for number in range(2_000):
        event = "withdrawn" if number % 2 else "appeared"
        story.change(event, f"uimage-{number}", f"Image {number}", where=f"zone-{number % 60 + 1:02}")
    digest = digest_of(story, 2, told=KNOWN, pins=[], language=language)
    message = parsed(mail(digest))
    (attached,) = message.iter_attachments()

    assert len(render(digest).html.encode()) <= LARGEST_HTML
    assert attached.get_filename() == "changes.csv"
    rows = list(csv.DictReader(io.StringIO(attached.get_payload(decode=True).decode("utf-8-sig"))))  # type: ignore[union-attr]
    assert [int(row["id"]) for row in rows] == [row.id for row in story.changes]
    assert "changes.csv" in part(message, "plain")
    assert content("".join(read_html(part(message, "html")).text)) == content(part(message, "plain"))


def test_long_lists_are_zipped() -> None:
    """A list that servers would refuse for its size is attached zipped, the same bytes each time."""
    story = Story(zones=60)
    for number in range(8_000):
        story.change("appeared", f"uimage-{number}", f"Image {number}", where=f"zone-{number % 60 + 1:02}")
    digest = digest_of(story, 2, told=KNOWN, pins=[])
    raw = mail(digest)
    (attached,) = parsed(raw).iter_attachments()
    content_of_zip = attached.get_payload(decode=True)
    assert isinstance(content_of_zip, bytes)
    with zipfile.ZipFile(io.BytesIO(content_of_zip)) as archive:
        assert archive.read("changes.csv") == render(digest).csv

    assert len(raw) < 500_000
    assert raw == mail(digest)


def test_nothing_is_attached_to_a_whole_mail() -> None:
    """A mail that shows everything has no attachment."""
    assert list(parsed(mail(digest_of(eventful()))).iter_attachments()) == []


def test_times_say_their_zone() -> None:
    """Times are in the subscription's zone, which the mail names with its offset; days of other years with the year."""
    story = Story()
    story.change("withdrawn", not_before=at(2) - timedelta(days=400))
    text = render(digest_of(story, 2, told=KNOWN, pins=[])).text

    assert "between 18 Oct 2025 20:00 and 22 Nov 20:00" in text
    assert "Asia/Shanghai (UTC+8)" in text


def test_times_on_both_sides_of_a_change_of_clocks() -> None:
    """Where the clocks were put back in between, both ends of a span bear their offset: it would seem to end first."""
    story = Story()
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    story.change("withdrawn", not_before=change - timedelta(minutes=10), observed_at=change + timedelta(minutes=20))
    berlin = ZoneInfo("Europe/Berlin")
    english, chinese = (
        render(digest_of(story, 2, told=KNOWN, pins=[], timezone=berlin, language=language)).text
        for language in ("en", "zh")
    )

    assert "between 25 Oct 02:50 (UTC+2) and 25 Oct 02:20 (UTC+1)" in english
    assert "10-25 02:50（UTC+2） 至 10-25 02:20（UTC+1） 之间" in chinese


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([[f"GPU-{number:02}" for number in range(12)], [f"GPU-{number:02}" for number in range(13)]], "… → …, GPU-12"),
        (["x" * 90 + " old", "x" * 90 + " new"], "…old → …new"),
        (["CentOS 7.6", "CentOS 7.9"], "CentOS 7.6 → CentOS 7.9"),
    ],
    ids=["list", "text", "short"],
)
def test_long_values_that_differ_at_their_end(values: list[Any], told: str) -> None:
    """A long value that changed is told by what differs, not by the beginning that both share."""
    story = Story()
    story.change("modified", fields={"gpu_types": values})

    assert f"GPU types: {told}" in render(digest_of(story, 2, told=KNOWN, pins=[])).text


def test_many_that_came_together() -> None:
    """The line of a pin has each id whole of several that came in its place together."""
    story = Story()
    story.change("withdrawn", "uimage-a")
    came = [f"uimage-rccvz4l9it{letter}" for letter in "abcdef"]
    for image_id in came:
        story.image(image_id)
    text = render(digest_of(story, 2, told=KNOWN, pins=["zone-01 uimage-a"])).text

    assert " / ".join(came) in " ".join(text.split())
