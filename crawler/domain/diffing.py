"""
Previous and present snapshot in, differences out: what is new, absent, modified or learned.

Nothing is believed here yet. A field that an answer does not state keeps its last known value and is no change; a value
learned later fills the open interval; only a known value that became a different known value is a modification. Lists
are compared as sets (the reader has sorted them).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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
    listed = _with_known_spelling(known.images, snapshot.images)
    new = tuple(sorted(listed.keys() - known.images.keys()))
    absent = tuple(sorted(known.images.keys() - listed.keys() - snapshot.foreign))
    modified: dict[ImageKey, dict[str, list[Any]]] = {}
    filled: list[ImageKey] = []
    merged = dict(listed)

    for key in sorted(_differing(known.images, listed)):
        merged[key], fields, learned = _merge(known.images[key], listed[key], uncompared)
        if fields:
            modified[key] = fields
        elif learned:
            filled.append(key)

    return Differences(
        new=new,
        absent=absent,
        modified=modified,
        filled=tuple(filled),
        merged=merged,
        counterparts=counterparts(known.images, merged, of=(*new, *absent)),
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
        elif value != before[name] and name not in uncompared and fold_keys(value) != fold_keys(before[name]):
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


def _with_known_spelling(
    known: Mapping[ImageKey, Attributes], listed: Mapping[ImageKey, Attributes]
) -> Mapping[ImageKey, Attributes]:
    """
    Return *listed* with the set names that the history uses: for a set that came back in another case, and for an image
    that states no set now and did before.
    """
    known_sets = {key.image_set for key in known}
    if {key.image_set for key in listed} <= known_sets - {UNSTATED_SET}:
        return listed
    spelling = {name.casefold(): name for name in known_sets}
    of_ids: dict[str, list[str]] = {}
    for key in known:
        of_ids.setdefault(key.image_id, []).append(key.image_set)

    def known_set(key: ImageKey) -> str:
        stated_before = of_ids.get(key.image_id, [])
        if key.image_set == UNSTATED_SET and len(stated_before) == 1:
            return stated_before[0]
        return spelling.get(key.image_set.casefold(), key.image_set)

    return {ImageKey(known_set(key), key.image_id): attributes for key, attributes in listed.items()}


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
