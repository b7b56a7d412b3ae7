"""All names at a moment, and the images of those that a page shows."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.domain.filters import Filters
from crawler.domain.rows import Reason
from crawler.queries.overview import Listed, ZoneState, merged
from crawler.queries.overview_lookup import images_of, listed_names, zones_known
from crawler.queries.publish import RegionZone
from tests.support.diary import Diary, target
from tests.support.web import STALE


def test_the_images_of_a_few_names(engine: Engine) -> None:
    """Every name is there with how well its zones are known; images are read of the names alone that are shown."""
    diary = Diary(engine)
    there = {f"uimage-{n:02}": f"System {n:02}" for n in range(40)}
    for _ in range(2):
        diary.run({target("hk-02", project=f"org-{n}"): there for n in range(3)} | {target("tw-01"): there})
    with read(engine) as conn:
        found = listed_names(conn, zones_known(conn, Filters(), diary.now, stale_after=STALE))
        shown = images_of(conn, found, {found.names[7][:2]})
        none = images_of(conn, found, set())

    assert [name.image_name for name in found.names] == sorted(there.values())
    assert [zone.place.zone for zone in shown.zones] == ["hk-02", "tw-01"]
    assert [(row.place.zone, row.image_id) for row in shown.listed] == [("hk-02", "uimage-07"), ("tw-01", "uimage-07")]
    assert (none.listed, none.zones) == ([], shown.zones)


def test_projects_that_disagree() -> None:
    """An image of several projects is told the same in whichever order the database gives their rows."""
    place, came = RegionZone("hk", "hk-02"), datetime(2026, 6, 1, tzinfo=UTC)
    zone = ZoneState(place=place, reason=None, since=None, observed_at=came, message="", targets=3, known=1)
    said: list[tuple[str, Reason]] = [("Debian 12", "stale"), ("Debian  12", "held"), ("DEBIAN 12", "failed")]
    rows = [Listed(place, "ImageSet", "debian 12", name, "uimage-d", came, reason) for name, reason in said]

    told = {tuple(merged(order, [zone])) for order in permutations(rows)}
    assert told == {(rows[0]._replace(reason="failed"),)}
    assert merged([rows[0], rows[1]._replace(reason=None)], [zone])[0].reason is None
