"""Time zones by name, where this machine has a time zone database, and a sentence that says so where it has none."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from crawler.domain.suggest import did_you_mean

#: Other countings of the same zones, beside those that people mean.
_OTHER_COUNTINGS = ("posix/", "right/", "posixrules")
#: What people call the time of China, which has the name of one city only.
_OF_CHINA = ("beijing", "peking", "china", "guangzhou", "shenzhen", "hangzhou", "utc+8", "gmt+8", "utc+08:00")


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
        raise ValueError("is no usable time zone")
    if name.casefold().rpartition("/")[2] in _OF_CHINA:
        raise ValueError("is no known time zone; did you mean Asia/Shanghai?")
    raise ValueError(f"is no known time zone{did_you_mean(name, known)}")
