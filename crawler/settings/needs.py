"""What a configuration file needs around it: secret files and environment variables that a scheduler has to bring."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.settings.toml import read_toml

#: `${NAME}` without a default; `$${` is a literal.
_NEEDED = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the file does not hold itself."""

    #: Secret files under a bare name, which systemd's credentials may stand for: name and path.
    credentials: tuple[tuple[str, Path], ...] = ()
    #: Other secret files.
    files: tuple[Path, ...] = ()
    #: Environment variables without a default.
    variables: tuple[str, ...] = ()


def needs_of(path: Path) -> Needs:
    """Give what the configuration at *path*, which was read before, needs around it."""
    document = read_toml(path)
    folder = path.absolute().parent
    credentials: dict[str, Path] = {}
    files: dict[Path, None] = {}
    variables: dict[str, None] = {}
    for key, text in _texts(document):
        variables.update(dict.fromkeys(_NEEDED.findall(text)))
        if not key.endswith("_file") or "${" in text or key in ("ca_file", "pins_file"):
            continue
        if "/" in text:
            files[folder / Path(text).expanduser()] = None
        else:
            credentials[text] = folder / text
    return Needs(credentials=tuple(credentials.items()), files=tuple(files), variables=tuple(variables))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
