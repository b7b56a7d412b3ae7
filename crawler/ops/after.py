"""After a whole run: what is news for the person who reads cron's mails, and the metrics file."""

from __future__ import annotations

import logging
import os
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from crawler.ops import facts
from crawler.ops.conditions import compare, paragraph
from crawler.ops.metrics import exposition
from crawler.pipeline import RunResult
from crawler.settings import Settings
from crawler.store.engine import read

logger = logging.getLogger(__name__)


def after(settings: Settings, engine: Engine, result: RunResult, *, now: datetime) -> tuple[str, ...]:
    """Write the metrics, and give the paragraphs that are news; raises DatabaseUnavailable."""
    summary = result.summary
    with read(engine) as conn:
        before = facts.known_before(conn, summary)
        news = compare(before, facts.known_of(conn, summary), at=summary.finished_at or now)
        is_new_trouble = bool(result.report_problems) and facts.report_trouble_is_news(conn, settings, summary, now=now)
        gauges = facts.gauges(conn, now=now, rates=result.rates) if settings.metrics_textfile else None
    said = [text] if (text := paragraph(summary, news, zone=settings.timezone)) else []
    if is_new_trouble:
        said += [f"Warning: {problem}" for problem in result.report_problems]
    if settings.metrics_textfile is not None and gauges is not None:
        try:
            write_atomically(settings.metrics_textfile, exposition(summary, int(result.exit_code), gauges))
        except OSError as exc:
            # No mail for each run: the metrics that stand still raise an alert, and the doctor says why.
            logger.info("the metrics cannot be written to %s: %s", settings.metrics_textfile, exc.strerror)
    return tuple(said)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that others read at any time: they see the old text or the new one, never a part."""
    # The collector takes *.prom alone, so what is half written must not end in that.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
