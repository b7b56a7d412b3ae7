"""
The one image id to use now: of the images that the last good observation listed under a name, the one that came last.

Rather no answer than a doubtful one: never an id on hold, never from knowledge that is too old, never one of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from crawler.domain.filters import name_fits
from crawler.domain.models import Target, iso_utc, normalise_name
from crawler.domain.reissues import newest
from crawler.domain.rows import ImageRow, StatusRow
from crawler.domain.staleness import is_stale
from crawler.domain.timefmt import show_duration, tell_moment
from crawler.errors import Ambiguous, CrawlerError, NoAnswer, Revoked, UnknownKnowledge

#: Parts of a target in the order in which a person is asked to choose.
_PARTS = ("project", "account", "variant", "kind", "region", "zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The image to use, where, and when that was seen last."""

    image_id: str
    image_name: str
    target: Target
    observed_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of `resolve`."""
        return {
            "image_id": self.image_id,
            "image_name": self.image_name,
            "region": self.target.region,
            "zone": self.target.zone,
            "observed_at": iso_utc(self.observed_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is wanted of a target."""

    name: str
    gpu: bool
    now: datetime
    max_age: timedelta
    #: How long an image must have been there.
    min_age: timedelta
    revoked: Mapping[str, str]
    #: In which sentences tell times.
    timezone: tzinfo


def resolve(
    status: Sequence[StatusRow],
    images: Iterable[ImageRow],
    name: str,
    *,
    gpu: bool = False,
    now: datetime,
    max_age: timedelta,
    min_age: timedelta = timedelta(0),
    revoked: Mapping[str, str] = MappingProxyType({}),
    timezone: tzinfo = UTC,
) -> Resolved:
    """
    Return the image called *name* to use now, of the *images* open at the targets whose *status* is given.

    With *gpu*, only images that support GPU; with *min_age*, only those that have been there that long without a break;
    never one whose state says that it cannot be used. *revoked* ids have the reason why. Raises NoAnswer when there is
    none to use, Revoked when the one is revoked, Ambiguous when nothing tells which, UnknownKnowledge when the last
    good observation is older than *max_age* or cannot tell; their sentences tell times in *timezone*.
    """
    zones = sorted({row.target.zone for row in status})
    if len({zone.casefold() for zone in zones}) > 1:
        raise Ambiguous(f"Several zones fit: {', '.join(zones)}; ids differ per zone, so give one with --zone.")
    question = _Question(
        name=name, gpu=gpu, now=now, max_age=max_age, min_age=min_age, revoked=revoked, timezone=timezone
    )
    at_target: dict[Target, list[ImageRow]] = {}
    not_to_use: dict[Target, list[ImageRow]] = {}
    for image in images:
        (not_to_use if image.unusable else at_target).setdefault(image.target, []).append(image)
    answers: dict[Target, ImageRow] = {}
    refusals: dict[Target, CrawlerError] = {}
    for row in [row for row in status if not row.is_absent] or status:
        try:
            here = at_target.get(row.target, []), not_to_use.get(row.target, [])
            answers[row.target] = _at_target(row, *here, question)
        except (Ambiguous, NoAnswer, UnknownKnowledge) as exc:  # or Revoked, which is one of them
            refusals[row.target] = exc
    _refuse_several(answers, name)
    if answers:
        _refuse_doubt(answers, refusals, at_target, name)
        best = max(answers.values(), key=lambda image: image.observed_at or image.valid_from)
        assert best.observed_at is not None  # noqa: S101 - one that nobody observed by now is refused above
        return Resolved(
            image_id=best.image_id, image_name=best.image_name, target=best.target, observed_at=best.observed_at
        )
    for kind in (Revoked, Ambiguous, UnknownKnowledge, NoAnswer):
        of_kind = [exc for exc in refusals.values() if type(exc) is kind]
        if of_kind:
            raise of_kind[0]
    raise UnknownKnowledge(f"No target was ever asked that could tell about {name!r}.")


def _at_target(
    status: StatusRow, images: Sequence[ImageRow], not_to_use: Sequence[ImageRow], question: _Question
) -> ImageRow:
    zone, name = status.target.zone, question.name
    if status.is_absent:
        since = tell_moment(status.since, question.timezone) if status.since else "an unknown time"
        raise UnknownKnowledge(f"{zone} is asked no more: it is {status.outcome} since {since}.")
    if status.last_ok_at is None:
        why = f": {status.message}" if status.message else ""
        raise UnknownKnowledge(f"{zone} was never observed well{why}.")
    seen_at = tell_moment(status.last_ok_at, question.timezone)
    if is_stale(status.last_ok_at, question.now, question.max_age):
        raise UnknownKnowledge(
            f"{zone} was last observed well at {seen_at}, "
            f"longer ago than {show_duration(question.max_age)}; run `crawler run`, or allow more with --max-age."
        )
    called = _called(images, name, zone)
    fitting = [image for image in called if not question.gpu or image.attributes.get("gpu") is True]
    if not fitting:
        raise _none(called, images, not_to_use, name, zone, seen_at)
    grown = [image for image in fitting if question.now - image.present_since >= question.min_age]
    if not grown:
        came = tell_moment(newest(fitting)[-1].present_since, question.timezone)
        raise NoAnswer(
            f"No image called {name!r} has been in {zone} for {show_duration(question.min_age)}: "
            f"{newest(fitting)[-1].image_id} came at {came}."
        )
    image = _last(grown, name, zone)
    if image.image_id in question.revoked:
        raise Revoked(f"{image.image_id} ({image.image_name}) is revoked: {question.revoked[image.image_id]}.")
    return image


def _called(images: Sequence[ImageRow], name: str, zone: str) -> list[ImageRow]:
    """Return the images of that name, or fitting it as a glob where none has it."""
    key = normalise_name(name)
    exact = [image for image in images if normalise_name(image.image_name) == key]
    if exact:
        return exact
    fitting = [image for image in images if name_fits(image.image_name, name)]
    names = {normalise_name(image.image_name): image.image_name for image in fitting}
    if len(names) > 1:
        raise Ambiguous(f"{name!r} fits several image names in {zone}: {', '.join(sorted(names.values()))}; give one.")
    return fitting


def _none(
    called: Sequence[ImageRow],
    images: Sequence[ImageRow],
    not_to_use: Sequence[ImageRow],
    name: str,
    zone: str,
    seen_at: str,
) -> CrawlerError:
    if any("gpu" not in image.attributes for image in called):
        return UnknownKnowledge(f"The cloud does not state whether {name!r} in {zone} supports GPU.")
    if called:
        ids = ", ".join(sorted({image.image_id for image in called}))
        return NoAnswer(f"No image called {name!r} in {zone} supports GPU ({ids} does not).")
    listed = {f"{image.image_id} ({image.unusable})" for image in not_to_use if name_fits(image.image_name, name)}
    if listed:
        return NoAnswer(f"No image called {name!r} in {zone} can be used: {', '.join(sorted(listed))}.")
    by_fold = {image.image_name.casefold(): image.image_name for image in images if image.image_name}
    near = [by_fold[match] for match in get_close_matches(name.casefold(), by_fold)]
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    return NoAnswer(f"No image called {name!r} was listed in {zone} at {seen_at}{hint}.")


def _last(fitting: Sequence[ImageRow], name: str, zone: str) -> ImageRow:
    latest = {image.image_id: image for image in newest(fitting)}
    if len(latest) > 1:
        raise Ambiguous(
            f"{len(latest)} images called {name!r} came to {zone} at the same time: {', '.join(latest)}; "
            "nothing tells which to use."
        )
    (image,) = latest.values()
    if image.reason == "held":
        raise UnknownKnowledge(
            f"{image.image_id} ({image.image_name}) was not listed by the last good observation of {zone}; its "
            "withdrawal is not believed yet (`crawler holds list`)."
        )
    return image


def _refuse_several(answers: Mapping[Target, ImageRow], name: str) -> None:
    if len({image.image_id for image in answers.values()}) <= 1:
        return
    part = next(part for part in _PARTS if len({getattr(target, part) for target in answers}) > 1)
    told = sorted({f"{getattr(target, part)}: {image.image_id}" for target, image in answers.items()})
    raise Ambiguous(f"{name!r} has several ids ({', '.join(told)}); choose with --{part}.")


def _refuse_doubt(
    answers: Mapping[Target, ImageRow],
    refusals: Mapping[Target, CrawlerError],
    at_target: Mapping[Target, Sequence[ImageRow]],
    name: str,
) -> None:
    """Refuse where another target may have another id: several there, or last known otherwise and unknown now."""
    (chosen,) = {image.image_id for image in answers.values()}
    for target, exc in refusals.items():
        called = [image for image in at_target.get(target, ()) if name_fits(image.image_name, name)]
        last = {image.image_id for image in newest(called)}
        if last - {chosen} and not isinstance(exc, NoAnswer):
            part = next((part for part in _PARTS if getattr(target, part) not in _values(answers, part)), "project")
            raise type(exc)(f"{str(exc).rstrip('.')} ({part} {getattr(target, part)}); choose with --{part}.")


def _values(answers: Mapping[Target, ImageRow], part: str) -> set[str]:
    return {getattr(target, part) for target in answers}
