"""
The matrix of an account with `variants = "auto"`: machine types sold in each zone × Kubernetes versions offered there.

Pure. A combination is a question about UK8S images, and a variant with a name made from its values. What is asked of it
in a run, when there is more than may be asked at once, is decided here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from math import ceil
from typing import Literal, NamedTuple

from crawler.domain.filters import part_fits
from crawler.domain.kinds.uk8s_image import UK8S_IMAGE
from crawler.domain.models import Attributes, Target, digest_of, is_storable
from crawler.domain.text import counted
from crawler.domain.timefmt import show_duration

#: The kind whose images depend on the machine.
KIND = UK8S_IMAGE.name
#: The machine type of machines with GPUs, which is asked about together with a GPU type.
GPU_MACHINES = "G"
#: Words for versions in `[accounts.matrix]`: the one before the newest, and all.
LATEST_BUT_ONE = "latest-1"
ALL_VERSIONS = "all"
#: A longer value of the cloud's makes no name.
_LONGEST_VALUE = 60
_LONGEST_NAME = 80
_PLAIN = re.compile(r"[^a-z0-9.]+")
_MINOR = re.compile(r"(\d+\.\d+)\.[0-9A-Za-z.+-]+")


class Machine(NamedTuple):
    """What is sold: a machine type, and for machines with GPUs which one."""

    machine_type: str
    gpu_type: str = ""

    def __str__(self) -> str:
        """Read as `G V100`."""
        return " ".join(filter(None, self))


class Combination(NamedTuple):
    """A combination that is asked about."""

    machine_type: str
    gpu_type: str
    version: str

    @property
    def machine(self) -> Machine:
        """Return the machine it is about."""
        return Machine(self.machine_type, self.gpu_type)

    @property
    def parameters(self) -> dict[str, str]:
        """Return the request parameters that ask it."""
        named = {"GPUType": self.gpu_type, "K8sVersion": self.version, "MachineType": self.machine_type}
        return {name: value for name, value in named.items() if value}


def question_of(parameters: Mapping[str, str]) -> Combination | None:
    """Return the question that a variant's *parameters* ask; None: they are of no matrix."""
    machine_type, version = parameters.get("MachineType"), parameters.get("K8sVersion")
    if not machine_type or not version:
        return None
    question = Combination(machine_type, parameters.get("GPUType", ""), version)
    return question if question.parameters == dict(parameters) else None


class Offer(NamedTuple):
    """What was found in one zone."""

    machines: frozenset[Machine]
    versions: frozenset[str]


#: By region and zone; a place that could not be asked is not there.
Offers = Mapping[tuple[str, str], Offer]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixChoice:
    """What the configuration wants of what is offered."""

    versions: tuple[str, ...] = (LATEST_BUT_ONE,)
    #: Globs over GPU types; machines without a GPU are always wanted.
    gpu_types: tuple[str, ...] = ("*",)
    #: Targets of UK8S images that one run asks at most, those of `default` among them.
    max_targets: int = 2000

    def wants(self, question: Combination) -> bool:
        """Return whether the question is wanted where nobody knows which versions are offered."""
        named = self.versions not in ((ALL_VERSIONS,), (LATEST_BUT_ONE,))
        return self._wants_machine(question.machine) and (
            not named or any(_is_version(question.version, word) for word in self.versions)
        )

    def questions(self, offer: Offer) -> Iterator[Combination]:
        """Yield what is wanted of an offer."""
        for version in self._versions(offer.versions):
            for machine in sorted(offer.machines):
                if self._wants_machine(machine):
                    yield Combination(*machine, version)

    def _versions(self, offered: Iterable[str]) -> Sequence[str]:
        newest_first = sorted(offered, key=version_key, reverse=True)
        if self.versions == (ALL_VERSIONS,):
            return newest_first
        if self.versions == (LATEST_BUT_ONE,):
            return newest_first[:2][-1:]
        return [version for version in newest_first if any(_is_version(version, word) for word in self.versions)]

    def _wants_machine(self, machine: Machine) -> bool:
        return not machine.gpu_type or part_fits("gpu_type", machine.gpu_type, self.gpu_types)


def version_key(version: str) -> tuple[tuple[int, ...], str]:
    """Return what versions are sorted by: their numbers, then the text."""
    return tuple(int(number) for number in re.findall(r"\d+", version)), version


def _is_version(version: str, word: str) -> bool:
    """Return whether *version* is the one that *word* names: `1.30.14` is `1.30`."""
    return version == word or version.startswith(f"{word}.")


# --- what the cloud lists --------------------------------------------------------------------------------------------


def machines_of(records: Iterable[tuple[str, Attributes]]) -> frozenset[Machine]:
    """Return the machines of records of the kind `instance-type`, by id; sold out is sold, and spot capacity too."""
    found = set()
    for record_id, record in records:
        spot = str(record.get("instance_type") or "").strip().casefold()  # as the id has it
        name = record_id.removesuffix(f"/{spot}") if spot else record_id
        parent = str(record.get("parent_type") or "")
        has_gpu = parent == GPU_MACHINES or str(record.get("machine_class")).casefold() == "gpu"
        if name == GPU_MACHINES or not (_is_value(name) and (not parent or _is_value(parent))):
            continue  # G alone is no question: the API wants a GPU type with it
        found.add(Machine(parent or GPU_MACHINES, name) if has_gpu else Machine(name))
    return frozenset(found)


def boots(parameters: Mapping[str, str], machine: Machine, version: str) -> bool:
    """Return whether a question with these *parameters* is about *machine*, and *version* where both state one."""
    stated = parameters.get("K8sVersion")
    named = Machine(parameters.get("MachineType", ""), parameters.get("GPUType", ""))
    is_version = not (stated and version) or _is_version(version, stated) or _is_version(stated, _minor(version))
    return tuple(map(str.casefold, named)) == tuple(map(str.casefold, machine)) and is_version


def _minor(version: str) -> str:
    found = _MINOR.fullmatch(version)
    return found[1] if found else version


def versions_of(record_ids: Iterable[str]) -> frozenset[str]:
    """Return the versions that the ids of records of the kind `uk8s-version` are."""
    return frozenset(filter(_is_value, record_ids))


def _is_value(text: str) -> bool:
    """Return whether a text of the cloud's may be sent as a parameter."""
    return 0 < len(text) <= _LONGEST_VALUE and text.isprintable() and text == text.strip() and is_storable(text)


# --- names -----------------------------------------------------------------------------------------------------------


def names_of(questions: Iterable[Combination], known: Mapping[str, Mapping[str, str]]) -> dict[Combination, str]:
    """
    Return the name of the variant of each of *questions*, such as `g-v100-1.30`, and of all *known* ones.

    *known*: the parameters by the names in use, which stay; a name keeps its parameters for ever. Where the short name
    means another question already, it is the whole version's, or one with a digest.
    """
    names: dict[Combination, str] = {}
    taken = dict(known)
    for name in sorted(known, key=lambda name: (len(name), name)):
        question = question_of(known[name])
        if question is not None:
            names.setdefault(question, name)
    fresh = sorted(set(questions) - names.keys(), key=lambda one: (one.machine, version_key(one.version)), reverse=True)
    for question in fresh:
        name = next(name for name in _names(question) if name not in taken)
        names[question], taken[name] = name, question.parameters
    return names


def _names(question: Combination) -> Iterator[str]:
    """Yield names for a question, the shortest first."""
    digest = digest_of(list(question))[:8]
    for version in (_minor(question.version), question.version):
        words = (_PLAIN.sub("-", word.casefold()).strip("-.") for word in (*question.machine, version))
        name = "-".join(filter(None, words))
        if 0 < len(name) <= _LONGEST_NAME:
            yield name
    yield f"matrix-{digest}"
    yield from (f"matrix-{digest}-{number}" for number in count(2))


def told_variants(variants: Iterable[str], among: Iterable[str]) -> tuple[str, ...]:
    """
    Return *variants* in few words, where *among* are all there are: `g-v100-*` stands for that machine with every
    version, `*-1.26` for that version on every machine.
    """
    left, everything = set(variants), set(among)
    told: list[str] = []
    for pattern, members in _families(everything):
        if len(members) > 1 and members <= left:
            told.append(pattern)
            left -= members
    return (*sorted(left), *sorted(told))


def is_of_matrix(variant: str) -> bool:
    """Return whether a variant is called as those of a matrix are, by a machine and a version."""
    machine, dash, version = variant.rpartition("-")
    return bool(machine and dash) and version[:1].isdecimal() and "." in version


def _families(variants: Iterable[str]) -> list[tuple[str, set[str]]]:
    """Return what shares a machine or a version, the largest first."""
    families: dict[str, set[str]] = {}
    for name in variants:
        machine, _, version = name.rpartition("-")
        if is_of_matrix(name):
            families.setdefault(f"{machine}-*", set()).add(name)
            families.setdefault(f"*-{version}", set()).add(name)
    return sorted(families.items(), key=lambda item: (-len(item[1]), item[0]))


# --- the matrix of a run ---------------------------------------------------------------------------------------------

#: What came or went with all that asks about it, by the names of fields.
Cause = tuple[tuple[str, str], ...]
#: What a discovery says of a target: it is one of the wanted, the configuration does not want it, nothing like it is
#: offered there any more, or nobody could tell.
Standing = Literal["wanted", "unwanted", "ended", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedMatrix:
    """What `variants = "auto"` stands for in one run of one account."""

    choice: MatrixChoice
    offers: Offers
    #: Every question that the account knows, or is offered now, with the name of its variant.
    names: Mapping[Combination, str]
    _questions: Mapping[str, Combination] = field(default_factory=dict)

    @classmethod
    def of(cls, choice: MatrixChoice, offers: Offers, known: Mapping[str, Mapping[str, str]]) -> OfferedMatrix:
        """Return the matrix of what is offered; *known* are the parameters of the variants that the history has."""
        offered = {question for offer in offers.values() for question in choice.questions(offer)}
        names = names_of(offered, known)
        questions = {name: question for name, parameters in known.items() if (question := question_of(parameters))}
        questions |= {name: question for question, name in names.items()}
        return cls(choice=choice, offers=offers, names=names, _questions=questions)

    @property
    def parameters(self) -> dict[str, dict[str, str]]:
        """Return the parameters of its variants by name."""
        return {name: question.parameters for name, question in self._questions.items()}

    def variants_at(self, region: str, zone: str) -> list[str]:
        """Return the variants to ask in a zone; none where nobody could tell what is offered."""
        offer = self.offers.get((region, zone))
        return [] if offer is None else sorted({self.names[one] for one in self.choice.questions(offer)})

    def question(self, target: Target) -> Combination | None:
        """Return the question that *target* asks; None: it is none of the matrix."""
        return self._questions.get(target.variant) if target.kind == KIND else None

    def causes(self, targets: Iterable[Target]) -> dict[Cause, list[Target]]:
        """
        Return *targets*, all of the matrix, that came or went together by what did: a version, or a machine.

        What went is told by the offer that lacks it; of what came back it is whichever makes fewer of it.
        """
        gone: dict[Cause, list[Target]] = {}
        by_version: dict[Cause, list[Target]] = {}
        by_machine: dict[Cause, list[Target]] = {}
        for target in targets:
            question = self._questions[target.variant]
            offer = self.offers.get((target.region, target.zone))
            version: Cause = (("k8s_version", question.version),)
            named = (("machine_type", question.machine_type), ("gpu_type", question.gpu_type))
            machine: Cause = tuple((name, value) for name, value in named if value)
            if offer is None or question.version not in offer.versions:
                gone.setdefault(version, []).append(target)
            elif question.machine not in offer.machines:
                gone.setdefault(machine, []).append(target)
            else:
                by_version.setdefault(version, []).append(target)
                by_machine.setdefault(machine, []).append(target)
        return gone | (by_version if len(by_version) <= len(by_machine) else by_machine)

    def standing(self, target: Target) -> Standing | None:
        """Return what the discovery says of *target*; None: it is none of the matrix."""
        question = self.question(target)
        if question is None:
            return None
        offer = self.offers.get((target.region, target.zone))
        if offer is None:
            return "unknown" if self.choice.wants(question) else "unwanted"
        if question.machine in offer.machines and question.version in offer.versions:
            is_wanted = question in set(self.choice.questions(offer)) and self.names[question] == target.variant
            return "wanted" if is_wanted else "unwanted"
        return "ended" if self.choice.wants(question) else "unwanted"


# --- more than may be asked at once ----------------------------------------------------------------------------------


class Rotation(NamedTuple):
    """How often there is a turn for each of many targets."""

    #: Targets that take turns, and how many of them a run asks.
    targets: int
    at_once: int

    @property
    def runs(self) -> int:
        """Return how many runs one round takes."""
        return ceil(self.targets / self.at_once) if self.at_once else 0

    def problem(self, every: timedelta, stale_after: timedelta, choice: MatrixChoice, others: int) -> str | None:
        """
        Return in a sentence what is wrong with it where runs are *every* so far apart; None: nothing is.

        *others* are the targets of UK8S images that are asked in each run.
        """
        if self.at_once >= self.targets:
            return None
        enough = others + ceil(self.targets / max(1, int(stale_after / every)))
        advice = f"set max_targets to {enough} or more, or narrow `versions` or `gpu_types`"
        if not self.at_once:
            said = f"max_targets = {choice.max_targets} leaves no room for the {counted(self.targets, 'target')} of the"
            return f"{said} matrix beside the {counted(others, 'that is', 'that are')} asked without: {advice}"
        if self.runs * every <= stale_after:
            return None
        return (
            f"{self.targets} targets of the matrix, {self.at_once} in a run, take {self.runs} runs, which is "
            f"{show_duration(self.runs * every)} at one run in {show_duration(every)} and longer than stale_after "
            f"({show_duration(stale_after)}): {advice}"
        )


def rotation(choice: MatrixChoice, matrix: int, others: int) -> Rotation:
    """Return how *matrix* targets take turns beside *others* that are asked in each run; rounds are even."""
    room = max(0, choice.max_targets - others)
    runs = ceil(matrix / room) if room else 0
    return Rotation(matrix, ceil(matrix / runs) if runs else 0)


def in_turn(last_runs: Mapping[int, int], turns: Rotation) -> list[int]:
    """
    Return which of many targets a run asks, the one first that was asked the longest ago.

    *last_runs*: the run that last asked each target, both by id, 0 where none did. What was asked together is asked
    together again as long as a round takes no longer by it, so that the same sets come again; each target comes once in
    `turns.runs` runs.
    """
    queue = sorted(last_runs, key=lambda one: (last_runs[one], one))
    taken = queue[: turns.at_once]
    groups: dict[int, int] = {}
    for run in last_runs.values():
        groups[run] = groups.get(run, 0) + 1
    if taken and sum(ceil(size / turns.at_once) for size in groups.values()) <= turns.runs:
        return [one for one in taken if last_runs[one] == last_runs[taken[0]]]
    return taken
