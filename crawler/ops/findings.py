"""What the doctor says: one finding per check, each with its state and, where it is not fine, the fix. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]
_ORDER: dict[State, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    state: State
    message: str
    #: What to do about it; empty where all is fine.
    fix: str = ""
    #: The account, file or server it is about.
    about: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give one element of `doctor --json`."""
        return {
            "check": self.check,
            "about": self.about,
            "state": self.state,
            "message": self.message,
            "fix": self.fix,
        }


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
    """Give the worst state among *findings*."""
    return max((finding.state for finding in findings), key=_ORDER.__getitem__, default="ok")


def told(findings: Iterable[Finding]) -> list[str]:
    """Tell the findings to a person, the fixes indented below."""
    lines = []
    for finding in findings:
        about = f"{finding.about}: " if finding.about else ""
        lines.append(f"{finding.state:<4}  {finding.check:<13}  {about}{finding.message}")
        if finding.fix:
            lines.append(f"{'':21}→ {finding.fix}")
    return lines
