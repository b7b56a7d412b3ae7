"""An empty answer says which kind of nothing it is: nobody looked, nothing was there, or too little is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from crawler.db.engine import begin, opened
from crawler.db.schema import Absence
from crawler.domain.models import END_OF_TIME
from tests.support.command import call
from tests.support.diary import START, Diary, Refusal, target

LISTING, EMPTY, REFUSED, CLOSED = target("hk-02"), target("hk-03"), target("sg-01"), target("sg-02")
NOW = START + timedelta(hours=1)


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    with opened(sqlite_url) as opened_engine:
        yield opened_engine


@pytest.fixture
def url(sqlite_url: str, engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a history of a zone with an image, one without, one that was never answered for, one that is closed."""
    monkeypatch.chdir(tmp_path)
    diary = Diary(engine)
    denied = Refusal("denied", 299, "no permission", "denied")
    diary.run({LISTING: {"uimage-a": "Ubuntu 20.04"}, EMPTY: {}, REFUSED: denied, CLOSED: {"uimage-b": "CentOS 7.6"}})
    retired = {"target_id": diary.ids([CLOSED])[CLOSED], "reason": "retired", "valid_to": END_OF_TIME}
    with begin(engine) as conn:
        conn.execute(insert(Absence).values(**retired, valid_from=diary.now))
    return sqlite_url


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("images", "--zone", "hk-03"), 0,
            "No images at --zone hk-03: the last good observation, at 2026-06-01 08:15:0",
        ),
        (
            ("inventory", "--zone", "hk-03"), 0,
            "No items at --zone hk-03: the last good observation, at 2026-06-01 08:15:0",
        ),
        (("images", "--zone", "hk-03", "--zone", "sg-01"), 0, "listed none; not known: sg-01 (denied)."),
        (
            ("images", "--zone", "sg-01"), 8,
            "Nothing is known of --zone sg-01: no good observation yet of sg-01 (denied); `crawler status` tells why.",
        ),
        (("images", "--zone", "sg-01", "--name", "Ubuntu*"), 8, "no good observation yet of sg-01 (denied)"),
        (("images", "--zone", "sg-01", "--at", "5m"), 8, "Nothing was known of --zone sg-01 by 2026-06-01 08:55:00"),
        (("images", "--zone", "sg-02"), 0, "--zone sg-02 is asked no more; --retired shows what was known of it."),
        (("images", "--zone", "hk-02", "--region", "sg"), 2, "No target fits --region sg and --zone hk-02 together"),
        (("diff", "5m", "now", "--zone", "hk-02", "--region", "sg"), 2, "No target fits --region sg and --zone hk-02"),
        (("check", "-", "--zone", "hk-02", "--region", "sg"), 2, "No target fits --region sg and --zone hk-02"),
        (("images", "--zone", "hk-02", "--zone", "!hk-*"), 2, "No target fits --zone hk-02 !hk-* together"),
        (("changes", "--zone", "!*"), 2, "No target fits --zone !* together"),
        (("status", "--zone", "!*"), 2, "No target fits --zone !* together"),
        (("check", "-", "--zone", "!*"), 2, "No target fits --zone !* together"),
        (("images", "--zone", "hk-02", "--name", "CentOS*"), 0, "but from other times or places"),
        (("status", "--zone", "sg-02"), 0, "--zone sg-02 is asked no more"),
        (("where", "Ubuntu 20.04", "--zone", "sg-02"), 0, "--zone sg-02 is asked no more"),
        (("history", "*", "--zone", "sg-01"), 8, "no good observation yet of sg-01 (denied)"),
        (("changes", "--zone", "sg-01"), 8, "no good observation yet of sg-01 (denied)"),
        (("changes", "--zone", "hk-02"), 0, "No changes fit --zone hk-02"),
        (("changes", "--until", "2w"), 8, "Nothing was recorded by 2026-05-18 09:00:00: the first run ended at 2026"),
        (("compare", "hk-03", "hk-03"), 0, "There are no images in hk-03 or hk-03."),
        (("compare", "hk-02", "sg-02"), 8, "sg-02 is asked no more: it is retired since 2026-06-01 08:15:0"),
        (("compare", "sg-02", "hk-02"), 8, "sg-02 is asked no more: it is retired since 2026-06-01 08:15:0"),
        (("compare", "hk-02", "sg-01"), 8, "None of these targets had been observed well by"),
        (("diff", "5m", "now", "--zone", "sg-02"), 8, "sg-02 is asked no more: it is retired since 2026-06-01 08:15:0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_which_nothing(url: str, words: tuple[str, ...], code: int, said: str) -> None:
    """Nobody looked, an empty answer, a closed place and a filter that is too narrow are told apart."""
    result = call("--database", url, *words, now=NOW, code=code, stdin="hk-02 uimage-a")

    assert result.stdout == ""
    assert said in result.stderr


def test_other_kinds_alone(engine: Engine, sqlite_url: str) -> None:
    """Where others alone were observed nobody can tell which UK8S images there are, or were: no answer is not none."""
    machines = target("hk-02")._replace(kind="uhost-image")
    listed = {"RetCode": 0, "TotalCount": 1, "ImageSet": [{"ImageId": "uimage-m", "ImageName": "Rocky 9"}]}
    diary = Diary(engine)

    def said(*more: object, code: int = 8) -> str:
        return call("--database", sqlite_url, "images", *more, now=diary.now, code=code).stderr

    diary.run({machines: listed})
    began = diary.now
    assert "Nothing is known of --kind uk8s-image: nothing such was asked yet; `kinds` of the configuration" in said()
    diary.run({machines: listed, LISTING: Refusal()})
    assert "--kind uk8s-image: no good observation yet of hk-02 (failed); `crawler status` tells why." in said()
    diary.run({machines: listed, LISTING: {"uimage-a": "Ubuntu 20.04"}})
    assert "no good observation yet of hk-02 (never_observed)" in said("--at", began.isoformat())
    assert said(code=0) == ""


def test_nothing_where_not_all_is_known(engine: Engine, url: str) -> None:
    """What fits nothing that is known may be where nobody knows, which is said; closed places say nothing."""
    diary = Diary(engine, now=NOW)
    diary.run({LISTING: Refusal(), EMPTY: {}})
    fitting = call("--database", url, "images", "--name", "CentOS*", now=diary.now).stderr
    diary.run({LISTING: {}, EMPTY: {}})
    diary.run({LISTING: {}, EMPTY: {}})
    diary.run({LISTING: {}, EMPTY: {}})
    diary.run({LISTING: {}, EMPTY: Refusal()})
    every = call("--database", url, "images", now=diary.now).stderr
    zones = call("--database", url, "--language", "zh", "images", "--zone", "hk-*", now=diary.now).stderr

    assert fitting == "No images fit --name CentOS* where that is known; not known: hk-02 (failed).\n"
    assert every == "There are no images; not known: hk-03 (failed).\n"
    assert re.search("--zone hk-[*] 没有镜像：.*；状态未知：hk-03", zones)


def test_no_changes_where_not_all_is_known(engine: Engine, url: str) -> None:
    """Where no change is told, and no interval, and nobody knows whether there was one, that is said as well."""
    diary = Diary(engine, now=NOW)
    diary.run({LISTING: Refusal(), EMPTY: {}})

    def said(*words: object) -> str:
        return call("--database", url, *words, now=diary.now).stderr

    doubt = "where that is known; not known: hk-02 (failed).\n"
    assert said("changes", "--since", "1h") == "There are no changes in that time; not known: hk-02 (failed).\n"
    assert said("changes", "--zone", "hk-02") == f"No changes fit --zone hk-02 {doubt}"
    assert said("changes", "--zone", "hk-02", "--until", "2027-01-01").endswith(doubt)
    assert said("history", "uimage-b", "--zone", "hk-02") == f"No intervals of uimage-b fit --zone hk-02 {doubt}"
    for words in (("changes", "--zone", "hk-02", "--until", NOW.isoformat()), ("changes", "--zone", "hk-03")):
        assert "not known" not in said(*words)
    chinese = said("--language", "zh", "changes", "--zone", "hk-02")
    assert re.search("没有符合 --zone hk-02 的变更；状态未知：hk-02", chinese)


def test_compare_where_a_project_is_not(engine: Engine, url: str) -> None:
    """A project that was never asked about in one of the zones is told so, and not that it was observed badly."""
    Diary(engine, now=NOW).run({target("hk-02", project="org-y"): {"uimage-c": "Anolis 8"}})

    words = ("compare", "hk-02", "hk-03", "--project", "org-y")
    said = call("--database", url, *words, now=NOW + timedelta(hours=1), code=2).stderr
    assert "No target fits --project org-y and --zone hk-03 together" in said


def test_places_without_a_zone(engine: Engine, url: str) -> None:
    """Where a whole region is asked about, its name stands where that of a zone would."""
    region = target("hk-02")._replace(zone="", kind="uk8s-version")
    listed = {"RetCode": 0, "Data": [{"K8sVersion": "1.30.14"}]}
    diary = Diary(engine, now=NOW)
    diary.run({region: listed, region._replace(region="sg"): Refusal("denied", 299, "no permission", "denied")})
    diary.run({region: Refusal()})

    later = NOW + timedelta(hours=1)
    assert "so not compared: hk (failed)." in call("--database", url, "diff", "50m", "now", now=later).stderr
    said = call("--database", url, "inventory", "--kind", "uk8s-version", "--region", "sg", now=later, code=8).stderr
    assert "no good observation yet of sg (denied)" in said


def test_retired_shown(url: str) -> None:
    """What the sentence recommends shows the image of the closed zone."""
    assert "uimage-b" in call("--database", url, "images", "--zone", "sg-02", "--retired", now=NOW).stdout


@pytest.mark.parametrize(("option", "command"), [("--zone", "status"), ("--name", "images")])
def test_where_the_words_are(engine: Engine, url: str, option: str, command: str) -> None:
    """A word that is like none of many that are known is answered with the command that lists them."""
    Diary(engine, now=NOW).run({target(f"cn-{n:02}"): {f"uimage-{n}": f"Anolis {n}"} for n in range(12)})

    said = call("--database", url, "images", option, "zzz", now=NOW + timedelta(hours=1), code=2).stderr
    assert f"'zzz'; `crawler {command}` lists what it knows." in said
