"""
Keys whose value is one text, read without pydantic: all that readers need, and pydantic loads longer than they take.

`key_types.py` builds its types of the same names on the same functions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from crawler.config.models import Settings, keys_of
from crawler.domain.suggest import did_you_mean
from crawler.domain.timefmt import parse_duration

#: Other countings of the same zones, beside those that people mean.
_OTHER_COUNTINGS = ("posix/", "right/", "posixrules")
#: What people call the time of China, which has the name of one city only.
_OF_CHINA = ("beijing", "peking", "china", "guangzhou", "shenzhen", "hangzhou", "utc+8", "gmt+8", "utc+08:00")


def nonempty(text: str) -> str:
    """Return *text*; raise ValueError where it says nothing, or has control characters."""
    if not text.strip():
        raise ValueError("is empty")
    if has_controls(text):
        raise ValueError("must not contain control characters")
    return text


def has_controls(text: str) -> bool:
    """Return whether *text* has characters that no name has."""
    return any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def duration(text: str) -> timedelta:
    """Return a length of time that is longer than nothing; raise ValueError."""
    found = parse_duration(text)
    if found <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return found


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone *name*; raise ValueError saying, in words after the name, why there is none."""
    try:
        if not name.startswith(_OTHER_COUNTINGS):
            return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        pass  # told below, by what there is
    known = available_timezones()
    if not known:
        raise ValueError(
            "cannot be looked up: this machine has no time zone database; install tzdata "
            "(apt install tzdata, apk add tzdata, or pip install tzdata)"
        )
    if name in known:
        raise ValueError("is no usable time zone; write one as Asia/Shanghai")
    if name.casefold().rpartition("/")[2] in _OF_CHINA:
        raise ValueError("is no known time zone; did you mean Asia/Shanghai?")
    raise ValueError(f"is no known time zone{did_you_mean(name, known)}")


#: How a text is read, by the name that the type of its key has in `models.py`.
TEXTS: Mapping[str, Callable[[str], Any]] = {"Text": nonempty, "Zone": zone_of, "Duration": duration}


def read_texts(document: Mapping[str, Any]) -> Settings | None:
    """Return *document* as settings where each key is such a text, and right; None: let pydantic say what is not."""
    keys = keys_of(Settings)
    texts = {key: one.metadata["default"] for key, one in keys.items() if "default" in one.metadata}
    try:
        return Settings(**{key: TEXTS[str(keys[key].type)](text) for key, text in (texts | dict(document)).items()})
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
