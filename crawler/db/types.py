"""Column types: UTC instants as integer microseconds, and canonical JSON text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from crawler.domain.models import canonical_json

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: A 64-bit key that SQLite accepts as its rowid.
BigKey = BigInteger().with_variant(Integer(), "sqlite")


def to_micros(moment: datetime) -> int:
    """Return *moment* as microseconds since 1970 UTC; raise ValueError when it is naive."""
    if moment.tzinfo is None:
        raise ValueError(f"time without a time zone: {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC datetime *micros* microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def each_from_micros(micros: Iterable[int]) -> Iterator[datetime]:
    """Yield what `from_micros` returns of each, sooner: no function in Python is called for it."""
    return map(_EPOCH.__add__, map(timedelta, repeat(0), repeat(0), micros))


@lru_cache(maxsize=4096)
def _read(micros: int | None) -> datetime | None:
    """Return the same as `from_micros`; what is read together is often of one run, and so of one time."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as integer microseconds since 1970: no sentinel overflows in any time zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Refuse naive times."""
        return None if value is None else to_micros(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Return aware UTC times; called for every value that is read."""
        return _read


def read_json(text: str | None) -> Any:
    """Return the value of canonical JSON as it is stored: what `json.loads` gives, sooner."""
    return None if text is None else msgspec.json.decode(text)


class CanonicalJSON(TypeDecorator[Any]):
    """A JSON value as canonical text: the same value is the same text on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write with sorted keys and no spaces."""
        return None if value is None else canonical_json(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Read it back; called for every value that is read."""
        return read_json
