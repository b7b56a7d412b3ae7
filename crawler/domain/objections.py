"""
Target and snapshot in, objection out: why an answer is none to the question that was asked, or was not understood.

Such an answer says nothing about any image, present or absent: nothing is opened, changed or closed from it. Every
other answer goes to `diffing` and `guard`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from crawler.domain.kinds import Kind
from crawler.domain.models import Snapshot, Target
from crawler.domain.targets import request_parameters
from crawler.domain.text import agreeing, counted, one_line

#: A check that an account may switch off, for a brand that answers so for ever.
Tolerable = Literal["action", "echo", "foreign", "count"]
#: What each of them lets pass.
TOLERATED: Mapping[Tolerable, str] = {
    "action": "call themselves by another action",
    "echo": "name another region, zone or project",
    "foreign": "list the records of another zone alone",
    "count": "count more records than they list",
}

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class LastGood:
    """What is known of a target's last good answer."""

    #: Records without a readable id.
    unreadable: int = 0
    #: By how many records it counted more than it listed; None: there was no good answer yet.
    excess: int | None = None
    #: The target has open images.
    has_images: bool = False
    #: The action that gave it, where its kind knows two; empty: nobody knows.
    answered_by: str = ""


def objection(
    target: Target, kind: Kind, snapshot: Snapshot, last: LastGood, tolerated: Collection[Tolerable] = ()
) -> str | None:
    """
    Return in a sentence why an answer of *target* is not to be believed at all; None: nothing is against it.

    *snapshot* is what it says, *last* what is known of the one before, *tolerated* names the checks that do not count.
    """
    found = _objections(target, kind, snapshot, last)
    return next((sentence for check, sentence in found if check not in tolerated), None)


def answered_by(kind: Kind, snapshot: Snapshot) -> str:
    """Return the action that gave an answer of a kind that knows two; empty for any other kind, and an unknown one."""
    if not kind.instead:
        return ""
    stated = (said.casefold().removesuffix("response") for name, said in snapshot.stated if name == "Action")
    return {action.casefold(): action for action in (kind.action, kind.instead)}.get(next(stated, ""), "")


def other_action(stated: str, action: str, aliases: Collection[str] = ()) -> str | None:
    """Return in a sentence why an answer that calls itself *stated* is none to *action*; None: it is one."""
    known = {name.casefold() for name in (action, *aliases)}
    if stated.casefold().removesuffix("response") in known or stated.casefold() in known:
        return None
    return f"the answer is one to another question: its Action is {_shown(stated)}, not {action}Response"


def misdirection(
    stated: Iterable[tuple[str, str]], target: Target, action: str, aliases: Collection[str] = ()
) -> Iterator[tuple[Tolerable, str]]:
    """Yield in a sentence each thing that an answer *stated* about itself and that is not what *target* was asked."""
    asked = {"ProjectId": "", "Zone": "", **request_parameters(target, {})}
    for name, said in stated:
        if name == "Action":
            if sentence := other_action(said, action, aliases):
                yield "action", sentence
        elif asked[name] and _place(name, said) != _place(name, asked[name]):
            yield "echo", f"the answer is about another {name}: {_shown(said)}, not {asked[name]}"


def tolerance(tolerated: Collection[Tolerable]) -> Iterator[str]:
    """Yield a sentence about what is let pass where checks are *tolerated*; nothing where none is."""
    if tolerated:
        passing = " or ".join(TOLERATED[check] for check in tolerated)
        yield f"tolerate is set: answers are believed, and what they lack, that {passing}"


def _objections(
    target: Target, kind: Kind, snapshot: Snapshot, last: LastGood
) -> Iterator[tuple[Tolerable | None, str]]:
    yield from misdirection(snapshot.stated, target, kind.action, (*kind.aliases, *filter(None, [kind.instead])))
    action = answered_by(kind, snapshot)
    if action and last.answered_by and action != last.answered_by:
        yield (
            "action",
            f"the last good answer was one to {last.answered_by} and this one is to {action}, which may list other "
            'things (if the endpoint has changed for good: tolerate = ["action"] for one run)',
        )
    if snapshot.is_elsewhere and last.has_images:
        each = agreeing(snapshot.records, "its only record", f"each of its {snapshot.records} records")
        yield "foreign", f"{each} states the ZoneId of another zone than {target.zone}"
    if snapshot.records == snapshot.unreadable > last.unreadable:
        none = f"none of its {snapshot.records} records could be read: they have"
        has = agreeing(snapshot.records, "its only record could not be read: it has", none)
        yield None, f"{has} no {kind.id_keys[0]}"
    if snapshot.unknown_lists:
        yield None, f"it has none of the sets of {kind.action}, but objects under {_shown(snapshot.unknown_lists)}"
    if snapshot.rest:
        yield "count", f"it says with {snapshot.rest} that there is more than it lists"
    if last.excess is not None and snapshot.excess and snapshot.excess != last.excess:
        yield (
            "count",
            f"it lists {snapshot.records} of {counted(snapshot.records + snapshot.excess, 'record')} "
            f"(the last good answer lacked {last.excess} of its count)",
        )


def _place(name: str, value: str) -> str:
    """
    Return a place in the form in which two spellings of it are one; a project may be followed by what is under it.
    """
    folded = value.strip().casefold()
    return folded.partition("/")[0].strip() if name == "ProjectId" else folded


def _shown(text: str) -> str:
    return one_line(text, _SHOWN_CHARACTERS)
