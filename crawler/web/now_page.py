"""What is available at a moment: names by zones, each cell an id and how well it is known. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from crawler.domain.reissues import newest
from crawler.domain.text import plain
from crawler.queries.overview import Listed, ListedName, NameKey, Overview, ZoneState
from crawler.queries.publish import RegionZone
from crawler.web.wording import Wording

#: Cells of one page, of which a browser draws and a network carries about 50 bytes each.
MOST_CELLS = 1_200
#: Names that stand side by side, with the zones below each other.
FEW_NAMES = 6
#: Letters of an id that a cell shows.
SHOWN = 6

_NUMBERS = re.compile(r"(\d+)")

#: `present` needs no word in the page; `older` stands beside a newer id of the same name; `unusable` is listed, but its
#: own state says that it cannot be used.
CellState = Literal["present", "older", "unusable", "unknown", "withdrawn", "none"]
#: The class of an element for each state.
MARKS: Mapping[CellState, str] = {
    "present": "", "older": "o", "unusable": "x", "unknown": "u", "withdrawn": "w", "none": "n",
}  # fmt: skip


class CellImage(NamedTuple):
    """An image in a cell."""

    image_id: str
    state: CellState
    #: The state in words.
    said: str

    @property
    def title(self) -> str:
        """Return the whole id, with its state where that needs a word."""
        return " ".join(filter(None, (plain(self.image_id), "" if self.state == "present" else self.said)))

    @property
    def short(self) -> str:
        """Return the end of its id."""
        return plain(self.image_id)[-SHOWN:]

    @property
    def mark(self) -> str:
        """Return the class of its element."""
        return MARKS[self.state]


class Cell(NamedTuple):
    """A name in a zone: its images, the newest first; without any, why."""

    images: Sequence[CellImage]
    state: CellState
    title: str

    @property
    def mark(self) -> str:
        """Return the class of its element."""
        return MARKS[self.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One name over all zones."""

    image_set: str
    name_key: str
    image_name: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneHead:
    """The head of a column."""

    place: RegionZone
    title: str
    is_known: bool
    #: The first of its region.
    is_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A page of names by zones."""

    heads: Sequence[ZoneHead]
    rows: Sequence[MatrixRow]
    names: int
    page: int
    pages: int

    @property
    def near(self) -> Sequence[int]:
        """Return the pages to go to from here: the first, the last and a few around this one; 0 stands for a gap."""
        shown = sorted({1, *range(max(1, self.page - 3), min(self.pages, self.page + 3) + 1), self.pages})
        return [
            part
            for before, at in zip([0, *shown], shown, strict=False)
            for part in ([at] if at - before == 1 else [0, at])
        ]

    @property
    def is_tall(self) -> bool:
        """Return whether zones are better rows: there are few names, which a narrow screen has room for."""
        return len(self.rows) <= FEW_NAMES < len(self.heads)


def names_in(names: Iterable[ListedName], find: str = "") -> list[NameKey]:
    """Return the sets and *names* that are listed, sorted; with *find* those that have all its words in them."""
    words = find.casefold().split()
    spelled = {(row.image_set, row.name_key): row.image_name for row in names}
    fitting = (key for key, name in spelled.items() if all(word in f"{name} {key[0]}".casefold() for word in words))
    return sorted(fitting, key=lambda key: (_natural(key[1]), key[0]))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people count: 9.04 before 10.04."""
    parts = (part.lstrip("0") if number % 2 else part for number, part in enumerate(_NUMBERS.split(name)))
    return [(len(part) if number % 2 else 0, part) for number, part in enumerate(parts)]


def page_of(keys: Sequence[NameKey], zones: int, page: int) -> tuple[Sequence[NameKey], int, int]:
    """Return the part of *keys* that is on a *page* (counted from 1), the page that is, and how many there are."""
    size = max(5, MOST_CELLS // max(1, zones))
    pages = max(1, -(-len(keys) // size))
    page = min(max(1, page), pages)
    return keys[(page - 1) * size : page * size], page, pages


def matrix(
    overview: Overview,
    keys: Sequence[NameKey],
    gone: Mapping[tuple[RegionZone, str, str], datetime],
    words: Wording,
    *,
    names: int,
    page: int = 1,
    pages: int = 1,
    with_messages: bool = False,
) -> Matrix:
    """
    Return a page of the names in *keys*; *gone* tells of those that are in a zone no more when they were last there.

    What a failure said is told *with_messages*.
    """
    wanted = set(keys)
    by_key: dict[NameKey, dict[RegionZone, list[Listed]]] = {key: {} for key in keys}
    spelled: dict[NameKey, str] = {}
    for row in overview.listed:
        key = (row.image_set, row.name_key)
        if key in wanted:
            by_key[key].setdefault(row.place, []).append(row)
            spelled[key] = row.image_name
    rows = [
        MatrixRow(
            image_set=key[0],
            name_key=key[1],
            image_name=spelled.get(key, key[1]),
            cells=[
                cell_of(by_key[key].get(zone.place, ()), zone, gone.get((zone.place, *key)), words)
                for zone in overview.zones
            ],
        )
        for key in keys
    ]
    regions = ["", *(zone.place.region for zone in overview.zones)]
    heads = [
        ZoneHead(
            place=zone.place,
            title=zone_title(zone, words, with_messages=with_messages),
            is_known=zone.reason is None,
            is_first=region != zone.place.region,
        )
        for region, zone in zip(regions, overview.zones, strict=False)
    ]
    return Matrix(heads=heads, rows=rows, names=names, page=page, pages=pages)


def nothing_listed(zones: Sequence[ZoneState], words: Wording) -> str:
    """Return why nothing is listed in *zones*; empty where it is known that nothing is."""
    unknown = sum(zone.reason is not None for zone in zones)
    if not zones:
        return words("nothing_asked")
    if unknown == len(zones):
        return words("none_known")
    return words("no_images_known", n=unknown) if unknown else ""


def zone_title(zone: ZoneState, words: Wording, *, with_messages: bool = False) -> str:
    """Return in one line how well a zone is known."""
    parts = [plain(zone.place.region)]
    if zone.reason:
        parts.append(words("unknown_because", reason=words.reason(zone.reason)))
        if with_messages and zone.message:
            parts.append(words.message(zone.message))
        if zone.observed_at:
            parts.append(words("last_seen", at=words.at(zone.observed_at)))
    return " · ".join(part for part in parts if part)


def cell_of(rows: Sequence[Listed], zone: ZoneState, gone: datetime | None, words: Wording) -> Cell:
    """Return the cell of one name in one zone."""
    if not rows:
        if zone.reason:
            return Cell((), "unknown", words("unknown_because", reason=words.reason(zone.reason)))
        if gone is not None:
            return Cell((), "withdrawn", f"{words('withdrawn')}{words.comma}{words('gone_since', at=words.at(gone))}")
        return Cell((), "none", "")
    usable = [row for row in rows if not row.unusable]
    # of images without a name none takes the place of another
    latest = {row.image_id for row in (newest(usable) if rows[0].name_key else usable)}
    ordered = sorted(rows, key=lambda row: (row.image_id not in latest, -row.present_since.timestamp(), row.image_id))
    images = [_image(row, is_newest=row.image_id in latest, words=words) for row in ordered]
    return Cell(images, images[0].state, "")


def _image(row: Listed, *, is_newest: bool, words: Wording) -> CellImage:
    if row.reason:
        return CellImage(row.image_id, "unknown", words("unknown_because", reason=words.reason(row.reason)))
    if row.unusable:
        return CellImage(row.image_id, "unusable", words("unusable_as", state=plain(row.unusable, 40)))
    if not is_newest:
        return CellImage(row.image_id, "older", words("superseded"))
    return CellImage(row.image_id, "present", words("present"))
