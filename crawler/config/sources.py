"""
Where settings come from: the file's place, `${VAR}` references, secret files, and the UCloud CLI's own files.

What goes wrong is collected as `Problem`s, never raised: one look at a configuration reports all of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.config.models import PUBLIC_TABLES, SECRET_KEYS
from crawler.config.textfiles import read_text
from crawler.db.url import passwords

Location = tuple[str | int, ...]

FILE_NAME = "crawler.toml"
_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)\}|\$\{")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_LARGEST_SECRET = 64 * 1024


class Expanded(str):
    """A text that came (partly) from the environment: it may stand for a number, and no message shows it."""

    __slots__ = ()


@dataclass(slots=True)
class Findings:
    """Problems and warnings met so far, each with the key it belongs to."""

    problems: list[tuple[Location, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, location: Location, sentence: str) -> None:
        """Note what is wrong with the value at *location*."""
        self.problems.append((location, sentence))

    def covers(self, location: Location) -> bool:
        """Return whether a problem at *location*, or above it, is noted already."""
        return any(location[: len(known)] == known for known, _ in self.problems if known)

    def sentences(self) -> list[str]:
        """Return every problem once, each with its key's path."""
        return list(dict.fromkeys(f"{path_of(at)}: {text}" if at else text for at, text in self.problems))


def path_of(location: Location) -> str:
    """Write a key's path as `accounts[0].limits.rate`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


# --- the file --------------------------------------------------------------------------------------------------------


def home_of(environ: Mapping[str, str]) -> Path | None:
    """Return the user's home folder; None where there is none, as for a user without a name in a container."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return None


def candidates(environ: Mapping[str, str], cwd: Path, platform: str = sys.platform) -> list[Path]:
    """Return the places a configuration is looked for without being named, in order."""
    home = home_of(environ)
    folders = []
    if environ.get("XDG_CONFIG_HOME"):
        folders.append(Path(environ["XDG_CONFIG_HOME"]))
    elif home is not None:
        folders += [home / "Library" / "Application Support"] if platform == "darwin" else []
        folders.append(home / ".config")
    return [cwd / FILE_NAME, *(folder / "crawler" / FILE_NAME for folder in folders)]


def state_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the folder for what is remembered for this user; None for one without a home."""
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "crawler"
    home = environ.get("HOME", "")
    # Unlike Path.is_dir, no error where a folder on the way does not let this user in.
    return Path(home) / ".local" / "state" / "crawler" if home and os.path.isdir(home) else None  # noqa: PTH112 - see above


# --- ${VAR} ----------------------------------------------------------------------------------------------------------


def expand_text(text: str, environ: Mapping[str, str], complain: Callable[[str], None], *, secret_key: str = "") -> str:
    """
    Replace `${VAR}` and `${VAR:-default}` in *text*; `$${` is a literal `${`. What cannot be replaced stays.

    Where it is the value of a *secret_key* nobody is told to write a default into the file.
    """
    if "${" not in text:
        return text
    from_environment = False

    def replacement(match: re.Match[str]) -> str:
        nonlocal from_environment
        if match.group() == "$${":
            return "${"
        inside = match.group("inside")
        variable = _VARIABLE.fullmatch(inside) if inside is not None else None
        if variable is None:
            complain("a reference is written ${NAME} or ${NAME:-default}; a literal ${ is written $${")
            return match.group()
        from_environment = True
        name, default = variable["name"], variable["default"]
        if default is not None and "${" in default:
            complain(f"the default of ${{{name}:-…}} holds another reference; write plain text there")
            return match.group()
        value = environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            unset = f"the environment variable {name} is not set"
            how = (
                f"export it, or use {secret_key}_file"
                if secret_key
                else f"export it, or give a default: ${{{name}:-…}}"
            )
            complain(f"{unset}: {how}")
            return match.group()
        return value

    expanded = _REFERENCE.sub(replacement, text)
    return Expanded(expanded) if from_environment else expanded


def expand_all(value: Any, environ: Mapping[str, str], findings: Findings, location: Location = ()) -> Any:
    """Expand every text inside *value*, noting what cannot be."""
    if isinstance(value, str):
        secret = _secret_key(location)
        return expand_text(value, environ, lambda sentence: findings.problem(location, sentence), secret_key=secret)
    if isinstance(value, dict):
        return {key: expand_all(item, environ, findings, (*location, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_all(item, environ, findings, (*location, index)) for index, item in enumerate(value)]
    return value


def _secret_key(location: Location) -> str:
    """Return the key at *location* where its value is a secret, which a file of its own may hold; else nothing."""
    keys = [part for part in location if isinstance(part, str)]
    if not keys or keys[0] in PUBLIC_TABLES:
        return ""
    return keys[-1] if "headers" in keys[:-1] or keys[-1] in SECRET_KEYS - {"public_key", "headers"} else ""


def texts_of(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text of a document with the keys that lead to it."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts_of(inner, (*keys, key))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner, keys)


# --- secrets in files ------------------------------------------------------------------------------------------------

#: Every warning of a file that is open to others ends so.
OPEN_TO_ALL = "by everyone; chmod 600 it"
_RIGHTS = ((stat.S_IROTH, "readable"), (stat.S_IWOTH, "writable"))


def warn_open(path: Path, subject: str, findings: Findings) -> None:
    """Warn when others can read or write the file at *path*, which holds a secret; *subject* begins the sentence."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    rights = " and ".join(word for bit, word in _RIGHTS if mode & bit)
    if rights and stat.S_ISREG(mode):
        findings.warnings.append(f"{subject} is {rights} {OPEN_TO_ALL}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFiles:
    """Reads `…_file` settings: relative to the configuration's folder, bare names in systemd's credentials first."""

    folder: Path
    environ: Mapping[str, str]
    findings: Findings

    def inline(self, table: dict[str, Any], key: str, location: Location) -> None:
        """Turn `<key>_file` of *table* into `<key>`."""
        file_key = f"{key}_file"
        if file_key not in table:
            return
        name = table.pop(file_key)
        at = (*location, file_key)
        if key in table:
            self.findings.problem(at, f"give either {key} or {file_key}, not both")
            return
        # A placeholder, so that a file that cannot be read is one problem and not also a missing key.
        table[key] = Expanded("unreadable")
        if not isinstance(name, str) or not name.strip():
            self.findings.problem(at, "must name a file")
        elif not self.findings.covers(at):
            table[key] = Expanded(self._read(name, at))

    def _read(self, name: str, at: Location) -> str:
        path = self._path(name)
        try:
            text = read_text(path, _LARGEST_SECRET).strip()
        except ValueError as exc:
            self.findings.problem(at, f"{path} {exc}")
            return "unreadable"
        warn_open(path, f"{path_of(at)}: {path}", self.findings)
        if not text or "\n" in text:
            self.findings.problem(
                at, f"{path} does not hold one line of text: write the value into it, and nothing else"
            )
            return "unreadable"
        return text

    def _path(self, name: str) -> Path:
        credentials = self.environ.get("CREDENTIALS_DIRECTORY")
        if credentials and "/" not in name and os.path.exists(os.path.join(credentials, name)):  # noqa: PTH110, PTH118 - no error where that folder lets nobody in
            return Path(credentials) / name
        return self.folder / in_home(name, self.environ)


def in_home(name: str, environ: Mapping[str, str]) -> Path:
    """Return *name* as a path, with a leading `~/` replaced by the home folder."""
    home = home_of(environ) if name.startswith("~/") else None
    return Path(name) if home is None else home / name[2:]


# --- the UCloud CLI's files ------------------------------------------------------------------------------------------


def read_profile(name: str, environ: Mapping[str, str], complain: Callable[[str], None]) -> dict[str, str]:
    """
    Read profile *name* from `~/.ucloud/credential.json` and `config.json`: what of keys, base URL and project is there.

    Both files are arrays of objects with a `profile`; an object alone (the CLI before 0.1.8) is the profile `default`.
    """
    home = home_of(environ)
    if home is None:
        complain("is one of the UCloud CLI's, which keeps them in the home folder, and this user has none")
        return {}
    found: dict[str, str] = {}
    names: set[str] = set()
    for file_name in ("credential.json", "config.json"):
        path = home / ".ucloud" / file_name
        try:
            text = read_text(path) if os.path.lexists(path) else "[]"
        except ValueError as exc:
            complain(f"{path} {exc}")
            return {}
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            complain(f"{path} is not JSON")
            return {}
        for entry in document if isinstance(document, list) else [document]:
            if not isinstance(entry, dict):
                continue
            names.add(str(entry.get("profile") or "default"))
            if str(entry.get("profile") or "default") == name:
                found |= {key: value for key, value in entry.items() if isinstance(value, str) and value}
    missing = [key for key in ("public_key", "private_key") if not found.get(key)]
    if missing and name in names:
        complain(f"the UCloud CLI's profile {name!r} in {home / '.ucloud'} has no {' and no '.join(missing)}")
        return {}
    if missing:
        known = f"; it knows {', '.join(sorted(names))}" if names else ""
        complain(f"the UCloud CLI has no keys for a profile {name!r} in {home / '.ucloud'}{known}")
        return {}
    return found


def plain_project(project: str) -> str:
    """Return the id in `org-x/My project`, as the UCloud CLI may write it; the gateway answers 292 to the long form."""
    return project.split("/", 1)[0]


# --- whether a configuration holds a secret itself -------------------------------------------------------------------


#: What is a secret wherever it stands; a URL of a database or proxy is one by its password, a public key alone is none.
_SECRETS = SECRET_KEYS - {"database", "proxy", "public_key", "headers"}


def warn_open_configuration(raw: dict[str, Any], path: Path, findings: Findings) -> None:
    """Warn when the configuration *raw*, as it stands in *path*, holds a secret itself and is open to others."""
    if holds_secret(raw):
        warn_open(path, f"{path} holds a secret and", findings)


def holds_secret(raw: dict[str, Any]) -> bool:
    """Return whether the configuration *raw*, as it stands in its file, holds a secret itself."""
    return any(_is_secret(keys, text) for keys, text in texts_of(raw))


def _is_secret(keys: tuple[str, ...], text: str) -> bool:
    if any(map(_is_literal, passwords(without_environment(text)[0]))):
        return True
    is_kept = keys[0] not in PUBLIC_TABLES and ("headers" in keys or not _SECRETS.isdisjoint(keys))
    return is_kept and not keys[-1].endswith("_file") and _is_literal(text)


def _is_literal(text: str) -> bool:
    """Return whether *text* says something without the environment; the default of a reference does."""
    plain, unset = without_environment(text)
    return bool(plain.strip()) and not unset


def without_environment(text: str) -> tuple[str, list[str]]:
    """Return *text* where nothing is set in the environment, and what is said of references without a default."""
    unset: list[str] = []
    return expand_text(text, {}, unset.append), unset
