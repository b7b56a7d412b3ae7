"""One image name: in each zone a bar of when its images were there, the ids it went through, how to use it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from crawler.domain.kinds import UK8S_IMAGE, Kind
from crawler.domain.kinds.phost_image import PHOST_IMAGE
from crawler.domain.kinds.uhost_image import UHOST_IMAGE
from crawler.domain.models import END_OF_TIME, ImageKey
from crawler.domain.rows import Gap
from crawler.domain.text import plain
from crawler.queries.history import clip
from crawler.queries.overview import Listed, ListedSpan
from crawler.queries.publish import RegionZone
from crawler.web.bars import Axis, Segment
from crawler.web.now_page import Matrix, MatrixRow
from crawler.web.slugs import slug, zone_part
from crawler.web.wording import Wording

#: Ids of one zone that are told in words.
MOST_IDS = 12
#: What a shell takes as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One id of a name in a zone."""

    image_id: str
    since: datetime
    until: datetime | None
    baseline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRow:
    """A name in one zone."""

    place: RegionZone
    is_first: bool
    #: What it is now, as on the page of what is available.
    matrix_row: MatrixRow
    column: int
    segments: Sequence[Segment]
    #: The newest last.
    steps: Sequence[Step]
    #: How many ids there were before these.
    more_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NameSet:
    """The rows of one image set."""

    image_set: str
    rows: Sequence[NameRow]

    @property
    def chains(self) -> Sequence[NameRow]:
        """Return the zones in which the name had several ids, or none is there any more."""
        return [row for row in self.rows if len(row.steps) > 1 or any(step.until for step in row.steps)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A text to copy."""

    title: str
    text: str


def name_sets(
    matrix: Matrix,
    spans: Sequence[ListedSpan],
    gaps: Mapping[RegionZone, Sequence[Gap]],
    held: Mapping[tuple[RegionZone, ImageKey], Sequence[Gap]],
    axis: Axis,
    words: Wording,
) -> list[NameSet]:
    """
    Return for each set of the name the zones in which it ever was or is, or nobody knows.

    *gaps* are when a zone was not known, *held* when an image that was on hold there was not.
    """
    by_place: dict[tuple[str, RegionZone], list[ListedSpan]] = {}
    for span in spans:
        by_place.setdefault((span.image_set, span.place), []).append(span)
    sets = []
    for row in matrix.rows:
        rows: list[NameRow] = []
        for column, head in enumerate(matrix.heads):
            own = by_place.get((row.image_set, head.place), [])
            if not own and row.cells[column].state == "none":
                continue
            steps = [
                Step(image_id=span.image_id, since=span.since, until=span.until, baseline=span.baseline) for span in own
            ]
            rows.append(
                NameRow(
                    place=head.place,
                    is_first=not rows or rows[-1].place.region != head.place.region,
                    matrix_row=row,
                    column=column,
                    segments=segments_of(own, gaps.get(head.place, ()), axis, words, held),
                    steps=steps[-MOST_IDS:],
                    more_steps=max(0, len(steps) - MOST_IDS),
                )
            )
        sets.append(NameSet(image_set=row.image_set, rows=rows))
    return sets


def segments_of(
    spans: Sequence[ListedSpan],
    gaps: Sequence[Gap],
    axis: Axis,
    words: Wording,
    held: Mapping[tuple[RegionZone, ImageKey], Sequence[Gap]] = MappingProxyType({}),
) -> list[Segment]:
    """
    Return the bar of a name in a zone: its images by turns, the oldest below, and over them what is not known.

    What is not known of one image (*held*) lies over it alone.
    """
    segments = []
    of_zone = clip(gaps, axis.begin, axis.end)
    drawn = frozenset(of_zone)
    for number, span in enumerate(spans):
        if (span.until is not None and span.until <= axis.begin) or span.since > axis.end:
            continue
        told = {"id": plain(span.image_id), "since": words.at(span.since)}
        title = (
            words("span_open", **told)
            if span.until is None
            else words("span_title", until=words.at(span.until), **told)
        )
        segments.append(Segment("ab"[number % 2], span.since, span.until or axis.end, title))
        own = held.get((span.place, ImageKey(span.image_set, span.image_id)), ())
        own = clip(own, max(span.since, axis.begin), min(span.until or axis.end, axis.end))
        segments += _unknown((gap for gap in own if gap not in drawn), axis, words)
    return [*segments, *_unknown(of_zone, axis, words)]


def _unknown(gaps: Iterable[Gap], axis: Axis, words: Wording) -> Iterator[Segment]:
    for gap in gaps:
        if gap.reason == "never_observed":
            continue  # a bar that has not begun yet says so itself
        told = {"reason": words.reason(gap.reason), "since": words.at(gap.unknown_from)}
        end = gap.unknown_to
        is_open = end is None or end >= min(axis.end, END_OF_TIME)
        title = words("gap_open", **told) if is_open or end is None else words("gap_title", until=words.at(end), **told)
        yield Segment("u", gap.unknown_from, end or axis.end, title)


def snippets(name: str, image: Listed, kind: Kind, words: Wording) -> list[Snippet]:
    """Return what to write where, to use an *image* of a name and *kind* in its zone."""
    zone, image_id = plain(image.place.zone), plain(image.image_id)
    asked = [] if kind is UK8S_IMAGE else ["--kind", kind.name]
    asked += ["--zone", zone, "--name", plain(name)]
    is_default = image.image_set == kind.default_set
    asked += [] if is_default else ["--image-set", plain(image.image_set)]
    call = f"crawler resolve {' '.join(map(_in_shell, asked))}"
    program = ", ".join(map(_in_hcl, ("crawler", "resolve", *asked, "-o", "terraform")))
    found = [
        Snippet(title=words("use_id"), text=image_id),
        Snippet(title=words("use_shell"), text=call),
        Snippet(
            title=words(_TERRAFORM[kind.name][0]),
            text=f'data "external" "image" {{\n  program = [{program}]\n}}\n'
            f"# {_TERRAFORM[kind.name][1]}image_id = data.external.image.result.image_id",
        ),
    ]
    packer = f"{call} -o packer > image.auto.pkrvars.json"
    if kind is UK8S_IMAGE:
        found.append(Snippet(title=words("use_packer"), text=packer))
    elif kind is UHOST_IMAGE:
        found += [
            Snippet(title=words("use_packer_uhost"), text=f"{packer}\n# source_image_id = var.image_id"),
            Snippet(title=words("use_cli_uhost"), text=f'ucloud uhost create --image-id "$({call})"'),
        ]
    if kind is UK8S_IMAGE and is_default:  # the feeds are of these
        line = f'# ucloud-image: {zone_part(image.place.zone)}/{slug(name)}\nimage_id = "{image_id}"'
        found.append(Snippet(title=words("use_renovate"), text=line))
    return found


#: Of each kind how Terraform's snippet is called, and the resource that has the id where it is one alone.
_TERRAFORM: Mapping[str, tuple[str, str]] = {
    UK8S_IMAGE.name: ("use_terraform", ""),
    UHOST_IMAGE.name: ("use_terraform_uhost", "ucloud_instance: "),
    PHOST_IMAGE.name: ("use_terraform_phost", "ucloud_baremetal_instance: "),
}


def _in_shell(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def _in_hcl(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'
