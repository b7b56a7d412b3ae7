"""Reads one fault of a timeline: whom it hits, and the one thing that happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from crawler.emulator.problems import Problems
from crawler.emulator.timeline import Fault, FaultEffect

_WHOM = ("account", "action", "project", "region", "zone")
_EFFECTS: tuple[FaultEffect, ...] = tuple(effect for effect in get_args(FaultEffect) if effect != "delay")
_SWITCHES: tuple[FaultEffect, ...] = ("drop", "cut", "hang", "empty", "html")
_KEYS = (*_WHOM, "steps", "attempts", *_EFFECTS, "message", "retry_after", "latency_ms")


def read_fault(raw: Any, where: str, problems: Problems, *, step_count: int, in_step: bool) -> Fault:
    """Turn one object into a Fault, noting what is wrong with it in *problems*."""
    part = problems.mapping(raw, where, _KEYS)
    at = f"{where}."
    steps = problems.numbers(part, "steps", at)
    if steps and in_step:
        problems.add(f"{at}steps: a fault inside a step holds for that step alone; move it to the top level")
    if steps and max(steps) > step_count:
        problems.add(f"{at}steps: there is no step {max(steps)}, the timeline has {step_count}")
    return Fault(
        **{name: problems.text(part, name, at, default="*") for name in _WHOM},
        steps=steps,
        attempts=problems.numbers(part, "attempts", at),
        effect=_effect(part, where, problems),
        ret_code=problems.integer(part, "ret_code", at),
        message=problems.text(part, "message", at) if "message" in part else None,
        status=_status(part, at, problems),
        retry_after=_retry_after(part, at, problems),
        body=problems.text(part, "body", at, default=""),
        images=dict(problems.mapping(part["images"], f"{at}images")) if "images" in part else None,
        latency_ms=_latency(part, at, problems),
    )


def _effect(part: Mapping[str, Any], where: str, problems: Problems) -> FaultEffect:
    for name in _SWITCHES:
        if name in part and part[name] is not True:
            problems.add(f"{where}.{name}: must be true, or left out")
    named = [effect for effect in _EFFECTS if effect in part]
    # A refusal may come with an HTTP status of its own.
    if set(named) == {"ret_code", "status"}:
        return "ret_code"
    if len(named) > 1:
        problems.add(f"{where}: {' and '.join(named)} exclude each other; keep one")
    elif not named and "latency_ms" not in part:
        problems.add(f"{where}: says nothing that happens; add one of {', '.join(_EFFECTS)}, latency_ms")
    return named[0] if named else "delay"


def _status(part: Mapping[str, Any], at: str, problems: Problems) -> int:
    status = problems.integer(part, "status", at)
    if status is None:
        return 200
    if not 200 <= status <= 599:
        problems.add(f"{at}status: must be an HTTP status between 200 and 599, not {status}")
        return 500
    return status


def _retry_after(part: Mapping[str, Any], at: str, problems: Problems) -> str | None:
    value = part.get("retry_after")
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool)):
        return None if value is None else str(value)
    problems.add(f"{at}retry_after: must be a number of seconds or a date as HTTP writes it, not {value!r}")
    return None


def _latency(part: Mapping[str, Any], at: str, problems: Problems) -> float:
    value = part.get("latency_ms", 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        problems.add(f"{at}latency_ms: must be a number of milliseconds, not {value!r}")
        return 0.0
    return float(value)
