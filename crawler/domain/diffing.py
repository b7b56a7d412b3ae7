"""
Previous and present snapshot in, differences out: what is new, absent, modified or learned.

Nothing is believed here yet. A field that an answer does not state keeps its last known value and is no change; a value
learned later fills the open interval; only a known value that became a different known value is a modification. Of a
field that is not compared the value is taken with what makes a difference. Lists are compared as sets (the reader has
sorted them).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Any

from crawler.domain.kinds import BOOTABLE
from crawler.domain.models import (
    UNSTATED_SET,
    Attributes,
    Differences,
    ImageKey,
    KnownState,
    Snapshot,
    fold_keys,
    normalise_name,
)

#: Fields of one image that nobody declared and that are kept; of more, those that its last answer states.
MAX_EXTRA = 1_000


def compare(known: KnownState, snapshot: Snapshot, *, uncompared: Collection[str] = ()) -> Differences:
    """Compare what was *known* of a target with its new *snapshot*; fields in *uncompared* never make a change."""
    called = _known_spelling(known, {key.image_set for key in (*snapshot.images, *snapshot.foreign)})
    listed = {called(key): stated for key, stated in snapshot.images.items()} if called else snapshot.images
    foreign = set(map(called, snapshot.foreign)) if called else snapshot.foreign
    images = _with_stated_sets(known.images, listed)
    new = tuple(sorted(listed.keys() - images.keys()))
    absent = tuple(sorted(images.keys() - listed.keys() - foreign))
    modified: dict[ImageKey, dict[str, list[Any]]] = {}
    filled: list[ImageKey] = []
    merged = dict(listed)

    learned_sets = images.keys() - known.images.keys()
    for key in sorted({*_differing(images, listed), *learned_sets}):
        merged[key], fields, learned = _merge(images[key], listed[key], uncompared)
        if fields:
            modified[key] = fields
        elif learned or key in learned_sets:
            filled.append(key)

    return Differences(
        new=new,
        absent=absent,
        modified=modified,
        filled=tuple(filled),
        merged=merged,
        counterparts=counterparts(images, merged, of=(*new, *absent)),
    )


def _differing(known: Mapping[ImageKey, Attributes], listed: Mapping[ImageKey, Attributes]) -> Iterator[ImageKey]:
    for key, stated in listed.items():
        before = known.get(key, stated)
        # what many targets share is one object, and not compared field by field
        if before is not stated and before != stated:
            yield key


def _merge(
    before: Attributes, stated: Attributes, uncompared: Collection[str]
) -> tuple[dict[str, Any], dict[str, list[Any]], bool]:
    """Put what was *stated* on top of what was known *before*; give both merged, what differs, and if any is new."""
    declared = {name: value for name, value in stated.items() if name != "extra"}
    after, fields, learned = _merge_fields(before, declared, uncompared)
    if "extra" in stated:
        after["extra"], more, learned_more = _merge_extra(before.get("extra", {}), stated["extra"])
        return after, fields | more, learned or learned_more
    return after, fields, learned


def _merge_fields(
    before: Attributes, stated: Attributes, uncompared: Collection[str]
) -> tuple[dict[str, Any], dict[str, list[Any]], bool]:
    """Do the same with fields that hold values, whatever they are called."""
    after: dict[str, Any] = dict(before)
    fields: dict[str, list[Any]] = {}
    learned = False
    for name, value in stated.items():
        if name not in before:
            after[name] = value
            learned = True
        elif value != before[name] and name in uncompared:
            after[name] = value  # no change by itself, and part of what another change leads to
        elif value != before[name] and fold_keys(value) != fold_keys(before[name]):
            fields[name] = [before[name], value]
            after[name] = value
    return after, fields, learned


def _merge_extra(before: Attributes, stated: Attributes) -> tuple[Attributes, dict[str, list[Any]], bool]:
    """Merge the fields nobody declared, by name without case; they are reported as `extra.Name`."""
    spelling = {name.casefold(): name for name in before}
    renamed = {spelling.get(name.casefold(), name): value for name, value in stated.items()}
    after, fields, learned = _merge_fields(before, renamed, ())
    if len(after) > MAX_EXTRA:  # a cloud that makes up names would have them grow from run to run
        after = renamed
    return after, {f"extra.{name}": change for name, change in fields.items()}, learned


def _known_spelling(known: KnownState, stated: Set[str]) -> Callable[[ImageKey], ImageKey] | None:
    """
    Return what gives an image of the *stated* sets the set name that the history uses; None: each has that already.

    It differs for a set that came back in another case, and for an image that states no set now and did before, when it
    was here last if it is not now.
    """
    known_sets = {key.image_set for key in known.images}
    if stated <= known_sets - {UNSTATED_SET}:
        return None
    seen = sorted({key.image_set for key in known.withdrawn_before})
    spelling = {name.casefold(): name for name in (*seen, *known_sets)}
    of_ids: dict[str, list[str]] = {}
    for key in known.images:
        of_ids.setdefault(key.image_id, []).append(key.image_set)
    gone: dict[str, list[str]] = {}
    for key in known.withdrawn_before:
        if key.image_set != UNSTATED_SET:
            gone.setdefault(key.image_id, []).append(key.image_set)

    def called(key: ImageKey) -> ImageKey:
        stated_before = of_ids.get(key.image_id) or gone.get(key.image_id, [])
        if key.image_set == UNSTATED_SET and len(stated_before) == 1:
            return ImageKey(stated_before[0], key.image_id)
        return ImageKey(spelling.get(key.image_set.casefold(), key.image_set), key.image_id)

    return called


def _with_stated_sets(
    known: Mapping[ImageKey, Attributes], listed: Mapping[ImageKey, Attributes]
) -> Mapping[ImageKey, Attributes]:
    """Return the *known* images, each that stated no set under one in which it is *listed* now, if it is in any."""
    without = {key.image_id: key for key in known if key.image_set == UNSTATED_SET and key not in listed}
    if not without:
        return known
    stated = {
        key.image_id: key for key in sorted(listed.keys() - known.keys(), reverse=True) if key.image_id in without
    }
    learned = {without[image_id]: key for image_id, key in stated.items()}
    return {learned.get(key, key): attributes for key, attributes in known.items()}


def counterparts(
    before: Mapping[ImageKey, Attributes], after: Mapping[ImageKey, Attributes], *, of: Iterable[ImageKey]
) -> dict[ImageKey, ImageKey]:
    """
    Return each image *of* these the other of its set and normalised name, where exactly two are, or were until now,
    open.

    This is how UCloud ships updates: a new id under the old name (hk-02, 2024-01-12: `uimage-vareox` became
    `uimage-rccvz4l9itr`; UCloudDoc-Team/uk8s@87b6f62 administercluster/custom_image.md). One that is open, and
    cannot be used as its state says, is no counterpart.
    """

    groups: dict[tuple[str, str], list[ImageKey]] = {
        (key.image_set, name): [] for key in of if (name := _name_key(key, before, after))
    }
    sets = {image_set for image_set, _ in groups}
    for key in (*after, *(before.keys() - after.keys())):
        if key.image_set in sets:
            members = groups.get((key.image_set, _name_key(key, before, after)))
            if members is not None:
                members.append(key)
    pairs: dict[ImageKey, ImageKey] = {}
    for members in groups.values():
        if len(members) == 2 and not any(after.get(key, {}).get(BOOTABLE) is False for key in members):
            pairs[members[0]], pairs[members[1]] = members[1], members[0]
    return pairs


def _name_key(key: ImageKey, before: Mapping[ImageKey, Attributes], after: Mapping[ImageKey, Attributes]) -> str:
    """Return the normalised name that an image has, or had; nothing where none was stated."""
    name = (after.get(key) or before.get(key) or {}).get("image_name")
    return normalise_name(name) if isinstance(name, str) else ""
