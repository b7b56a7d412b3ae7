"""TOML as people may write it: every file is parsed here; what no setting could hold is a problem, never a crash."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from crawler.config.sources import Location, path_of
from crawler.config.textfiles import read_text
from crawler.errors import ConfigurationError

#: Curly and full-width ones, as word processors and Chinese keyboards write them.
_ODD_QUOTES = "[“”„‟‘’＂＇「」『』«»]"
#: Far more than any table of ours is nested.
_DEEPEST = 32
#: What came through each pipe, as of `--config <(sops -d crawler.toml)`: it comes once, and some commands look twice.
_piped: dict[tuple[int, int], str] = {}
#: TOML's own range.
_INTEGERS = range(-(2**63), 2**63)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the document in the file at *path*; raise ConfigurationError."""
    try:
        text = _text_of(path)
    except ValueError as exc:
        raise ConfigurationError(str(path), [str(exc)]) from None
    return parse_toml(text, str(path))


def _text_of(path: Path) -> str:
    """Return the text of the file at *path*; raise ValueError as `read_text` does."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return read_text(path)  # which says what is wrong
    if not stat.S_ISFIFO(about.st_mode):
        return read_text(path)
    pipe = (about.st_dev, about.st_ino)
    if pipe not in _piped:
        _piped[pipe] = read_text(path)
    return _piped[pipe]


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the document in *text*, which people know as *source*; raise ConfigurationError."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(source, ["is nested too deeply"]) from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(source, [f"is not TOML: {exc}", *_odd_quotes(text, str(exc))]) from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise ConfigurationError(source, ["is not TOML: a number has thousands of digits"]) from None
    problems = _problems(document)
    if problems:
        raise ConfigurationError(source, problems)
    return document


def _odd_quotes(text: str, said: str) -> list[str]:
    """Return a sentence about a typographic quote in the line that an error names, where there is one."""
    named = re.search(r"at line (\d+)", said)
    lines = text.split("\n")
    number = int(named[1]) if named else len(lines)
    odd = re.search(_ODD_QUOTES, lines[number - 1])
    return [f"line {number} has the quote {odd[0]}, which TOML does not know: write \" or '"] if odd else []


def _problems(document: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    waiting: list[tuple[Location, Any]] = [((), document)]
    while waiting:
        at, value = waiting.pop()
        if len(at) > _DEEPEST:
            return ["is nested too deeply"]
        if isinstance(value, dict):
            waiting += [((*at, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [((*at, index), item) for index, item in enumerate(value)]
        elif isinstance(value, int) and value not in _INTEGERS:
            problems.append(f"{path_of(at)}: is a number beyond the 64 bits that TOML has")
    return problems
