"""
A collector of what is wrong with a timeline file: readers ask it for typed values, and go on with a default after
every problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class Problems:
    """One sentence per problem, in the order of the file."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, sentence: str) -> None:
        """Note one problem."""
        self.found.append(sentence)

    def mapping(self, value: Any, where: str, keys: Iterable[str] | None = None) -> Mapping[str, Any]:
        """Give *value* as an object whose keys are among *keys*, with the nearest valid key for each that is not."""
        if not isinstance(value, Mapping):
            self.add(f"{where}: must be an object, not {_kind(value)}")
            return {}
        if keys is not None:
            valid = tuple(keys)
            for key in value:
                if key not in valid:
                    near = get_close_matches(str(key), valid, n=1, cutoff=0.5)
                    hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(valid)}"
                    self.add(f'{where}: unknown key "{key}"; {hint}')
        return value

    def items(self, value: Any, where: str) -> list[Any]:
        """Give *value* as a list."""
        if not isinstance(value, list):
            self.add(f"{where}: must be a list, not {_kind(value)}")
            return []
        return value

    def text(self, part: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
        """Give a text; without *default* it is required and not empty."""
        value: Any = part.get(key, default)
        if value is None:
            self.add(f"{where}{key}: missing")
            return ""
        if not isinstance(value, str):
            self.add(f"{where}{key}: must be a text, not {_kind(value)}")
            return ""
        if default is None and not value:
            self.add(f"{where}{key}: must not be empty")
        return str(value)

    def flag(self, part: Mapping[str, Any], key: str, where: str, *, default: bool = False) -> bool:
        """Give a true or false."""
        value = part.get(key, default)
        if not isinstance(value, bool):
            self.add(f"{where}{key}: must be true or false, not {_kind(value)}")
            return default
        return value

    def integer(self, part: Mapping[str, Any], key: str, where: str) -> int | None:
        """Give a whole number, or None where there is none."""
        value = part.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.add(f"{where}{key}: must be a whole number, not {_kind(value)}")
            return None
        return value

    def globs(self, part: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        """Give a list of globs, or `*` where there is none."""
        value = part.get(key, ["*"])
        if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
            self.add(f"{where}{key}: must be a list of texts, not {_kind(value)}")
            return ("*",)
        return tuple(value)

    def numbers(self, part: Mapping[str, Any], key: str, where: str) -> frozenset[int]:
        """Give a set of numbers from 1 up, written as a number, a list or a range such as "2-4"; may be empty."""
        value = part.get(key)
        if value is None:
            return frozenset()
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            if dash and first.strip().isdecimal() and last.strip().isdecimal() and 1 <= int(first) <= int(last):
                return frozenset(range(int(first), int(last) + 1))
        else:
            numbers = value if isinstance(value, list) else [value]
            if numbers and all(type(number) is int and number >= 1 for number in numbers):
                return frozenset(numbers)
        self.add(f'{where}{key}: must be a number from 1 up, a list of them or a range such as "2-4", not {value!r}')
        return frozenset()


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
