"""What `doctor` finds: one finding per check, each with its state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crawler.domain.rows import JsonRow

State = Literal["ok", "warn", "fail"]
_ORDER: dict[State, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(JsonRow):
    """The outcome of one check."""

    check: str
    #: The account, file or server it is about.
    about: str = ""
    state: State
    message: str
    #: What to do about it; empty where all is fine.
    fix: str = ""


def ok(check: str, message: str, *, about: str = "") -> Finding:
    """Say that a check found nothing wrong."""
    return Finding(check=check, state="ok", message=message, about=about)


def warn(check: str, message: str, fix: str, *, about: str = "") -> Finding:
    """Say what will do for now."""
    return Finding(check=check, state="warn", message=message, fix=fix, about=about)


def fail(check: str, message: str, fix: str, *, about: str = "") -> Finding:
    """Say what keeps runs from working."""
    return Finding(check=check, state="fail", message=message, fix=fix, about=about)


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state among *findings*."""
    return max((finding.state for finding in findings), key=_ORDER.__getitem__, default="ok")
