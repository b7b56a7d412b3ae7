"""Whole runs of two accounts, one of which answers in every odd way: each odd zone is told by itself, no run ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import Engine

from crawler.client.api_options import Timing
from crawler.crawl.run import RunResult, crawl
from crawler.db.engine import read
from crawler.db.locks import take_locks
from crawler.domain.values import MAX_DEPTH
from crawler.errors import ExitCode
from crawler.queries import changes as queries_changes
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from tests.support.api_server import ApiServer, Arrival, answer_json
from tests.support.crawling import account_at, settings_for


def listing(record: bytes) -> bytes:
    """Return an answer that lists one record."""
    return b'{"RetCode":0,"Action":"DescribeUK8SImageResponse","ImageSet":[%s]}' % record


def field(value: bytes, name: bytes = b"Odd") -> bytes:
    """Return an answer whose one image has a field of this value."""
    return listing(b'{"ImageId":"uimage-1","ImageName":"Ubuntu","%s":%s}' % (name, value))


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


HUGE = b"9" * 5_000
WIDE = b"9" * 30
LONG = json.dumps("".join(chr(0x4E00 + 7 * number % 20_000) for number in range(2_800))).encode()

#: In this order after a last one they take the encoder as many levels of sorting.
KEYS = b",".join(b'"k%05d":1' % number for number in range(50_000))
ONE_MORE = b',{"ImageId":"uimage-1","Odd":1}'

#: What a zone answers, and the outcome that this has. A `%d` counts the runs.
ODD: dict[str, tuple[bytes, str]] = {
    "id-of-5000-digits": (listing(b'{"ImageId":%s}' % HUGE), "failed"),
    "number-of-5000-digits": (field(HUGE, b"ZoneId"), "failed"),
    "field-of-5000-digits": (field(HUGE), "failed"),
    "code-of-5000-digits": (b'{"RetCode":%s}' % HUGE, "failed"),
    "code-beyond-63-bits": (b'{"RetCode":9223372036854775808}', "failed"),
    "code-of-300-digits": (b'{"RetCode":1%s}' % (b"0" * 300), "failed"),
    "code-is-half": (b'{"RetCode":0.5,"ImageSet":[]}', "failed"),
    "code-is-infinite": (b'{"RetCode":1e999}', "failed"),
    "code-is-a-list": (b'{"RetCode":[0]}', "failed"),
    "code-is-negative": (b'{"RetCode":-9223372036854775809}', "failed"),
    "nested-600": (field(nested(600)), "failed"),
    "nested-600-unknown-member": (b'{"RetCode":0,"ImageSet":[],"Odd":%s}' % nested(100_000), "failed"),
    "nested-100000": (listing(nested(100_000)), "failed"),
    "nested-as-deep-as-kept": (field(nested(MAX_DEPTH)), "ok"),
    "numbers-beyond-64-bits": (
        listing(b'{"ImageId":"uimage-1","ZoneId":%s,"ImageSize":%s,"Odd":[%s]}' % (WIDE, WIDE, WIDE)), "ok",
    ),
    "numbers-that-are-none": (
        listing(b'{"ImageId":"uimage-1","ZoneId":NaN,"ImageSize":1e999,"Odd":[-Infinity,1e-999,1e300]}'), "ok",
    ),
    "field-extra": (field(b'"v%d"', b"extra"), "ok"),
    "field-EXTRA": (field(b'{"extra":"v%d"}', b"EXTRA"), "ok"),
    "field-image-name": (field(b'"v%d"', b"image_name"), "ok"),
    "field-without-name": (field(b'"v%d"', b""), "ok"),
    "field-nul": (field(b'"v\\u0000%d"', b"\\u0000"), "ok"),
    "half-characters": (field(b'"\\ud800%d"', b"\\udfff"), "ok"),
    "half-characters-in-id": (listing(b'{"ImageId":"\\ud800","ImageName":"\\udc00%d"}'), "ok"),
    "half-characters-raw": (listing(b'{"ImageId":"\xed\xa0\x80"}'), "ok"),
    "half-characters-in-message": (b'{"RetCode":161,"Message":"\\ud800\\u0000\\u202e"}', "failed"),
    "long-texts": (listing(b'{"ImageId":%s,"ImageName":%s,%s:%s}' % (LONG, LONG, LONG, LONG)), "ok"),
    "long-set": (b'{"RetCode":0,"ImageSet":[],%s:[{"ImageId":"uimage-1"}]}' % LONG, "ok"),
    "many-values": (b'{"RetCode":0,"ImageSet":[%s]}' % b",".join([b"0"] * 500_000), "failed"),
    "many-records": (b'{"RetCode":0,"ImageSet":[%s]}' % b",".join(b'"%d"' % n for n in range(10_001)), "failed"),
    "many-fields": (listing(b'{"ImageId":"uimage-1",%s}' % b",".join(b'"f%d":1' % n for n in range(5_000))), "ok"),
    "keys-in-a-bad-order": (listing(b'{"ImageId":"uimage-1","Odd":{"~":1,%s}}' % KEYS), "ok"),
    "one-id-in-many-records": (listing(b'{"ImageId":"uimage-1","~":1,%s}%s' % (KEYS, b',"uimage-1"' * 9_000)), "ok"),
    "one-field-in-many-records": (listing(b'{"ImageId":"uimage-1",%s}%s' % (KEYS, ONE_MORE * 9_000)), "ok"),
    "escapes": (field(b'"%s"' % (b"&#65;" * 200_000)), "failed"),
    "set-twice": (b'{"RetCode":0,"ImageSet":[{"ImageId":"uimage-1"}],"ImageSet":[]}', "failed"),
    "set-twice-alike": (b'{"RetCode":0,"ImageSet":["uimage-1"],"ImageSet":["uimage-1"]}', "ok"),
    "code-twice": (b'{"RetCode":161,"RetCode":0,"ImageSet":[]}', "failed"),
    "id-twice": (listing(b'{"ImageId":"uimage-1","ImageId":"uimage-2"}'), "failed"),
    "headers": (b'{"RetCode":150}', "failed"),
    "good": (field(b'"v%d"'), "ok"),
}  # fmt: skip

HEADERS = {
    "headers": {
        "Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "X-UCLOUD-REQUEST-UUID": "\udcff\udc80" * 3_000,
    },
    "field-extra": {"X-UCLOUD-REQUEST-UUID": ""},
}
REGIONS = [{"Region": "r", "Zone": zone, "RegionId": number} for number, zone in enumerate(ODD)]


class OddCloud:
    """Answers every zone in its odd way."""

    def __init__(self) -> None:
        self.run = 0

    def __call__(self, arrival: Arrival) -> Any:
        if arrival.action == "GetRegion":
            return {"RetCode": 0, "Regions": [*REGIONS, {"Region": "x" * 5_000, "Zone": "y", "RegionId": 10**30}]}
        if arrival.action == "GetProjectList":
            return {"RetCode": 0, "ProjectSet": [{"ProjectId": "org-1", "ProjectName": "\ud800\0" + "n" * 9_000}]}
        body, _ = ODD[arrival.zone]
        return web.Response(body=body.replace(b"%d", b"%d" % self.run), headers=HEADERS.get(arrival.zone))


def good_cloud(arrival: Arrival) -> Mapping[str, Any]:
    """Answer as a cloud does."""
    answers: dict[str, Any] = {
        "GetRegion": {"Regions": [{"Region": "hk", "Zone": "hk-02", "RegionId": 3002}]},
        "GetProjectList": {"ProjectSet": [{"ProjectId": "org-1", "ProjectName": "Default"}]},
        "DescribeUK8SImage": {"ImageSet": [{"ImageId": "uimage-1", "ImageName": "Ubuntu"}]},
    }
    return {"RetCode": 0, **answers[arrival.action]}


async def two_accounts(engine: Engine, url: str, odd: Any, runs: int) -> list[RunResult]:
    """Run so often over an account whose cloud is *odd*, and one whose cloud is not."""
    results = []
    async with ApiServer(odd) as odd_server, ApiServer(good_cloud) as server:
        settings = settings_for(url, account_at(odd_server.url, "odd"), account_at(server.url, "good"))
        for number in range(runs):
            if isinstance(odd, OddCloud):
                odd.run = number
            with take_locks(url, ["odd", "good"], clock=lambda: datetime.now(UTC)) as fence:
                results.append(await crawl(settings, engine, fence, timing=Timing(clock=lambda: datetime.now(UTC))))
    return results


def test_every_odd_answer_is_its_own_zone_s(engine: Engine, database_url: str) -> None:
    """In three runs each odd zone ends as it should, the good zones and the other account too; all can be read."""
    results = asyncio.run(two_accounts(engine, database_url, OddCloud(), 3))

    now = datetime.now(UTC)
    expected = {("odd", zone): outcome for zone, (_, outcome) in ODD.items()} | {("good", "hk-02"): "ok"}
    for result in results:
        assert result.exit_code == ExitCode.INCOMPLETE
        assert result.summary.targets["ok"] == list(expected.values()).count("ok")
    with read(engine) as conn:
        status = list(queries_status.status(conn, now=now))
        images = [
            row.as_dict() for row in queries_images.images(conn, now, now=now, stale_after=settings_for("").stale_after)
        ]
        changes = [row.as_dict() for row in queries_changes.changes(conn)]
    assert {(row.target.account, row.target.zone): row.outcome for row in status} == expected
    assert all(len(row.message) <= 600 and row.message.isprintable() for row in status)
    json.dumps([images, changes])
    assert {image["zone"] for image in images if image["account"] == "odd"} == {
        zone for zone, (_, outcome) in ODD.items() if outcome == "ok"
    }
    extra = [change["fields"] for change in changes if change["zone"] == "field-extra"]
    assert extra == [{"extra.extra": ["v0", "v1"]}, {"extra.extra": ["v1", "v2"]}]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"RetCode":0,"Regions":[%s],"ProjectSet":[%s]}' % (HUGE, HUGE),
        b'{"RetCode":0,"Regions":%s,"ProjectSet":%s}' % (nested(100_000), nested(100_000)),
        b'{"RetCode":0,"Regions":[%s]}' % b",".join([b"0"] * 500_000),
        b'{"RetCode":%s}' % HUGE,
        b'{"RetCode":0,"Regions":[],"Regions":[1],"ProjectSet":[],"ProjectSet":[{"ProjectId":"org-9"}]}',
        b'{"RetCode":0,"Regions":[{"Region":"a","Zone":"b","Zone":"c"}],"ProjectSet":[{"ProjectId":"a","ProjectId":"b"}]}',
        b"{",
    ],
    ids=["digits", "nested", "many", "code", "lists-twice", "names-twice", "cut"],
)
def test_odd_discovery(engine: Engine, database_url: str, answer: bytes) -> None:
    """An account whose discovery cannot be read asks what it knew, says so, and the others are observed as ever."""
    catalog: dict[str, dict[str, Any]] = {
        "GetRegion": {"Regions": REGIONS[-1:]},
        "GetProjectList": {"ProjectSet": [{"ProjectId": "org-1"}]},
    }
    is_odd = False

    def respond(arrival: Arrival) -> Any:
        if arrival.action not in catalog:
            return web.Response(body=field(b"1"))
        return web.Response(body=answer) if is_odd else answer_json({"RetCode": 0, **catalog[arrival.action]})

    (first,) = asyncio.run(two_accounts(engine, database_url, respond, 1))
    is_odd = True
    (second,) = asyncio.run(two_accounts(engine, database_url, respond, 1))

    assert first.exit_code == ExitCode.DONE
    assert second.summary.targets["ok"] == 2
    assert "odd: asking what the last good catalog lists" in second.summary.notices


def test_a_host_that_cannot_be(engine: Engine, database_url: str) -> None:
    """A host that no resolver can look up is a defect of its account, should one come past the configuration."""

    async def both() -> RunResult:
        async with ApiServer(good_cloud) as server:
            accounts = [account_at("http://api..cn/", "odd"), account_at(server.url, "good")]
            settings = settings_for(database_url, *accounts)
            with take_locks(database_url, ["odd", "good"], clock=lambda: datetime.now(UTC)) as fence:
                return await crawl(settings, engine, fence, timing=Timing(clock=lambda: datetime.now(UTC)))

    result = asyncio.run(both())
    assert result.exit_code == ExitCode.INCOMPLETE
    assert result.summary.targets["ok"] == 1
    assert any("odd: GetRegion: the endpoint is no web address" in notice for notice in result.summary.notices)


def test_an_answer_long_after_the_deadline_is_not_read(engine: Engine, database_url: str) -> None:
    """What waited until long after the deadline is skipped: reading it would delay the end further."""
    late_seconds = 0.0

    def respond(arrival: Arrival) -> Mapping[str, Any]:
        nonlocal late_seconds
        late_seconds = 10_000.0 if arrival.action == "DescribeUK8SImage" else 0.0
        return good_cloud(arrival)

    async def once() -> RunResult:
        async with ApiServer(respond) as server:
            settings = settings_for(database_url, account_at(server.url))
            timing = Timing(clock=lambda: datetime.now(UTC), monotonic=lambda: time.monotonic() + late_seconds)
            with take_locks(database_url, ["prod"], clock=timing.clock) as fence:
                return await crawl(settings, engine, fence, timing=timing)

    result = asyncio.run(once())
    (failure,) = result.summary.failures
    assert (failure.outcome, failure.failure_class) == ("skipped", "deadline")
    assert failure.message == "it answered, and the run's deadline came before the answer could be read"
