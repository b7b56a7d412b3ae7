"""The pages say what the commands say, and nothing that is not for whoever reads them."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import Engine

from crawler.db.engine import begin, opened, read
from crawler.db.filters import chosen_targets
from crawler.db.pruning import prune
from crawler.db.targets import apply_reconciliation
from crawler.domain.filters import Filters
from crawler.domain.models import Target, is_storable
from crawler.domain.targets import Reconciliation
from crawler.queries.check.rules import PinRule
from crawler.queries.history_lookup import history
from crawler.queries.images import images
from crawler.queries.overview_lookup import zone_gaps
from crawler.queries.revoke import revoke
from crawler.web.pages import NoSuchPage, PageRequest, Pages
from tests.benchmarks.five_years import BEGIN, Made, generate
from tests.support.acceptance_table import Proven
from tests.support.diary import START, Diary, Refusal, target
from tests.support.hostile import HOSTILE
from tests.support.kinds import uhost_image
from tests.support.web import SHANGHAI, STALE, Cells, cells_of

#: Pages that there are in every history.
PAGES = ("", "now", "changes", "coverage")


def pages_at(now: datetime, *, is_live: bool = True) -> Pages:
    return Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: now, is_live=is_live)


def html_of(engine: Engine, page: str, now: datetime, *, is_private: bool = False, **query: str) -> str:
    with read(engine) as conn:
        return pages_at(now).html(conn, PageRequest(page=page, query=query, is_private=is_private))


def command_cells(engine: Engine, at: datetime, now: datetime) -> Cells:
    """Return what `images --at` says, projects of a zone together: present while it is for any of them."""
    found: Cells = {}
    with read(engine) as conn:
        for row in images(conn, at, Filters(), now=now, stale_after=STALE):
            cell = found.setdefault((row.target.zone, row.image_name), {})
            if cell.get(row.image_id) != "present":
                cell[row.image_id] = row.state
    return found


def compare_moments(engine: Engine, made: Made, count: int) -> int:
    """Compare the page with the command at *count* random moments; return how many cells there were."""
    rng = random.Random(count)
    cells = 0
    for _ in range(count):
        at = (BEGIN + (made.end + timedelta(days=3) - BEGIN) * rng.random()).replace(microsecond=0)
        shown = cells_of(html_of(engine, "now", made.end + timedelta(days=4), at=at.isoformat()))
        assert shown == command_cells(engine, at, made.end), at
        cells += len(shown)
    return cells


def test_now_says_what_images_says(engine: Engine) -> None:
    """At random moments the page of what is available has the states of `images --at`, with gaps, holds, absences."""
    made = generate(engine, years=0.02, zones=2, changed=200)

    assert compare_moments(engine, made, 12) > 0


@pytest.mark.prove
def test_now_at_a_thousand_moments(sqlite_url: str, proven: Proven) -> None:
    """The same at 1,000 random moments."""
    with opened(sqlite_url) as engine:
        made = generate(engine, years=0.05, zones=2, changed=400)
        cells = compare_moments(engine, made, 1_000)

    proven("the page equals `images --at`", f"1,000 moments, {cells:,} cells")


class _Tags(HTMLParser):
    """Collects elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(html: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = _Tags()
    reader.feed(html)
    return reader.tags


def complaints(html: str) -> list[str]:
    """Return what in a page could do something, or lead away from it."""
    found = []
    for tag, attributes in tags_of(html):
        if tag in ("iframe", "object", "embed", "base", "img", "style", "marquee"):
            found.append(tag)
        if tag == "script" and not (attributes.get("src") or "").endswith(("assets/page.js", "assets/htmx.min.js")):
            found.append(f"script {attributes}")
        for name, value in attributes.items():
            if name.startswith("on") or name == "style":
                found.append(f"{tag} {name}")
            if re.match(r"\s*([a-z][a-z0-9+.-]*:|//)", value or "", re.IGNORECASE) and name in (
                "href",
                "src",
                "action",
            ):
                found.append(f"{tag} {name}={value}")
    return found


def test_hostile_names(engine: Engine) -> None:
    """Fifty hostile names of images and zones give no live element or attribute, and no address that leads away."""
    diary = Diary(engine)
    names = [name for name in HOSTILE if is_storable(name)]
    zones = [target(f"hk-0{number}") for number in range(2)]
    zones.append(zones[0]._replace(zone='"><script>alert(1)</script>', region="javascript:alert(1)"))
    listed = {f"uimage-{number}": name for number, name in enumerate(names)}
    listed |= {name: name for name in names if name}
    diary.run(dict.fromkeys(zones, listed))
    fewer = dict(list(listed.items())[2:])
    diary.run(dict.fromkeys(zones, fewer))
    now = diary.now + timedelta(minutes=1)

    seen = 0
    for page in PAGES:
        for is_private in (False, True):
            html = html_of(engine, page, now, is_private=is_private, q="", region='"><b>', name="<i onclick=x>")
            assert complaints(html) == [], page
    links = {
        attributes["href"] or ""
        for tag, attributes in tags_of(html_of(engine, "now", now))
        if tag == "a" and (attributes.get("href") or "").startswith("names/")
    }
    for link in links:
        assert complaints(html_of(engine, unquote(link), now)) == [], link
        seen += 1
    assert seen > 30


def test_public_pages_tell_nothing_private(engine: Engine) -> None:
    """Without private data no page has a project, an account, a custom image or what a failure said."""
    diary = Diary(engine, account="secret-account")
    where = [target("hk-02", f"org-secret{number}", "secret-account") for number in range(2)]
    own = {"ImageId": "uimage-own", "ImageName": "Secret golden image"}
    first = {"RetCode": 0, "ImageSet": [{"ImageId": "uimage-a", "ImageName": "Ubuntu 20.04"}], "CustomImageSet": [own]}
    diary.run({where[0]: first, where[1]: first})
    later = {"RetCode": 0, "ImageSet": [{"ImageId": "uimage-b", "ImageName": "Ubuntu 20.04"}], "CustomImageSet": []}
    diary.run({where[0]: later, where[1]: Refusal(outcome="failed", message="secret message of org-secret1")})
    now = diary.now + timedelta(minutes=1)

    for page in (*PAGES, "names/ubuntu-20.04"):
        public, private = html_of(engine, page, now), html_of(engine, page, now, is_private=True)
        for query in ({}, {"project": "org-secret0"}):
            public += html_of(engine, page, now, **query)  # type: ignore[arg-type]  # words alone
        assert "ecret" not in public, page
        assert "uimage-own" not in public, page
        assert public != private or page == "coverage"
    for hidden in ("evidence/1", "names/secret-golden-image"):
        with pytest.raises(NoSuchPage):
            html_of(engine, hidden, now)
        assert html_of(engine, hidden, now, is_private=True)


@pytest.mark.parametrize("page", PAGES)
def test_empty_history(page: str, engine: Engine) -> None:
    """A history in which nothing was recorded yet has every page, which says so."""
    html = html_of(engine, page, datetime(2026, 11, 29, tzinfo=UTC))

    assert re.search("yet", html)
    assert complaints(html) == []


def test_chinese_pages(engine: Engine) -> None:
    """Every page is there in Chinese, and each language links to the other."""
    diary = Diary(engine)
    diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
    diary.run({target("hk-02"): {"uimage-b": "Ubuntu 20.04"}})
    now = diary.now + timedelta(minutes=1)
    for page in (*PAGES, "names/ubuntu-20.04"):
        with read(engine) as conn:
            html = pages_at(now).html(conn, PageRequest(page=page, language="zh"))
        assert '<html lang="zh-CN">' in html
        assert "English" in html
        assert "镜像" in html


def test_changes_are_told_as_in_the_mail(engine: Engine) -> None:
    """A re-issue is one line with its chain of ids, and has a link of its own that stays."""
    diary = Diary(engine)
    for image in ("uimage-a", "uimage-b", "uimage-c"):
        diary.run({target("hk-02"): {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}})
    html = html_of(engine, "changes", diary.now + timedelta(minutes=1))
    day = diary.now.astimezone(SHANGHAI).date().isoformat()

    assert html.count("Re-issued under a new id") == 1
    chain = re.sub(r"<[^>]+>", "", html)
    assert "uimage-a → uimage-b → uimage-c" in chain
    assert f'href="changes/{day}#c1"' in html
    assert 'id="c1"' in html_of(engine, f"changes/{day}", diary.now + timedelta(minutes=1))


def test_events_to_choose(engine: Engine) -> None:
    """One may ask for what the page can tell: `schema` never had a line, and what happens to targets is private."""
    diary = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        diary.run({target("hk-02"): {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}})

    def offered(*, is_private: bool) -> set[str]:
        html = html_of(engine, "changes", diary.now, is_private=is_private, event="schema")
        assert "uimage-a → uimage-b" in re.sub(r"<[^>]+>", "", html)
        return set(re.findall(r"<option>(\w[\w-]+)</option>", html))

    of_images = {"appeared", "returned", "withdrawn", "modified", "re-issued"}
    assert offered(is_private=False) - {"hk-02"} == of_images
    assert offered(is_private=True) - {"hk-02"} == of_images | {"target_added", "target_retired"}


def test_change_that_projects_meet_on_several_days(engine: Engine) -> None:
    """Of public data a change is told once, on the day on which the first project met it; others are told as before."""
    diary = Diary(engine)
    first, second = target("hk-02", "org-a"), target("hk-02", "org-b")
    old, new = {"uimage-a": "Ubuntu 20.04", "uimage-m": "Mint"}, {"uimage-b": "Ubuntu 20.04", "uimage-m": "Mint"}
    diary.run({first: old, second: old})
    diary.run({first: new, second: old})
    met = diary.now
    diary.now += timedelta(days=1)
    diary.run({first: new, second: new})
    diary.now += timedelta(days=1)
    diary.run({first: old, second: new})

    def told(page: str, *, is_private: bool = False, **query: str) -> int:
        html = html_of(engine, page, diary.now, is_private=is_private, **query)
        return len(re.findall(r"<li[^>]* id=.c\d+", html))

    days = [(met + timedelta(days=number)).astimezone(SHANGHAI).date().isoformat() for number in range(3)]
    assert [told(f"changes/{day}", is_private=True) for day in days] == [1, 1, 1]
    assert [told(f"changes/{day}") for day in days] == [1, 0, 1]
    assert [told(f"changes/{day}", event="re-issued") for day in days] == [1, 0, 1]
    assert told("changes") == 2


def test_nothing_is_told_of_what_was_pruned(engine: Engine) -> None:
    """A day in which nobody knew is not called known once it was pruned: coverage and bars begin with what is kept."""
    diary = Diary(engine)
    images = {"uimage-a": "Ubuntu 20.04"}
    for number in range(16):
        diary.now = START + timedelta(days=number / 2)
        diary.run({target("hk-02"): Refusal() if 2 <= number < 6 else images})
    now = diary.now + timedelta(minutes=1)

    def told() -> tuple[int, list[tuple[str, str]]]:
        html = html_of(engine, "names/ubuntu-20.04", now, days="all")
        bars = re.findall(r'<rect class="a" x="([\d.]+)%"[^>]* width="([\d.]+)%"', html)
        return html.count('<rect class="u"'), bars

    hatched, bars = told()
    assert (hatched, len(bars)) == (1, 1)
    prune(engine, None, before=START + timedelta(days=4), now=now)

    assert told() == (0, [("0", "100")])
    with read(engine) as conn:
        choices = chosen_targets(conn, Filters())
        (gaps,) = zone_gaps(conn, choices, START, now, stale_after=STALE).values()
    assert [(gap.unknown_from, gap.unknown_to) for gap in gaps] == [(START, START + timedelta(days=4))]
    scale = html_of(engine, "names/ubuntu-20.04", now, days="all")
    assert "06-03" not in "".join(re.findall(r"<text x=[^>]*>([^<]*)</text>", scale))


def test_pruned_moment_is_called_so(engine: Engine) -> None:
    """Of a time before what `db prune` kept no page says that nothing was recorded then, but that it was pruned."""
    diary = Diary(engine)
    for number in range(10):
        listed = {"uimage-a": "Ubuntu 20.04", **({"uimage-b": "CentOS 7.6"} if number % 2 else {})}
        diary.run({target("hk-02"): listed}, at=START + timedelta(days=number))
    before = (START - timedelta(days=1)).isoformat()
    assert "Nothing was recorded by then." in html_of(engine, "now", diary.now, at=before)
    assert "pruned" not in html_of(engine, "changes", diary.now)
    prune(engine, None, before=START + timedelta(days=4, hours=1), now=diary.now)

    for at in (before, (START + timedelta(days=4)).isoformat()):
        html = html_of(engine, "now", diary.now, at=at)
        assert "Nobody can tell any more what was there then: the history before" in html
        assert "Nothing was recorded" not in html
    with read(engine) as conn:
        question = PageRequest(page="now", language="zh", query={"at": before})
        assert "之前的历史记录已清理" in pages_at(diary.now).html(conn, question)
    assert "was pruned" not in html_of(engine, "now", diary.now, at=(START + timedelta(days=5)).isoformat())
    for page in ("changes", f"changes/{(START + timedelta(days=1)).date()}"):
        assert "was pruned: of that time not every change is left" in html_of(engine, page, diary.now)
    assert "pruned" not in html_of(engine, "coverage", diary.now)
    with pytest.raises(NoSuchPage, match="There is no change 1 any more: it was pruned"):
        html_of(engine, "evidence/1", diary.now, is_private=True)
    with pytest.raises(NoSuchPage, match=r"There is no change 999\.$"):
        html_of(engine, "evidence/999", diary.now, is_private=True)
    diary.now += timedelta(hours=2)
    prune(engine, None, before=diary.now - timedelta(hours=1), now=diary.now)
    assert "Nobody can tell any more" in html_of(engine, "coverage", diary.now), "no finished day is left"


def test_bar_of_an_image_on_hold(engine: Engine) -> None:
    """A bar is hatched where an image was on hold for all projects that ever listed it, as `history` has it."""
    diary = Diary(engine)
    here, there, other = target("hk-02", "org-a"), target("hk-02", "org-b"), target("hk-02", "org-c")
    full = {"uimage-a": "Ubuntu 20.04", "uimage-x": "CentOS 7.6"}
    answers: list[tuple[Any, Any]] = [(full, full), ({}, full), ({}, {}), (full, Refusal()), (full, full)]
    hatched = []
    for number, (first, second) in enumerate(answers):
        diary.run({here: first, there: second, other: {}}, at=START + timedelta(hours=6 * number))
        html = html_of(engine, "names/ubuntu-20.04", diary.now)
        with read(engine) as conn:
            rows = history(conn, ["uimage-a"], Filters(), now=diary.now, stale_after=STALE)
        ends = [gap.unknown_to for row in rows for gap in row.gaps if row.target == here]
        hatched.append((re.findall(r'class="u" x="([^"]*)" width="([^"]*)"', html), len(ends)))

    assert [len(parts) for parts, _ in hatched] == [0, 0, 1, 1, 1]
    assert [gaps for _, gaps in hatched] == [0, 1, 1, 1, 1]
    (begin, width), *_ = hatched[-1][0]
    assert (round(float(begin[:-1])), round(float(width[:-1]))) == (50, 25)
    assert "not listed, not believed yet" in html


def test_projects_of_a_zone_are_one(engine: Engine) -> None:
    """Of an image that several projects list a zone has one stay, which ends when those that are asked see its end."""
    diary = Diary(engine)
    projects = [target("hk-02", f"org-{letter}") for letter in "abc"]
    beside = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    for number in range(2):
        images = {"uimage-a": "Ubuntu 20.04", **beside}
        diary.run(dict.fromkeys(projects, images), at=START + timedelta(hours=6 * number))
    gone = Reconciliation(asked=(), deselected=(projects[0],))
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, gone, 1, diary.tick())
    for number in range(2, 5):
        images = {"uimage-b": "Ubuntu 20.04", **beside}
        diary.run(dict.fromkeys(projects[1:], images), at=START + timedelta(hours=6 * number))
    html = html_of(engine, "names/ubuntu-20.04", diary.now)

    assert [len(re.findall(rf'<rect class="{shade}"', html)) for shade in "abu"] == [1, 1, 0]
    steps = re.findall(r'<td class="id"><bdi>([^<]*)</bdi></td><td>([^<]*)</td><td>([^<]*)</td>', html)
    assert [(image, bool(until)) for image, _, until in steps] == [("uimage-a", True), ("uimage-b", False)]


def test_bar_of_what_is_asked_no_more(engine: Engine) -> None:
    """What a project that is asked no more listed alone is not known since, though its zone is."""
    diary = Diary(engine)
    first, second = target("hk-02", "org-a"), target("hk-02", "org-b")
    for number in range(2):
        both = {first: {"uimage-a": "Ubuntu 20.04"}, second: {"uimage-x": "CentOS 7.6"}}
        diary.run(both, at=START + timedelta(hours=6 * number))
    gone = Reconciliation(asked=(), deselected=(first,))
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, gone, 1, diary.tick())
    for number in range(2, 4):
        diary.run({second: {"uimage-x": "CentOS 7.6"}}, at=START + timedelta(hours=6 * number))
    html = html_of(engine, "names/ubuntu-20.04", diary.now)

    ((begin_at, width),) = re.findall(r'class="u" x="([^"]*)%" width="([^"]*)%"', html)
    assert (round(float(begin_at)), round(float(width))) == (33, 67)
    assert "no longer asked" in html


def test_withdrawn_whoever_is_asked_no_more(engine: Engine) -> None:
    """A name that its zone lists no more was withdrawn there, whatever a project listed until it was asked no more."""
    diary = Diary(engine)
    first, second, other = target("hk-02", "org-a"), target("hk-02", "org-b"), target("sg-01")
    rest = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    every = {"uimage-a": "Ubuntu 20.04", **rest}
    diary.run({first: every, second: every, other: every})
    gone = Reconciliation(asked=(), deselected=(first,))
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, gone, 1, diary.tick())
    diary.run({second: rest, other: every})

    assert len(re.findall(r'<td class="w" title="withdrawn, gone by', html_of(engine, "now", diary.now))) == 1
    said = words_in(html_of(engine, "names/ubuntu-20.04", diary.now))
    assert "present in 1 of 2 zones; withdrawn in 1 of 2 zones" in said


def test_hold_where_nobody_asks_any_more(engine: Engine) -> None:
    """A hold in a zone that is asked no more, as after its retirement, is nothing to look at on the first page."""
    diary = Diary(engine)
    here, there = target("hk-01"), target("hk-02")
    images = {"uimage-a": "Ubuntu 20.04", "uimage-b": "CentOS 7.6"}
    diary.run({here: images, there: images})
    diary.run({here: images, there: {}})
    assert "Nothing is wrong." not in html_of(engine, "", diary.now)
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, Reconciliation(asked=(), deselected=(there,)), 2, diary.tick())
    diary.run({here: images})
    html = html_of(engine, "", diary.now)

    assert "Nothing is wrong." in html
    assert "hk-02" not in html


def test_zones_of_several_accounts(engine: Engine) -> None:
    """Where private data is shown, changes of a zone that several accounts have bear the account's name."""
    names = ("alpha", "beta")
    for name in names:
        diary = Diary(engine, account=name)
        for image in ("uimage-a", "uimage-b"):
            diary.run({target("hk-02", account=name): {image: "Ubuntu 20.04"}})
    now = diary.now + timedelta(minutes=1)
    private = re.sub(r"<[^>]+>", "", html_of(engine, "changes", now, is_private=True))
    public = re.sub(r"<[^>]+>", "", html_of(engine, "changes", now))

    assert [f"{name}/hk-02" in private for name in names] == [True, True]
    assert not any(name in public for name in names)


def test_pins(engine: Engine) -> None:
    """Every known pin is on the page of pins, worst first, with its successor; of public data there is none."""
    diary = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        diary.run({target("hk-02"): {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}})
    now = diary.now + timedelta(minutes=1)
    rules = [PinRule(image_id=f"uimage-{one}", zone="hk-02", source="report <b>sre</b>") for one in "xa"]
    pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: now, is_live=True, pins=lambda: rules)
    with read(engine) as conn:
        html = pages.html(conn, PageRequest(page="pins", is_private=True))
        empty = pages_at(now).html(conn, PageRequest(page="pins", is_private=True))
        with pytest.raises(NoSuchPage):
            pages.html(conn, PageRequest(page="pins"))

    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert "One pin needs a change" in said
    assert said.index("uimage-a → uimage-b") < said.index("uimage-x")
    assert complaints(html) == []
    assert "<b>" not in html
    assert "No pin is known" in empty


def test_image_to_use(engine: Engine) -> None:
    """A name's page proposes the image that `resolve` gives: the last, none revoked, none of two that came together."""
    diary = Diary(engine)
    both = {"uimage-a": "Ubuntu 20.04", "uimage-z": "Ubuntu 20.04", "uimage-p": "Twins", "uimage-q": "Twins"}
    diary.run({target("cn-01"): {"uimage-x": "CentOS 7.6"}, target("hk-02"): {"uimage-z": "Ubuntu 20.04"}})
    diary.run({target("cn-01"): {"uimage-x": "CentOS 7.6"}, target("hk-02"): both})

    def proposed(name: str) -> list[str]:
        return re.findall(r"image_id = &#34;(.*)&#34;", html_of(engine, f"names/{name}", diary.now))

    assert proposed("ubuntu-20.04") == ["uimage-a"]
    assert proposed("twins") == []
    with begin(engine) as conn:
        revoke(conn, ["uimage-a"], "hangs", who="me", now=diary.now)
    diary.run({target("cn-01"): {"uimage-x": "CentOS 7.6"}, target("hk-02"): both})
    assert proposed("ubuntu-20.04") == []


MACHINES = Target("prod", "org-x", "hk", "hk-02", "uhost-image", "default")


def machines(*numbers: int) -> dict[str, Any]:
    """Return an answer with images of machines; every third is a customer's own."""
    return {"RetCode": 0, "ImageSet": [uhost_image(number) for number in numbers]}


@pytest.fixture
def two_kinds(engine: Engine) -> Diary:
    diary = Diary(engine)
    diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}, MACHINES: machines(1, 2, 3)})
    diary.run({target("hk-02"): {"uimage-b": "Ubuntu 20.04"}, MACHINES: machines(1, 2, 3)})
    diary.run({target("hk-02"): {"uimage-b": "Ubuntu 20.04"}, MACHINES: machines(1, 2, 3, 4, 6)})
    return diary


def test_another_kind(engine: Engine, two_kinds: Diary) -> None:
    """?kind= has every page about another kind, whose custom images are private; others stay as they were."""
    now = two_kinds.now

    def said(page: str, *, is_private: bool = False, kind: str = "uhost-image") -> str:
        return html_of(engine, page, now, is_private=is_private, kind=kind)

    assert "uimage-u" not in html_of(engine, "now", now) + html_of(engine, "changes", now, is_private=True)
    assert cells_of(said("now")).keys() == {("hk-02", f"CentOS {number} 64位") for number in (1, 2, 4)}
    assert len(cells_of(said("now", is_private=True))) == 5
    assert "CentOS 4 64位" in said("changes")
    for page in ("", "now", "changes", "changes/2026-06-01", "names/centos-1-64%E4%BD%8D", "coverage"):
        html = said(page)
        assert "Ubuntu" not in html, page
        assert "CentOS 6" not in html, page
        assert "kind=uhost-image" in html, page
        assert "--kind uhost-image" in html, page
    with pytest.raises(NoSuchPage):
        said("names/centos-3-64%E4%BD%8D")
    for page, kind in (("names/ubuntu-20.04", "uhost-image"), ("now", "node-group"), ("now", "nonsense")):
        with pytest.raises(NoSuchPage):
            said(page, kind=kind)
    with pytest.raises(NoSuchPage):
        html_of(engine, "names/centos-1-64%E4%BD%8D", now)


def test_another_kind_is_in_trouble(engine: Engine, two_kinds: Diary) -> None:
    """The first page says so where zones of another kind are not known."""
    two_kinds.run({target("hk-02"): {"uimage-b": "Ubuntu 20.04"}, MACHINES: Refusal()})

    assert "Another kind has zones that are not known now" in html_of(engine, "", two_kinds.now)


def test_what_was_never_open(engine: Engine) -> None:
    """What was never open to the key is nothing to look at on the first page, unless nothing is."""
    diary = Diary(engine)
    denied = Refusal("denied", 299, "no permission", "denied")
    here, closed = target("hk-02"), [target("hk-02", "org-b"), target("sg-01"), MACHINES]

    def said() -> str:
        return words_in(html_of(engine, "", diary.now, is_private=True))

    diary.run(dict.fromkeys(closed, denied))
    assert "2 zones are not known now" in said()
    diary.run({here: {"uimage-a": "Ubuntu 20.04"}, **dict.fromkeys(closed, denied)})
    assert "Nothing is wrong." in said()
    assert "1 / 1" in said()
    assert "sg-01" not in said()
    diary.run({here: Refusal(), **dict.fromkeys(closed, denied)})
    assert "1 zone is not known now" in said()


def test_nothing_is_said_of_what_is_not_known(engine: Engine) -> None:
    """Where no zone was ever known no page says that nothing is listed, or that nobody has looked."""
    diary = Diary(engine)
    for number in range(3):
        unknown = dict.fromkeys([target("hk-01"), target("hk-02")], Refusal())
        diary.run({**unknown, MACHINES: machines(1)}, at=START + timedelta(days=number))
    now = words_in(html_of(engine, "now", diary.now))

    assert "no zone is known" in now
    assert "No images were listed" not in now
    assert "No zone was known on a finished day yet." in words_in(html_of(engine, "coverage", diary.now))
    diary.run({target("hk-01"): {}, target("hk-02"): Refusal(), MACHINES: machines(1)})
    assert "where that is known; 1 zone is not known." in words_in(html_of(engine, "now", diary.now))
    diary.run({target("hk-01"): {}, target("hk-02"): {}, MACHINES: machines(1)})
    assert "No images were listed." in words_in(html_of(engine, "now", diary.now))


def test_what_is_asked_no_more(engine: Engine) -> None:
    """Where every zone is retired or deselected no page says that nothing was recorded, or that nothing is listed."""
    diary = Diary(engine)
    for number in range(3):
        diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}}, at=START + timedelta(days=number))
    gone = Reconciliation(asked=(), deselected=(target("hk-02"),))
    with begin(engine) as conn:
        apply_reconciliation(conn, diary.account_id, gone, 1, diary.tick())

    for page in ("", "now", "coverage", "names/ubuntu-20.04"):
        said = words_in(html_of(engine, page, diary.now))
        assert "No zone is asked about these images." in said, page
        assert not re.search("yet|No images were listed|By zone", said), page


def words_in(html: str) -> str:
    """Return what a page says, in one line."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


def test_what_cannot_be_used_is_listed_as_such(engine: Engine) -> None:
    """An image that is being made stands beside the one to use with its state, and alone it is not used either."""
    diary = Diary(engine)
    rocky = [uhost_image(number, ImageName="Rocky 9") for number in (1, 2)]

    def told(*states: str) -> tuple[str, str]:
        listed = [{**image, "State": state} for image, state in zip(rocky, states, strict=True) if state]
        diary.run({MACHINES: {"RetCode": 0, "ImageSet": listed}})
        pages = (html_of(engine, page, diary.now, kind="uhost-image") for page in ("now", "names/rocky-9"))
        now, name = pages
        return now, words_in(name)

    told("Available", "")
    now, name = told("Available", "Making")
    assert 'class="x" title="uimage-u00002 listed, but not usable (Making)"' in now
    assert "uimage-u00001 present" in name
    assert "uimage-u00002 listed, but not usable (Making)" in name
    assert "The id now uimage-u00001" in name
    assert cells_of(now) == {("hk-02", "Rocky 9"): {"uimage-u00001": "present", "uimage-u00002": "present"}}
    now, name = told("Available", "Available")
    assert 'class="o" title="uimage-u00001 superseded"' in now
    assert "The id now uimage-u00002" in name
    now, name = told("", "Unavailable")
    assert '<td class="x" title="uimage-u00002 listed, but not usable (Unavailable)">' in now
    assert "listed, but not usable in 1 of 1 zone" in name
    assert "Use it" not in name
    chinese = PageRequest(page="names/rocky-9", language="zh", query={"kind": "uhost-image"})
    with read(engine) as conn:
        html = pages_at(diary.now).html(conn, chinese)
    assert "1 个可用区中 1 个在列但不可用" in words_in(html)


@pytest.mark.parametrize("projects", [1, 2])
@pytest.mark.parametrize(
    ("names", "query"),
    [
        (("Ubuntu", None, "Ubuntu", "Ubuntu", None), {"event": "withdrawn"}),
        (("Ubuntu", "Debian", "Ubuntu", "Debian", "Ubuntu"), {"name": "Ubuntu"}),
    ],
    ids=["event", "name"],
)
def test_a_change_that_comes_again(
    engine: Engine, names: tuple[str | None, ...], query: dict[str, str], projects: int
) -> None:
    """A change that comes again is told again, also where what was in between has another event or name."""
    diary = Diary(engine)
    zones = [target("hk-02", project) for project in ("org-x", "org-y")[:projects]]
    for name in names:
        own = {"uimage-3": name} if name else {}
        diary.run(dict.fromkeys(zones, {"uimage-1": "CentOS", "uimage-2": "Rocky"} | own))
    with read(engine) as conn:
        told = pages_at(diary.now).html(conn, PageRequest(page="changes", query=query))

    assert re.findall(r"between 1 Jun \S+ and (\d+:\d+)", told) == ["09:15"]


def test_projects_that_differ_about_a_state(engine: Engine) -> None:
    """An image that any project can use can be used; what is last known of one counts only where none is known."""
    diary = Diary(engine)
    other = MACHINES._replace(project="org-y")

    def body(state: str) -> dict[str, Any]:
        return {"RetCode": 0, "ImageSet": [uhost_image(1, State=state)]}

    def now() -> str:
        return html_of(engine, "now", diary.now, kind="uhost-image")

    diary.run({MACHINES: body("Unavailable"), other: body("Available")})
    assert 'title="uimage-u00001"' in now()
    diary.run({MACHINES: body("Unavailable"), other: Refusal()})
    assert 'title="uimage-u00001 listed, but not usable (Unavailable)"' in now()


@pytest.mark.parametrize(
    ("kind", "action_set", "expected", "absent"),
    [
        (
            "uhost-image",
            {"ImageSet": [uhost_image(1, ImageName="Rocky 9", ImageType="Business")]},
            (
                "crawler resolve --kind uhost-image --zone hk-02 --name 'Rocky 9' --image-set Business",
                '"--kind", "uhost-image", "--zone", "hk-02", "--name", "Rocky 9", "--image-set", "Business", "-o"',
                "# ucloud_instance: image_id = data.external.image.result.image_id",
                "# source_image_id = var.image_id",
                "ucloud uhost create --image-id",
                "does nothing to a machine that is there",
            ),
            ("Renovate", "baremetal"),
        ),
        (
            "phost-image",
            {"ImageSet": [{"ImageId": "uimage-p1", "ImageName": "Rocky 9", "ImageType": "Base", "State": "Available"}]},
            (
                "crawler resolve --kind phost-image --zone hk-02 --name 'Rocky 9'",
                "# ucloud_baremetal_instance: image_id = data.external.image.result.image_id",
                "reinstalls the machine",
            ),
            ("Renovate", "Packer", "ucloud_instance", "--image-set", "uhost create"),
        ),
    ],
)
def test_what_other_kinds_are_used_with(
    engine: Engine, kind: str, action_set: dict[str, Any], expected: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    """The page of a name says how to use it by the tools that take an id of its kind, and by no others."""
    diary = Diary(engine)
    diary.run({MACHINES._replace(kind=kind): {"RetCode": 0, **action_set}})
    said = words_in(html_of(engine, "names/rocky-9", diary.now, kind=kind))

    assert [words for words in expected if words not in said] == []
    assert [words for words in absent if words in said] == []


def test_no_kind_to_choose(engine: Engine) -> None:
    """Where the history has one kind there is nothing to choose."""
    diary = Diary(engine)
    diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})

    assert "kind=" not in html_of(engine, "now", diary.now)
    assert cells_of(html_of(engine, "now", diary.now, kind="uk8s-image")) == cells_of(html_of(engine, "now", diary.now))
