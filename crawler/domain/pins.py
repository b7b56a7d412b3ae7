"""
How an image id that somebody depends on stands at one target: the state machine of `check` and of mails. Pure.

An id that is open there is in doubt while its images are unknown, cannot be used for the state that the cloud gives it,
lost its GPU support, is superseded, or is ok. One that is not any more was re-issued (its successor is open), has
several successors that came together, or is missing. What cannot be used succeeds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crawler.domain.models import Target, normalise_name
from crawler.domain.reissues import newest, successors, the_one
from crawler.domain.rows import ImageRow, Stay

#: `unknown`: it is open as last known, and `PinStanding.image.reason` says why nobody knows now.
PinnedState = Literal[
    "ok", "superseded", "gpu-lost", "gpu-unknown", "unusable", "unknown", "re-issued", "ambiguous", "missing",
    "never-seen",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PinStanding:
    """How an image id stands at one target."""

    state: PinnedState
    #: The id that takes its place, or several that came together; none where none does.
    successors: tuple[str, ...] = ()
    #: Where it is open.
    image: ImageRow | None = None
    #: The last stay of one that is not open any more.
    stay: Stay | None = None
    #: It supported GPU once, as far as the stays say.
    had_gpu: bool = False

    @property
    def successor(self) -> str | None:
        """Return the id to change to; None where there is none, or nothing tells which."""
        return the_one(self.successors)

    @property
    def name(self) -> str:
        """Return the image's name as last known, empty where none was stated."""
        last = self.image or self.stay
        return last.image_name if last else ""


class PinnedImages:
    """The open images of some targets, and the stays of pinned ids, found without looking at the others."""

    def __init__(self, images: Iterable[ImageRow]) -> None:
        """*images*: all that are open at the targets."""
        self.open: dict[str, dict[Target, ImageRow]] = {}
        self.stays: dict[str, dict[Target, list[Stay]]] = {}
        named: dict[tuple[Target, str, str], list[ImageRow]] = {}
        for image in images:
            rows = self.open.setdefault(image.image_id, {})
            # several sets may list it: where it is surely there counts
            known = rows.get(image.target)
            if known is None or known.state != "present":
                rows[image.target] = image
            name = normalise_name(image.image_name)
            if name and not image.unusable:  # one of blanks is none
                named.setdefault((image.target, image.image_set, name), []).append(image)
        self._latest: Mapping[tuple[Target, str, str], Sequence[ImageRow]] = {
            key: newest(rows) for key, rows in named.items()
        }

    def learn(self, stays: Iterable[Stay]) -> None:
        """Add the *stays* of pinned ids."""
        for stay in stays:
            self.stays.setdefault(stay.image_id, {}).setdefault(stay.target, []).append(stay)

    def standing(self, target: Target, image_id: str, *, gpu: bool | None = None) -> PinStanding:
        """
        Return how *image_id* stands at *target*, as last known.

        *gpu*: True: it must support GPU; None: it must not have lost it; False: no matter.
        """
        image = self.open.get(image_id, {}).get(target)
        stays = self.stays.get(image_id, {}).get(target, ())
        if image is None:
            return (
                self._gone(max(stays, key=lambda stay: stay.valid_from)) if stays else PinStanding(state="never-seen")
            )
        had_gpu = any(stay.attributes.get("gpu") is True for stay in stays)
        heirs = self._successors(image)
        state: PinnedState = "superseded" if heirs else "ok"
        has_gpu = image.attributes.get("gpu")
        if image.state != "present":
            state, heirs = "unknown", ()
        elif image.unusable:
            state = "unusable"
        elif has_gpu is False and (gpu or (gpu is None and had_gpu)):
            state = "gpu-lost"
        elif has_gpu is None and gpu:
            state = "gpu-unknown"
        return PinStanding(state=state, successors=heirs, image=image, had_gpu=had_gpu)

    def _gone(self, stay: Stay) -> PinStanding:
        heirs = self._successors(stay)
        state: PinnedState = "missing" if not heirs else "re-issued" if len(heirs) == 1 else "ambiguous"
        return PinStanding(state=state, successors=heirs, stay=stay)

    def _successors(self, last: ImageRow | Stay) -> tuple[str, ...]:
        key = (last.target, last.image_set, normalise_name(last.image_name))
        return successors(last.present_since, self._latest.get(key, ()))
