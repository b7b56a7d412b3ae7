"""
The language of what the command says: English as it is written in the code, and Chinese by the list in `chinese.py`.

One place translates, at the edge: headings, the words of tables, sentences and errors. What the list lacks stays
English, and so does everything that programs read: JSON, CSV, logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from crawler.domain.subscriptions import Language

_spoken: ContextVar[Language] = ContextVar("spoken", default="en")
#: The zone behind a time, and the blank behind a wide bracket, which is wide enough.
_ZONED, _WIDE = re.compile(r"(?<=:\d\d) \(([\w+/-]+)\)"), re.compile(r"） (?=[^ -~]|\[)")
#: What separates the parts of a sentence that are told one by one.
_LISTS = (("; ", "；"), (", ", "、"))


def speak(language: Language) -> None:
    """Say everything from now on in *language*."""
    _spoken.set(language)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak *language* in the block, unless it says `speak`, and what was spoken before after it."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def spoken() -> Language:
    """Return the language that is spoken."""
    return _spoken.get()


def language_of(environ: Mapping[str, str], encoding: str | None) -> Language:
    """Return the language of the locale in *environ*; English where *encoding* (None: UTF-8) lacks its characters."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    try:
        "中".encode(encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return "en"
    return "zh" if re.match(r"zh(?![a-z])", locale, re.IGNORECASE) else "en"


def tr(text: str) -> str:
    """Return *text*, a heading, word or sentence of ours, in the language that is spoken."""
    told = text if _spoken.get() == "en" else _chinese(text)
    return text if told == text else _WIDE.sub("）", _ZONED.sub(r"（\1）", told))


#: What the marks in `chinese.py` stand for.
_WILD = {"": "([^;]+?)", "a": "(.+?)", "w": "([^,;]+?)", "v": "(.+?)", "k": "([^;]+?)", "n": r"(\d+)"}
_HAN = re.compile("[\u4e00-\u9fff]")
#: What English changes with a number: it is no part of the sentence that is told.
_AGREEING = {"s": "s?", "are": "(?:is|are)", "were": "(?:was|were)"}
_MARK = re.compile(r"\{([avkwns]?|are|were)\}")


class _Pattern(NamedTuple):
    english: re.Pattern[str]
    chinese: str
    #: How many letters of ours it has.
    size: int
    #: Of each mark, whether its text is translated too.
    is_ours: Sequence[bool]


@cache
def _patterns() -> tuple[Mapping[str, str], Sequence[_Pattern]]:
    from crawler.cli.chinese import PHRASES

    exact = {english: chinese for english, chinese in PHRASES.items() if "{" not in english}
    patterns = [_pattern(english, chinese) for english, chinese in PHRASES.items() if "{" in english]
    # What begins with words of ours is surest, and of the others what has more of them.
    return exact, sorted(patterns, key=lambda one: (one.english.pattern.startswith("("), -one.size))


def _pattern(english: str, chinese: str) -> _Pattern:
    parts = _MARK.split(english)
    wild = {**_WILD, **_AGREEING}
    pieces = (wild[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))
    size = sum(map(len, parts[::2]))
    is_ours = [mark in ("", "a", "w") for mark in parts[1::2] if mark in _WILD]
    return _Pattern(re.compile("".join(pieces)), chinese, size, is_ours)


@lru_cache(maxsize=10_000)
def _chinese(text: str) -> str:
    if not text or text.isdecimal():
        return text
    if "\n" in text:
        return "\n".join(map(_chinese, text.split("\n")))
    bare = text.strip()
    blanks = text[: len(text) - len(text.lstrip())]
    exact, patterns = _patterns()
    if word := exact.get(text) or exact.get(bare):
        return blanks + word
    for pattern in patterns:
        if found := pattern.english.fullmatch(bare):
            parts = found.groups()
            told = [_chinese(part) if is_ours else part for part, is_ours in zip(parts, pattern.is_ours, strict=True)]
            if tuple(told) != parts or _HAN.search(pattern.chinese):  # else it would change the commas alone
                return blanks + pattern.chinese.format(*told)
    for separator, comma in _LISTS:
        if separator in text:
            words = bare.split(separator)
            told_words = [_chinese(word) for word in words]
            if told_words != words and not (separator == ", " and any(map(_is_prose, told_words))):
                return blanks + comma.join(told_words)
    return text


def _is_prose(text: str) -> bool:
    """Return whether *text* is a clause that nobody translated: a sentence is not told half in Chinese."""
    return text.count(" ") > 2 and not _HAN.search(text)
