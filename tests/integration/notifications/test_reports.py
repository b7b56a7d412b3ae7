"""Reports from the run to the mailbox: each change once, quietly, and in spite of a mail server that fails."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crawler.client.api_options import Timing
from crawler.config.loader import load
from crawler.crawl.run import crawl, report
from crawler.db import outbox, targets
from crawler.db.engine import begin, opened
from crawler.db.locks import take_locks
from crawler.emulator import EmulatorServer, run_in_thread
from crawler.notifications.delivery_store import next_try
from tests.support.driving import Driver, Ran, account
from tests.support.hooks import hook_server
from tests.support.smtp import HANG_UP, SILENCE, Mail, MailServer, mail_server
from tests.support.worlds import make_timeline

TABLES = ("subscriptions", "deliveries", "digests", "recipients")
#: Each step brings one more image into hk-01.
STEPS = 8
SRE, OPS = "sre@example.com", "ops@example.com"


@dataclass
class Office:
    """A crawler, its cloud, and a mail server."""

    driver: Driver
    cloud: EmulatorServer
    server: MailServer
    reports: list[dict[str, Any]] = field(default_factory=list)

    def configure(self, *reports: dict[str, Any], **more: Any) -> Office:
        """Write the configuration with these *reports*."""
        smtp = {"host": "127.0.0.1", "port": self.server.port, "security": "none", "from": "crawler@example.com"}
        self.driver.configure(
            account(self.cloud.url), smtp=smtp | {"timeout_seconds": 5}, reports=list(reports), **more
        )
        return self

    def run(self, step: int, *words: object, code: int = 0) -> Ran:
        """Run once at this step of the cloud's story, and move the clock by an hour."""
        self.cloud.step = step
        return self.driver.run(*words, code=code)

    def told(self, address: str = SRE) -> Counter[str]:
        """Count how often each new image was told to *address*."""
        return told(self.server.for_address(address))

    def counts(self) -> tuple[int, ...]:
        """Count the rows of the outbox."""
        rows = self.driver.row_counts()
        return tuple(rows[table] for table in TABLES)


def told(mails: list[Mail]) -> Counter[str]:
    """Count how often each of the story's new images stands in *mails*, by mail."""
    return Counter(f"uimage-{n}" for mail in mails for n in range(2, STEPS + 1) if f"uimage-{n}" in mail.text)


def sre(**more: Any) -> dict[str, Any]:
    """Return a report to one person."""
    return {"name": "sre", "to": [SRE], **more}


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Iterator[Office]:
    timeline = make_timeline(
        zones={"hk-01": {"uimage-a": "CentOS 7.6", "uimage-b": "Anolis 8.6"}, "hk-02": {"uimage-c": "CentOS 7.6"}},
        steps=[{"add": {"hk-01": {f"uimage-{n}": f"Image {n}"}}} for n in range(2, STEPS + 1)],
    )
    with run_in_thread(timeline) as cloud, mail_server() as server:
        yield Office(Driver(tmp_path, database_url), cloud, server).configure(sre())


def test_each_change_once_and_nothing_without_news(office: Office) -> None:
    """The first digest introduces the report, each change is told once, and a quiet run sends and writes nothing."""
    first = office.run(1)
    quiet = office.run(1)
    rows = office.counts()
    news = office.run(2)
    again = office.run(2)

    assert [ran.summary["reports"] for ran in (first, quiet, news, again)] == [
        {"queued": 1, "sent": 1, "failed": 0},
        {"queued": 0, "sent": 0, "failed": 0},
        {"queued": 1, "sent": 1, "failed": 0},
        {"queued": 0, "sent": 0, "failed": 0},
    ]
    assert rows == (1, 0, 1, 1)
    assert office.counts() == (1, 1, 2, 2)
    assert office.told() == {"uimage-2": 1}
    assert len({mail.message_id for mail in office.server.mails}) == 2


def test_empty(office: Office) -> None:
    """With `empty = true` there is a mail without news, too, and it says how well was observed."""
    office.configure(sre(empty=True))
    office.run(1)
    office.run(1)

    assert len(office.server.mails) == 2
    assert "Observed 2 of 2 zones" in office.server.mails[1].text


def test_no_report(office: Office) -> None:
    """`--no-report` queues and sends nothing; what waited is one digest later."""
    office.run(1)
    kept = [office.run(step, "--no-report").summary["reports"] for step in (2, 3)]
    office.run(3)

    assert kept == [{"queued": 1, "sent": 0, "failed": 0}] * 2
    assert len(office.server.mails) == 2
    assert office.told() == {"uimage-2": 1, "uimage-3": 1}


def test_a_dead_server(office: Office) -> None:
    """Tries go on with the next run and then after pauses; untried ranges merge; exit 6 comes after `alert_after`."""
    office.configure(sre(alert_after="2h"))
    office.run(1)
    office.server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
    failed = office.run(2)
    second = office.run(3)
    third = office.run(4)
    late = office.run(5, code=6)
    tries = office.server.connections
    office.server.behave = lambda stage, value: None
    back = office.run(5)

    assert failed.summary["reports"] == {"queued": 1, "sent": 0, "failed": 1}
    assert "report sre: not delivered to sre@example.com: " in failed.result.stderr
    assert "421 not today" in failed.result.stderr
    assert second.summary["reports"]["failed"] == third.summary["reports"]["failed"] == 1
    assert late.summary["status"] == "complete"
    assert tries == 5
    assert back.summary["reports"] == {"queued": 1, "sent": 2, "failed": 0}
    assert len(office.server.mails) == 3
    assert office.told() == {f"uimage-{n}": 1 for n in range(2, 6)}
    assert told(office.server.mails[2:]) == {f"uimage-{n}": 1 for n in range(3, 6)}


def test_metrics_of_what_waits_and_of_what_failed(office: Office) -> None:
    """What waits for its time of day is in the outbox, and undelivered is what was sent in vain and has not arrived."""
    office.configure(sre(when="daily 09:00", timezone="UTC"), metrics={"textfile": "crawler.prom"})

    def metrics() -> tuple[str, str]:
        lines = (office.driver.folder / "crawler.prom").read_text().splitlines()
        samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return samples["crawler_outbox_depth"], samples["crawler_undelivered_recipients"]

    office.run(1)
    office.run(2)
    waits = metrics()
    office.server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
    office.driver.now += timedelta(days=1)
    office.run(2)  # its news has waited for a day, but nobody has tried to send it for an hour
    failed = metrics()
    office.driver.now += timedelta(hours=2)
    office.run(2, code=6)
    office.server.behave = lambda stage, value: None
    office.run(2)

    assert (waits, failed, metrics()) == (("1", "0"), ("1", "1"), ("0", "0"))


def test_a_report_that_cannot_be_made(office: Office) -> None:
    """It counts as undelivered too, once its news has waited for `alert_after`, and is told when it can be made."""
    office.configure(sre(alert_after="30m"))
    office.run(1)
    with opened(office.driver.database) as engine, begin(engine) as conn:
        outbox.remember(conn, 1, "no JSON")

    first = office.run(2)
    second = office.run(2, code=6)

    assert first.summary["reports"]["failed"] == second.summary["reports"]["failed"] == 1
    assert "report sre: could not be made" in second.result.stderr
    with opened(office.driver.database) as engine, begin(engine) as conn:
        outbox.remember(conn, 1, "{}")
    office.run(2)
    assert office.told() == {"uimage-2": 1}


def test_a_retry_is_the_same_mail(office: Office) -> None:
    """What was accepted without an answer is sent again byte for byte, with the same Message-ID."""
    office.run(1)
    office.server.behave = lambda stage, value: f"250 {HANG_UP}" if stage == "data" else None
    office.run(2)
    office.server.behave = lambda stage, value: None
    office.run(2)

    first, second = office.server.mails[1:]
    assert first == second
    assert office.told() == {"uimage-2": 2}


def test_pauses_between_tries(office: Office) -> None:
    """The second try comes with the next run, whenever that is; from the third on there are pauses."""
    office.server.behave = lambda stage, value: "451 busy" if stage == "mail" else None
    connections = []
    for minutes in (1, 1, 1, 1, 5, 1):
        office.run(1)
        connections.append(office.server.connections)
        office.driver.now += timedelta(minutes=minutes) - timedelta(hours=1)

    assert connections == [1, 2, 2, 2, 2, 3]


def test_one_recipient_blocks_nobody(office: Office) -> None:
    """A recipient refused for good is said aloud, gets everything in order once that works, and blocks no other."""
    office.configure(sre(to=[SRE, OPS]))
    office.run(1)
    office.server.behave = lambda stage, value: "550 no such user" if (stage, value) == ("rcpt", OPS) else None
    refused = office.run(2)
    for step in (3, 4):
        office.run(step, code=0 if step == 3 else 6)
    listed = json.loads(office.driver.call("report", "list", "-o", "json").stdout)
    assert (office.told(), office.told(OPS)) == ({f"uimage-{n}": 1 for n in (2, 3, 4)}, {})
    office.server.behave = lambda stage, value: None
    office.driver.now += timedelta(hours=5)
    office.run(4)

    assert "report sre: refused to ops@example.com: 550 no such user" in refused.result.stderr
    assert [row["state"] for row in listed] == ["refused", "waiting", "waiting"]
    assert [one["state"] for one in listed[0]["recipients"]] == ["waiting", "sent"]
    mails = office.server.for_address(OPS)
    assert [[*told([mail])] for mail in mails] == [[], ["uimage-2"], ["uimage-3"], ["uimage-4"]]
    assert office.told() == {f"uimage-{n}": 1 for n in (2, 3, 4)}


def test_a_refused_message_blocks_no_other(office: Office) -> None:
    """A mail that the server does not want is said aloud and tried again in peace; newer ones pass it."""
    office.run(1)
    office.server.behave = lambda stage, value: "554 spam" if stage == "data" and "uimage-2" in value.text else None
    refused = office.run(2)
    office.run(3)
    office.run(3, code=6)
    assert office.told() == {"uimage-3": 1}
    office.driver.call("report", "retry", code=6)
    office.server.behave = lambda stage, value: None
    office.driver.call("report", "retry")

    assert "refused to sre@example.com: " in refused.result.stderr
    assert office.told() == {"uimage-2": 1, "uimage-3": 1}


def test_a_dead_report_blocks_no_other(office: Office) -> None:
    """Reports are told by themselves: what keeps one from its readers keeps no other."""
    office.configure(sre(), {"name": "ops", "to": [OPS]})
    office.server.behave = lambda stage, value: "452 full" if (stage, value) == ("rcpt", SRE) else None
    ran = office.run(1)

    assert ran.summary["reports"] == {"queued": 2, "sent": 1, "failed": 1}
    assert len(office.server.for_address(OPS)) == 1


def test_recipients_that_left(office: Office) -> None:
    """A recipient who is not configured any more is given up; a new one gets what is new."""
    office.configure(sre(to=[SRE, OPS]))
    office.server.behave = lambda stage, value: "452 full" if (stage, value) == ("rcpt", OPS) else None
    office.run(1)
    office.configure(sre(to=[SRE, "new@example.com"]))
    office.run(2)

    assert not office.server.for_address(OPS)
    assert [*told(office.server.for_address("new@example.com"))] == ["uimage-2"]
    assert office.driver.rows("report", "list") == []


def test_recipients_in_the_place_of_others(office: Office) -> None:
    """What nobody has got, since nobody was there under the address, goes to who is configured instead."""
    office.run(1)
    wrong = ("nobody@example.com", "typo@example.com")
    office.server.behave = lambda stage, value: "550 no such user" if value in wrong else None
    for step, address in ((2, wrong[0]), (3, wrong[1]), (3, wrong[0])):
        office.configure(sre(to=[address], alert_after="1d"))
        office.run(step)
    office.configure(sre(to=[SRE, OPS]))
    office.run(3)

    assert office.told() == office.told(OPS) == {"uimage-2": 1, "uimage-3": 1}
    assert office.driver.rows("report", "list") == []


def test_another_channel(office: Office) -> None:
    """What nobody has got by one channel is told by another that takes its place, with what lasts, and once."""
    office.configure(sre(pins=["hk-01 uimage-none"]))
    office.run(1)
    office.server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
    office.configure(sre(pins=["hk-01 uimage-none", "hk-02 uimage-none"]))
    office.run(2)
    office.run(3)
    with hook_server() as server:
        hook = {"name": "sre", "channel": "webhook", "url": server.url, "secret": "correct-horse"}
        office.configure({**hook, "pins": ["hk-01 uimage-none", "hk-02 uimage-none"]})
        office.run(3)
        office.run(4)
    documents = [call.document for call in server.calls]

    assert [[row["image_id"] for row in one["changes"]] for one in documents] == [
        ["uimage-2", "uimage-3"],
        ["uimage-4"],
    ]
    assert [[pin["pin"]["zone"] for pin in one["pins"]] for one in documents] == [["hk-01", "hk-02"], []]
    assert office.driver.rows("report", "list") == []


def test_another_channel_after_pruning(office: Office) -> None:
    """What nobody has got by one channel is not forgotten while it waits, and so told by another, however late."""
    office.run(1)
    office.server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
    office.run(2)
    office.driver.now += timedelta(days=9)
    office.run(3, code=6)
    office.driver.call("db", "prune", "--keep", "2d")
    with hook_server() as server:
        office.configure({"name": "sre", "channel": "webhook", "url": server.url, "secret": "correct-horse"})
        office.run(3)
        office.run(4)
    documents = [call.document for call in server.calls]

    assert [[row["image_id"] for row in one["changes"]] for one in documents] == [
        ["uimage-2", "uimage-3"],
        ["uimage-4"],
    ]


def test_another_channel_of_a_daily_report(office: Office) -> None:
    """A digest that had its time does not wait for the next one, and an urgent one goes at once again."""
    office.configure(sre(when="daily 09:00", pins=["hk-01 uimage-none"]))
    office.server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
    office.run(1)
    office.run(2)
    with hook_server() as server:
        hook = {"name": "sre", "channel": "webhook", "url": server.url, "secret": "correct-horse"}
        office.configure({**hook, "when": "daily 09:00", "pins": ["hk-01 uimage-none"]})
        office.run(3)
    documents = [call.document for call in server.calls]

    assert [one["kind"] for one in documents] == ["digest"]
    assert [row["image_id"] for row in documents[0]["changes"]] == ["uimage-2", "uimage-3"]
    assert [pin["state"] for pin in documents[0]["pins"]] == ["never_seen"]


def test_another_channel_where_somebody_has_it(office: Office) -> None:
    """Nothing is told again that anybody has got."""
    office.configure(sre(to=[SRE, OPS]))
    office.server.behave = lambda stage, value: "452 full" if (stage, value) == ("rcpt", OPS) else None
    office.run(1)
    office.run(2)
    with hook_server() as server:
        office.configure({"name": "sre", "channel": "webhook", "url": server.url, "secret": "correct-horse"})
        office.run(2)
        office.run(3)

    assert [[row["image_id"] for row in call.document["changes"]] for call in server.calls] == [["uimage-3"]]
    assert office.driver.rows("report", "list") == []


def test_daily(office: Office) -> None:
    """A daily digest is due at the first run after its time, in its zone, and tells what gathered."""
    office.configure(sre(when="daily 09:00", timezone="Asia/Shanghai"))
    zone = ZoneInfo("Asia/Shanghai")
    office.driver.now = datetime(2026, 11, 23, 8, 30, tzinfo=zone)
    for step in (1, 2, 3, 4):  # 08:30 introduces; 09:30 is due; 10:30 and 11:30 are not
        office.run(step)
    assert [[*told([mail])] for mail in office.server.mails] == [[], ["uimage-2"]]
    office.driver.now = datetime(2026, 11, 24, 9, 1, tzinfo=zone)
    office.run(4)
    office.run(5)

    assert [[*told([mail])] for mail in office.server.mails[2:]] == [["uimage-3", "uimage-4"]]


def test_pins_are_told_at_once_and_once(office: Office) -> None:
    """A pinned image in trouble is told at once whatever the schedule says, and not again while it lasts."""
    office.configure(sre(when="weekly mon 09:00", pins=["hk-01 uimage-2"]))
    for step in (2, 1, 1, 2, 2):
        office.run(step)

    introduction, gone, back = (str(mail.message["Subject"]) for mail in office.server.mails)
    assert "hk-01" in gone
    assert "uimage-2" in office.server.mails[1].text
    assert [row["kind"] for row in office.driver.rows("report", "list", "--all")] == [
        "digest", "urgent", "urgent", "digest"
    ], (introduction, gone, back)  # fmt: skip
    assert [row["state"] for row in office.driver.rows("report", "list")] == ["queued"]


def test_files_of_pins_that_are_away_for_a_while(office: Office, tmp_path: Path) -> None:
    """What was told of a pin is not told again where its file could not be read meanwhile, and its end is told."""
    pinned, away = tmp_path / "main.tf", tmp_path / "away"
    pinned.write_text('# ucloud-image: hk-01/Image-2\nnode_image_id = "uimage-2"\n')
    office.configure(sre(pins_from=[str(pinned)]))
    office.run(2)
    office.run(1)
    assert "Pinned image gone in hk-01" in office.server.mails[1].message["Subject"]
    office.configure(sre(pins_from=[str(pinned)], empty=True))
    pinned.rename(away)
    office.run(1)
    away.rename(pinned)
    office.run(1)
    office.run(2)
    subjects = [str(mail.message["Subject"]) for mail in office.server.mails]

    assert sum("Pinned image gone" in subject for subject in subjects) == 1, subjects
    assert "all right again in hk-01" in subjects[-1], subjects


def test_the_last_run_is_told_once(office: Office) -> None:
    """After a mail about the last run there is nothing to send by hand or to preview, also where pins are watched."""
    office.configure(sre(pins=["hk-01 uimage-a"]))
    office.run(1)
    office.run(2)
    assert "There is nothing to send." in office.driver.call("report", "send").stderr
    assert "There is nothing to tell now" in office.driver.call("report", "preview").stderr
    assert office.told() == {"uimage-2": 1}


def test_an_account_that_fails_beside_another(office: Office) -> None:
    """A zone that fails is told by the next digest, also where the run it follows is one of another account."""
    office.configure(sre(when="daily 09:00", timezone="UTC"))
    more = {name: office.driver.document[name] for name in ("smtp", "reports")}
    a = account(office.cloud.url, "a", zones=["hk-01"])
    office.driver.configure(a, account(office.cloud.url, "b", zones=["hk-02"]), **more)
    office.driver.now = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    office.run(1)
    office.driver.configure(a, account("http://127.0.0.1:1/", "b", zones=["hk-02"]), **more)
    for _ in range(2):
        office.run(1, "--account", "b", code=4)
    office.driver.now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    office.run(1, "--account", "a")

    assert len(office.server.mails) == 2
    assert "1 zone unseen" in office.server.mails[1].message["Subject"]


def test_news_of_a_range_that_was_told(office: Office) -> None:
    """Another digest about the same runs has a Message-ID of its own, or its receivers take it for one they have."""
    office.run(1)
    office.run(2)
    office.configure(sre(pins=["hk-01 uimage-never"]))
    office.driver.call("report", "send")

    assert "uimage-never" in office.server.mails[-1].text
    assert len({mail.message_id for mail in office.server.mails}) == len(office.server.mails) == 3


def test_what_was_told_after_every_run(office: Office) -> None:
    """A report that goes by the clock again tells nothing of what it told meanwhile, also when that was pruned."""
    daily = sre(when="daily 09:00", timezone="UTC")
    office.configure(daily).driver.now = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    office.run(1)
    office.configure(sre())
    office.run(2)
    office.run(3, "--no-report")
    office.driver.call("report", "skip", "sre")
    office.driver.now += timedelta(days=10)
    office.configure(daily).driver.call("db", "prune", "--keep", "2d")
    office.run(4)

    assert office.told() == {"uimage-2": 1, "uimage-4": 1}


def test_an_account_that_is_renamed(office: Office) -> None:
    """What was told of an account's pins and zones stands under its new name: nothing is told again, and its end is."""
    office.configure(sre(pins=["hk-01 uimage-2"]))
    more = {name: office.driver.document[name] for name in ("smtp", "reports")}
    office.run(2)
    office.run(1)
    office.driver.configure(account("http://127.0.0.1:1/"), **more)
    for _ in range(2):
        office.run(1, code=4)
    told = len(office.server.mails)
    office.driver.call("account", "rename", "prod", "main")
    office.driver.configure(account("http://127.0.0.1:1/", "main"), **more)
    office.run(1, code=4)
    assert len(office.server.mails) == told == 3

    office.driver.configure(account(office.cloud.url, "main"), **more)
    office.run(2)
    subject = office.server.mails[told].message["Subject"]
    assert "Pinned image all right again in hk-01" in subject
    assert "2 zones seen again" in subject


def test_the_last_run_before_the_window(office: Office) -> None:
    """A mail by hand tells nothing again of a last run that lies before the window that is kept."""
    office.configure(sre(pins=["hk-01 uimage-a"]))
    office.run(1)
    office.run(2)
    office.driver.now += timedelta(days=10)
    office.driver.call("db", "prune", "--keep", "2d")
    office.driver.call("report", "send")

    assert office.told() == {"uimage-2": 1}


def test_what_waits_outlives_prune(office: Office) -> None:
    """What a report has not told yet is told, also where it happened before the window that is kept."""
    office.configure(sre(when="weekly mon 09:00", timezone="UTC"))
    office.driver.now = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    office.run(1)
    office.run(2)
    office.run(1)
    office.driver.now = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
    office.run(1)
    office.driver.call("db", "prune", "--keep", "2d")
    office.driver.now = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    office.run(1)
    assert "came and went" in office.server.mails[1].text

    office.driver.now += timedelta(days=4)
    office.run(1)
    assert [row["event"] for row in office.driver.rows("changes")] == ["appeared", "withdrawn"]
    office.driver.call("db", "prune", "--keep", "2d")
    assert [row["event"] for row in office.driver.rows("changes")] == ["withdrawn"]


def test_what_people_see(office: Office, tmp_path: Path) -> None:
    """`preview` touches nothing, `send --since` tells again under another Message-ID, `skip` gives up."""
    office.run(1)
    office.run(2, "--no-report")
    rows = office.counts()
    page, mail = tmp_path / "digest.html", tmp_path / "digest.eml"
    text = office.driver.call("report", "preview").stdout
    office.driver.call("report", "preview", "--html", page, "--eml", mail)
    os.mkfifo(tmp_path / "pipe")
    nobody = office.driver.call("report", "preview", "--html", tmp_path / "pipe", code=2).stderr
    assert nobody == f"Error: {tmp_path / 'pipe'} cannot be written: No such device or address\n"

    assert "uimage-2" in text
    assert text.startswith(f"To: {SRE}\nSubject: ")
    assert "uimage-2" in page.read_text()
    assert mail.read_bytes().startswith(b"Subject: ")
    assert office.counts() == rows
    assert [row["state"] for row in office.driver.rows("report", "list")] == ["queued"]
    office.driver.call("report", "send")
    office.driver.call("report", "send", "--since", "7d")
    assert office.told() == {"uimage-2": 2}
    assert len({mail.message_id for mail in office.server.mails}) == 3
    assert [row["kind"] for row in office.driver.rows("report", "list", "--all")] == ["digest", "digest", "again"]

    office.server.behave = lambda stage, value: "451 busy" if stage == "mail" else None
    office.run(3)
    office.driver.call("report", "skip", "99", code=2)
    office.driver.call("report", "skip", "4")
    assert office.driver.rows("report", "list") == []
    office.run(4, "--no-report")
    office.driver.call("report", "skip", "sre")
    office.server.behave = lambda stage, value: None
    office.run(4)
    assert office.told() == {"uimage-2": 2}


@pytest.mark.parametrize("command", ["preview", "send", "list", "retry", "skip"])
def test_a_report_that_there_is_not(office: Office, command: str) -> None:
    """A mistyped name is refused, and not taken for that of a report of which nothing waits."""
    office.run(1)

    assert "there is no report 'sr'" in office.driver.call("report", command, "sr", code=2).stderr.casefold()
    office.driver.call("report", command, "sre")


def test_a_report_that_no_run_knows_yet(office: Office) -> None:
    """What was recorded before a report was configured is sent by `send --since`; its introduction is still to come."""
    office.configure()
    office.run(1)
    office.run(2)
    office.configure(sre())
    office.driver.call("report", "send", "--since", "7d")
    assert office.told() == {"uimage-2": 1}
    assert "First report" not in office.server.mails[-1].message["Subject"]
    office.run(2)
    assert "First report" in office.server.mails[-1].message["Subject"]


def test_both_parts_say_the_same(office: Office) -> None:
    """The mail is read by the standard library, and its HTML names every image, zone and time that its text names."""
    office.run(1)
    office.run(2)
    message = office.server.mails[1].message
    html = message.get_body(("html",))

    assert not message.defects
    assert html is not None
    page: str = html.get_content()
    assert [word for word in ("hk-01", "uimage-2", "Image 2", "19:00", "20:00", "2 of 2") if word not in page] == []


def test_another_sender_is_let_finish(office: Office) -> None:
    """On PostgreSQL a subscription that a living worker is sending for is left to it, until it has surely ended."""
    office.run(1)
    until = office.driver.now + timedelta(minutes=90)
    with another_sender(office, until):
        first, second, third = (office.run(step).summary["reports"] for step in (2, 3, 3))

    if office.driver.database.startswith("sqlite"):  # the lock of the whole database is ours, so nobody can be sending
        assert [first["sent"], second["sent"], third["sent"]] == [1, 1, 0]
    else:
        assert [first["sent"], second["sent"], third["sent"]] == [0, 0, 1]
    assert office.told() == {"uimage-2": 1, "uimage-3": 1}


def test_dead_sender_is_waited_for_by_nobody(office: Office) -> None:
    """A subscription whose sender died is sent for at once: its locks are free."""
    office.run(1)
    with another_sender(office, office.driver.now + timedelta(days=1)):
        pass
    second = office.run(2).summary["reports"]

    assert second["sent"] == 1


@contextmanager
def another_sender(office: Office, until: datetime) -> Iterator[None]:
    """Claim the subscription for a worker of another account, which holds its lock where each account has one."""
    url = office.driver.database
    with ExitStack() as stack:
        if not url.startswith("sqlite"):
            stack.enter_context(take_locks(url, ["elsewhere"], clock=lambda: office.driver.now))
        with opened(url) as engine, begin(engine) as conn:
            state = outbox.subscribed(conn, "sre")
            assert state is not None
            sender = targets.find_accounts(conn, ["elsewhere"]).get("elsewhere", 999)
            assert outbox.claim(conn, state, sender=[sender], until=until)
        yield


def test_sending_has_a_deadline(office: Office) -> None:
    """A server that is silent costs a run no more than `report_deadline_seconds`; the mail waits for the next run."""
    office.configure(sre(), report_deadline_seconds=3)  # time enough to compose, on a slow machine too
    office.server.behave = lambda stage, value: SILENCE
    slow = office.run(1)
    office.server.behave = lambda stage, value: None
    office.configure(sre())
    office.run(1)

    assert slow.summary["reports"] == {"queued": 1, "sent": 0, "failed": 1}
    assert "the time for sending reports was over" in slow.result.stderr
    assert len(office.server.mails) == 1


@pytest.mark.asyncio
async def test_stopping(tmp_path: Path, sqlite_url: str) -> None:
    """Once it is to stop, a run sends nothing more; all of it waits."""
    driver = Driver(tmp_path, sqlite_url)
    stop = asyncio.Event()
    stop.set()
    with run_in_thread(make_timeline(zones={"hk-01": {"uimage-a": "CentOS 7.6"}})) as cloud, mail_server() as server:
        office = Office(driver, cloud, server).configure(sre())
        settings = load(driver.config, None, {"HOME": "/dev/null"})
        timing = Timing(clock=lambda: driver.now)
        with opened(sqlite_url) as engine, take_locks(sqlite_url, ["prod"], clock=timing.clock) as fence:
            result = await crawl(settings, engine, fence, timing=timing)
            stopped = await report(settings, engine, fence, result, timing=timing, stop=stop)
            sent = await report(settings, engine, fence, result, timing=timing)

    assert office.server.connections == 1
    assert (stopped.summary.reports, sent.summary.reports) == (
        {"queued": 1, "sent": 0, "failed": 0},
        {"queued": 1, "sent": 1, "failed": 0},
    )


def test_tries() -> None:
    """The second try comes with the next run, then pauses double from five minutes to four hours."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    minutes = [(next_try(attempts, now) - now) / timedelta(minutes=1) for attempts in (1, 2, 3, 4, 7, 8, 1000)]

    assert minutes == [0, 5, 10, 20, 160, 240, 240]
