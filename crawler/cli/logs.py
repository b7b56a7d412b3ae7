"""How the program talks while it works: lines on stderr, as text for people or as JSON for collectors."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from crawler.domain.text import visible

LogFormat = Literal["text", "json"]

_LEVELS = {-2: logging.CRITICAL, -1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: The run this process makes, once it has a number. Not a context variable: the database thread speaks of it too.
_process_run: list[int | None] = [None]


def bind_run(run: int | None) -> None:
    """Put the run's number into every JSON record from now on."""
    _process_run[0] = run


def log_line(level: str, message: str, *, at: datetime, **fields: Any) -> str:
    """Write one log event as a JSON line; run and target stand in each, null where there is none."""
    from crawler.domain.models import iso_utc

    context = {"run": _process_run[0], "target": None}
    event = {"at": iso_utc(at), "level": level, "message": message, **context, **fields}
    return json.dumps(event, default=str, ensure_ascii=True)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = {key: value for key, value in vars(record).items() if key not in _PLAIN_FIELDS}
        if record.exc_info:
            extra["traceback"] = self.formatException(record.exc_info)
        at = datetime.fromtimestamp(record.created, UTC)
        return log_line(record.levelname.lower(), record.getMessage(), at=at, logger=record.name, **extra)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%SZ")
        line = f"{at} {record.levelname.lower():7} {visible(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logging(verbosity: int, log_format: LogFormat) -> None:
    """Send the program's log to stderr; others' loggers speak from one level higher."""
    bind_run(None)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    level = _LEVELS[max(-2, min(2, verbosity))]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING) if verbosity < 3 else level)
    logging.getLogger("crawler").setLevel(level)
