"""
What readers, reports and check rules select by: globs for the parts of a target and of an image, and the one matcher.

Pure. `crawler.db.filters` makes SQL of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Self

from crawler.domain.models import DEFAULT_KIND, Target, normalise_name

TARGET_PARTS = Target._fields
IMAGE_PARTS = ("image_set", "name", "image_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """
    Globs; an empty tuple wants everything, one behind `!` leaves out what fits it. A project is matched by its id or
    its name.
    """

    account: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    zone: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    image_set: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    image_id: tuple[str, ...] = ()

    @property
    def is_all_images(self) -> bool:
        """Return whether no image is left out."""
        return not (self.image_set or self.name or self.image_id)

    @property
    def is_all(self) -> bool:
        """Return whether nothing is left out."""
        return not self.given()

    def given(self, parts: Iterable[str] = (*TARGET_PARTS, *IMAGE_PARTS)) -> dict[str, tuple[str, ...]]:
        """Return those of the *parts* that leave something out, with their globs."""
        return {part: globs for part in parts if (globs := getattr(self, part))}

    def of_images(self) -> Self:
        """Return the same about UK8S images, unless a kind is named."""
        return self if self.kind else replace(self, kind=(DEFAULT_KIND,))

    def wants(self, target: Target, project_name: str = "") -> bool:
        """Return whether *target* is wanted, whose project may also be meant by its name."""
        return all(
            any_fits(
                part, (getattr(target, part), *([project_name] if part == "project" and project_name else [])), globs
            )
            for part, globs in self.given(TARGET_PARTS).items()
        )

    def wants_image(self, image_set: str | None, image_id: str | None, image_name: str | None) -> bool:
        """Return whether an image is wanted; None (a change of a target as such) fits no filter of images."""
        if self.is_all_images:
            return True
        stated = {"image_set": image_set, "name": image_name, "image_id": image_id}
        return all(
            (word := stated[part]) is not None and part_fits(part, word, globs)
            for part, globs in self.given(IMAGE_PARTS).items()
        )

    def wants_name(self, name: str) -> bool:
        """Return whether images of this *name* are wanted."""
        return not self.name or part_fits("name", name, self.name)


#: Wants everything.
EVERYTHING = Filters()

#: Before a glob: what fits it is left out.
NOT = "!"
#: Parts of a target, and GPU types, that are the same in any case.
_CASE_BLIND = frozenset({"project", "region", "zone", "gpu_type"})


def part_fits(part: str, word: str, globs: Collection[str]) -> bool:
    """
    Return whether *word*, the *part* of a target (`zone`) or of an image, is one of *globs* or fits one.

    Names fit as `name_fits` says; of the other parts projects, regions and zones are the same in any case. What fits a
    glob behind `!` is left out; where there is no other glob, all else is meant.
    """
    return any_fits(part, (word,), globs)


def any_fits(part: str, words: Collection[str], globs: Collection[str]) -> bool:
    """Return whether one of the *words* by which a thing is called fits *globs*, and none a glob that leaves out."""
    meant, left_out = _parted(part, tuple(globs))
    return any(meant.fits(word) for word in words) and not (left_out and any(left_out.fits(word) for word in words))


@dataclass(frozen=True, slots=True)
class _Globs:
    """Globs of one part, made ready: a row of thousands is asked about each."""

    part: str
    #: Every word, which a glob may be too: brackets stand in names.
    plain: frozenset[str]
    globs: tuple[str, ...]

    @classmethod
    def of(cls, part: str, globs: Collection[str]) -> Self:
        if part == "name":  # which are compared normalised
            return cls(part, frozenset(), tuple(globs))
        every = {glob.casefold() if part in _CASE_BLIND else glob for glob in globs}
        return cls(part, frozenset(every), tuple(filter(is_glob, every)))

    def fits(self, word: str) -> bool:
        if self.part == "name":
            return any(name_fits(word, glob) for glob in self.globs)
        if self.part in _CASE_BLIND:
            word = word.casefold()
        return word in self.plain or any(fnmatchcase(word, glob) for glob in self.globs)


@lru_cache(maxsize=256)
def _parted(part: str, globs: tuple[str, ...]) -> tuple[_Globs, _Globs | None]:
    """Return what *globs* mean, and what they leave out; where there are none but of these, all else is meant."""
    leaving_out = [named_by(glob) for glob in globs if glob.startswith(NOT)]
    if not leaving_out:
        return _Globs.of(part, globs), None
    meaning = [glob for glob in globs if not glob.startswith(NOT)] or ["*"]
    return _Globs.of(part, meaning), _Globs.of(part, leaving_out)


@lru_cache(maxsize=4096)
def name_fits(name: str, wanted: str) -> bool:
    """Return whether an image's *name* is the *wanted* one: the same when normalised, or fitting it as a glob."""
    key = normalise_name(name)
    if key and key == normalise_name(wanted):
        return True
    glob = wanted.casefold()
    return fnmatchcase(name.casefold(), glob) or fnmatchcase(key, glob)


def known_name(wanted: str, names: Iterable[str]) -> str:
    """
    Return the one of *names*, normalised, that *wanted* is but for its spaces: `ubuntu20.04` is "Ubuntu 20.04".

    *wanted* itself is returned where it is one of the names or a glob, and where no name or several fit.
    """
    key = normalise_name(wanted)
    keys = {normalise_name(name) for name in names}
    if key in keys or is_glob(wanted):
        return wanted
    fitting = {known for known in keys if known and known.replace(" ", "") == key.replace(" ", "")}
    return fitting.pop() if len(fitting) == 1 else wanted


def is_glob(text: str) -> bool:
    """Return whether *text* may fit anything but itself."""
    return text.startswith(NOT) or any(character in text for character in "*?[")


def named_by(glob: str) -> str:
    """Return the words of a glob, without what says that they are left out."""
    return glob.removeprefix(NOT)
