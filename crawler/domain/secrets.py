"""
Members of an answer that are nobody's to keep: dropped before the answer is hashed, logged or stored. Pure.

A kind names those it knows of; any other member is dropped whose name says what it is. A body without such a member
stays as it came, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from crawler.domain.text import agreeing, counted

#: A member whose name contains one of these, whatever its case and its hyphens, is dropped.
TELLING = ("password", "secret", "token", "key", "userdata", "initscript", "cert")
#: A pair says by one member what the other is about, whatever stands beside it: `{"Name": "Password", "Value": …}`.
_NAMING = frozenset({"name", "key", "field"})
_NAMED = frozenset({"value", "values", "content"})

_SEPARATORS = re.compile(r"[\W_]+")
#: May hold such a name: as it is written, with separators in it, or in escapes.
_SUSPECT = re.compile(
    rb"password|secret|token|key|user[-_. ]?data|init[-_. ]?script|cert|pass[-_. ]word|\\u00[2-7]", re.IGNORECASE
)
_DROP: Any = object()


def without_secrets(body: bytes, named: Collection[str] = ()) -> bytes:
    """
    Return the JSON *body* without the members that hold secrets: those *named*, and those whose name says so.

    Where some are *named*, a body that is no JSON object is replaced by its length: nobody can tell what it holds.
    """
    if not named and not _SUSPECT.search(body):
        return body
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        size = counted(len(body), "byte")
        return f"({size}, not shown: {agreeing(len(body), 'it', 'they')} may hold a secret)".encode() if named else body
    try:
        kept = _Cleaner(named).cleaned(document)
    except RecursionError:
        return f"({len(body)} bytes, not shown: they are nested too deeply)".encode()
    return body if kept == document else json.dumps(kept, separators=(",", ":")).encode()


def is_secret(name: str, named: Collection[str] = ()) -> bool:
    """Return whether a member called *name* is one of those *named*, or says by its name that it holds a secret."""
    return _Cleaner(named).is_secret(name)


class _Cleaner:
    def __init__(self, named: Collection[str]) -> None:
        self._named = frozenset(map(_bare, named))

    def is_secret(self, name: str) -> bool:
        bare = _bare(name)
        return bare in self._named or any(word in bare for word in TELLING)

    def cleaned(self, value: Any) -> Any:
        """Return a decoded value without secrets; `_DROP` where all of it is one."""
        if isinstance(value, dict):
            names = self._secret_pair(value)
            if len(names) == len(value) and names:
                return _DROP
            return self._members({name: inner for name, inner in value.items() if name not in names})
        if isinstance(value, list):
            return [kept for element in value if (kept := self.cleaned(element)) is not _DROP]
        if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
            return self._text(value)
        return value

    def _secret_pair(self, value: dict[str, Any]) -> frozenset[str]:
        """Return the members of *value* that are a pair about a secret."""
        naming = {name for name, inner in value.items() if _bare(name) in _NAMING and self._is_about_secret(inner)}
        named = {name for name in value if _bare(name) in _NAMED}
        return frozenset(naming | named) if naming and named else frozenset()

    def _is_about_secret(self, inner: Any) -> bool:
        return isinstance(inner, str) and self.is_secret(inner)

    def _members(self, value: dict[str, Any]) -> dict[str, Any]:
        kept = {name: self.cleaned(inner) for name, inner in value.items() if not self.is_secret(name)}
        return {name: inner for name, inner in kept.items() if inner is not _DROP}

    def _text(self, value: str) -> Any:
        """Return a text that is JSON too, which is dropped where a member of it holds a secret."""
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        return value if self.cleaned(inner) == inner else _DROP


def _bare(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()
