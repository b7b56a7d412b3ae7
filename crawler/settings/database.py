"""Where the history is: a URL, or a path relative to the file that says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crawler.errors import UsageError
from crawler.settings.sources import in_home
from crawler.store.address import parse_address


def database_url(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    """
    Give *text*, a URL or a path relative to *folder*, as a URL; SQLite's holds an absolute path.

    Raises ValueError saying what is wrong, without a password.
    """
    if any(ord(char) < 32 for char in text):
        raise ValueError("must not contain control characters")
    try:
        address = parse_address(text)
    except UsageError as exc:
        raise ValueError(str(exc)) from None
    if address.path is None:
        return text
    # Taken from the text again: the home folder is that of the given environment.
    named = in_home(text, environ) if "://" not in text else address.path
    return "sqlite:///" + str(Path(folder, named).absolute()).replace("%", "%25").replace("?", "%3F")
