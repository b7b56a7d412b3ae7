"""
What a run that nobody watches says of an error that kept it from its database: once, however often it comes.

Other conditions are remembered in the database; that a configuration cannot be read or a database not be opened is
remembered in a small file in the user's state folder, or beside the SQLite file where there is no such folder. It
holds what was said. Where it cannot be written the error is said each time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from crawler.ops.cron_notice import steady


class ErrorNotice:
    """The memory of one configuration's error; *folders* are tried in their order, *subject* tells it from others."""

    def __init__(self, folders: Iterable[Path], subject: str) -> None:
        name = f"crawler-error-{hashlib.sha256(subject.encode()).hexdigest()[:16]}"
        self._files = [folder / name for folder in folders]

    def is_first(self, sentence: str) -> bool:
        """Return whether *sentence*, but for its numbers, was not said last time, and remember that it is said now."""
        if any(steady(self._said(file)) == steady(sentence) for file in self._files):
            return False
        for file in self._files:
            try:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(file, sentence)
            except OSError:
                continue
            break
        return True

    def end(self) -> str:
        """Return what was said and is over now; empty: nothing. It is forgotten."""
        said = next((text for file in self._files if (text := self._said(file))), "")
        for file in self._files if said else ():
            with suppress(OSError):
                file.unlink()
        return said

    @staticmethod
    def _said(file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    @staticmethod
    def _write(file: Path, sentence: str) -> None:
        part = file.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(sentence)
        part.replace(file)
