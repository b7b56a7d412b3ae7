"""
The image id to use now, from the history.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from crawler.db.filters import known_words, meant_name
from crawler.domain.filters import NOT, Filters, known_name, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.models import normalise_name, require_aware
from crawler.domain.rows import ImageRow, StatusRow
from crawler.errors import Ambiguous, CrawlerError, EmptySelection, NoAnswer, Revoked, UnknownKnowledge
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.freshness import chosen_at
from crawler.queries.resolve import Resolved
from crawler.queries.resolve import resolve as choose
from crawler.queries.revoke import revoked_ids

#: Variants that a refusal names.
_NAMED_VARIANTS = 4


def resolve(
    conn: Connection,
    name: str,
    filters: Filters,
    *,
    gpu: bool = False,
    now: datetime,
    stale_after: timedelta,
    max_age: timedelta | None = None,
    min_age: timedelta = timedelta(0),
    timezone: tzinfo = UTC,
) -> tuple[Resolved, StatusRow]:
    """
    Return the image called *name* to use now at the one place that *filters* want, and how that place is.

    From UK8S images, their `ImageSet` and the default variant unless *filters* tell otherwise; of other kinds nothing
    that cannot be booted. Raises EmptySelection where there is no such place, NoAnswer, Ambiguous and UnknownKnowledge
    as `queries.resolve` does, ValueError for a time without a time zone; *max_age* is *stale_after* by default. A
    refusal tells times in *timezone*.
    """
    place = _place(filters)
    chosen, known = chosen_at(conn, place.of_images(), require_aware(now))
    if not chosen:
        variants = {
            row.target.variant
            for row in queries_status.status(conn, replace(place.of_images(), variant=filters.variant), now=now)
        }
        hint = f" It is asked with the variant {', '.join(sorted(variants))}." if variants else ""
        parts = ("account", "project", "region", "zone", "kind", "variant")
        words = " ".join(f"--{part} {' '.join(globs)}" for part in parts if (globs := getattr(place, part)))
        raise EmptySelection(f"No target fits {words}.{hint}")
    wanted = replace(place.of_images(), image_set=filters.image_set or _default_sets(filters))
    status = queries_status.status_of(conn, chosen, known)
    listed = queries_images.images_of(conn, chosen, known, now, wanted, stale_after=stale_after, include_retired=True)
    images = list(listed)
    longest = stale_after if max_age is None else max_age
    if normalise_name(name) not in {normalise_name(image.image_name) for image in images}:
        name = meant_name(conn, name, wanted.kind)
    try:
        found = choose(
            status, images, name, gpu=gpu, now=now, max_age=longest, min_age=min_age,
            revoked=revoked_ids(conn), timezone=timezone,
        )  # fmt: skip
    except NoAnswer as exc:
        called = replace(wanted, variant=filters.variant, name=(name,))
        others = queries_images.images(conn, None, called, now=now, stale_after=stale_after)
        listing = {image.target.variant for image in others if image.target.variant not in wanted.variant}
        if filters.variant or not listing or isinstance(exc, Revoked):
            raise
        more = f" and {len(listing) - _NAMED_VARIANTS} more" if len(listing) > _NAMED_VARIANTS else ""
        told = ", ".join(sorted(listing)[:_NAMED_VARIANTS]) + more
        raise NoAnswer(f"{exc} Variants that list one: {told}; choose with --variant.") from None
    return found, next(row for row in status if row.target == found.target)


def resolve_all(
    conn: Connection,
    filters: Filters,
    wanted: Sequence[tuple[str, str]],
    *,
    now: datetime,
    stale_after: timedelta,
    max_age: timedelta | None = None,
    min_age: timedelta = timedelta(0),
    gpu: bool = False,
    timezone: tzinfo = UTC,
) -> list[tuple[Resolved, StatusRow] | CrawlerError]:
    """Return for each zone and name in *wanted* what `resolve` returns or raises, by a few statements for all."""
    filters = filters.of_images()
    known = known_words(conn, "name", filters.kind)
    meant = [(zone, known_name(name, known)) for zone, name in wanted]
    place = replace(_place(filters), zone=_any_of(zone for zone, _ in meant))
    called = replace(
        place, image_set=filters.image_set or _default_sets(filters), name=_any_of(name for _, name in meant)
    )
    chosen, seen = chosen_at(conn, place, require_aware(now))
    status: dict[str, list[StatusRow]] = {}
    for row in queries_status.status_of(conn, chosen, seen):
        status.setdefault(row.target.zone, []).append(row)
    images: dict[str, list[ImageRow]] = {}
    for image in queries_images.images_of(
        conn, chosen, seen, now, called, stale_after=stale_after, include_retired=True
    ):
        images.setdefault(image.target.zone, []).append(image)
    longest = stale_after if max_age is None else max_age
    revoked = revoked_ids(conn)

    def answer(zone: str, name: str) -> tuple[Resolved, StatusRow] | CrawlerError:
        zones = [own for own in status if part_fits("zone", own, [zone])]
        if not zones:
            return EmptySelection(f"No target fits --zone {zone}.")
        asked = [row for own in zones for row in status[own]]
        listed = (image for own in zones for image in images.get(own, ()))
        try:
            found = choose(
                asked, listed, name, gpu=gpu, now=now, max_age=longest, min_age=min_age, revoked=revoked,
                timezone=timezone,
            )  # fmt: skip
        except (Ambiguous, NoAnswer, UnknownKnowledge) as exc:
            return exc
        return found, next(row for row in asked if row.target == found.target)

    return [answer(*one) for one in meant]


def _any_of(words: Iterable[str]) -> tuple[str, ...]:
    """Return globs that fit what any of *words* does: one that leaves something out leaves it out for itself alone."""
    globs = tuple(sorted(set(words)))
    return () if any(glob.startswith(NOT) for glob in globs) else globs


def _default_sets(filters: Filters) -> tuple[str, ...]:
    """Return the sets that the kinds' images come from where nothing else is said."""
    kinds = filters.of_images().kind
    sets = [kind.default_set for kind in KINDS.values() if kind.default_set and part_fits("kind", kind.name, kinds)]
    return tuple(dict.fromkeys(sets)) or ("*",)


def _place(filters: Filters) -> Filters:
    return replace(filters, variant=filters.variant or ("default",), image_set=(), name=(), image_id=())
