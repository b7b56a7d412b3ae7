"""
Where a database is: a path or a URL in, a checked address out.

Imports no database library, so that a run can look at its lock before it loads one; and shows no password, so that an
address may stand in any message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from crawler.errors import UsageError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://(.*)$", re.DOTALL)
#: A URL of which a slash is missing; as a path it would be told with its password.
_NEARLY = re.compile(r"^(sqlite|postgres(?:ql)?)(?:\+\w+)?:(?!//)", re.IGNORECASE)
#: What is written like no path, and what it is. As a path it would make a file whose name holds a password.
_NO_PATHS = (
    (
        re.compile(
            r"(?:^|\s)((?:host|hostaddr|port|dbname|database|user|username|service|options|application_name"
            r"|\w*pass\w*|\w*pwd|(?:pg|ssl|gss|krb|require|channel|client|connect|keepalives|target)\w*))\s*=",
            re.IGNORECASE,
        ),
        "is a connection string of libpq ({}=…)",
    ),
    (re.compile(r"^\s*(\w[\w ]*)=[^;]*;"), "is a connection string ({}=…;)"),
    (
        re.compile(
            r"^(jdbc|odbc|mysql|mariadb|mssql|sqlserver|oracle|mongodb|redis|duckdb|cockroachdb|libsql|file|https?)"
            r"(?:\+\w+)?:",
            re.IGNORECASE,
        ),
        "begins with {}:, for which crawler has no use",
    ),
    (re.compile(r"(?:^|/)[^/\s:@]+:[^@]*@."), "has a user and a password, but no scheme"),
    (re.compile(r"^(?://)?[A-Za-z0-9.-]+:\d{2,5}(?:/|$)"), "has a host and a port, but no scheme"),
    (re.compile(r"^(postgres(?:ql)?|sqlite3?|mysql|mariadb)$", re.IGNORECASE), "is {} alone, which says not where"),
)
_CLEARLY_PATH = re.compile(r"~|\.{0,2}/(?!/)")
_SQLITE = frozenset({"sqlite", "sqlite+pysqlite"})
_POSTGRESQL = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
#: A user's name may hold an `@` (`me@server`), and somebody may have forgotten to escape one, or a slash.
_USERINFO = re.compile(r"(://[^:]*:)(.*)@")
_UNESCAPED = re.compile(r"[^/:]*:[^?]*@[^?]*@")
_SLASHED = re.compile(r"[^@?:]*/[^@?]*:[^?]*@")
#: In the name of an option, whose letters may be escaped.
_PASS = "".join(f"(?:{letter}|%{ord(letter):x}|%{ord(letter.upper()):x})" for letter in "pass")
_SECRET_OPTION = re.compile(rf"([?&][^=&]*{_PASS}[^=&]*=)([^&]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """One database: a SQLite file's path, or a PostgreSQL URL for SQLAlchemy."""

    #: The SQLite file, as written; None for PostgreSQL.
    path: Path | None
    #: The PostgreSQL URL with its driver; empty for SQLite. It may hold a password: print `str(address)` instead.
    url: str = ""

    def __str__(self) -> str:
        """Read as the path, or as the URL without its password."""
        return (
            str(self.path) if self.path is not None else masked(self.url.replace("postgresql+psycopg", "postgresql", 1))
        )

    @property
    def may_exist(self) -> bool:
        """Return whether there may be a database; False: at the path there is certainly nothing yet."""
        try:
            return self.path is None or bool(self.path.stat())
        except FileNotFoundError:
            return False
        except OSError:
            return True  # opening it tells what is wrong

    def __repr__(self) -> str:
        """Show no password either."""
        return f"Address({self!s})"


def parse_address(url_or_path: str | Path) -> Address:
    """Return the address that *url_or_path* names; raise UsageError for another kind of database than the two."""
    text = str(url_or_path) if isinstance(url_or_path, Path) else url_or_path.strip()
    if not text:
        raise UsageError("The database has no address: give a path, or a URL such as sqlite:///crawler.db.")
    match = None if isinstance(url_or_path, Path) else _SCHEME.match(text)
    if match is None:
        if not isinstance(url_or_path, Path) and (nearly := _NEARLY.match(text)):
            raise UsageError(
                f"The database's address begins with {nearly[0]} and lacks the two slashes of a URL behind it."
            )
        if not isinstance(url_or_path, Path):
            _refuse_no_path(text)
        return Address(_file(text))
    scheme, rest = match[1].lower(), match[2]
    if scheme in _SQLITE:
        return Address(_sqlite_path(text, rest))
    if scheme in _POSTGRESQL:
        if _UNESCAPED.match(rest):
            # taken as it stands, the part behind it would be a host, which the driver names
            raise UsageError(f"{masked(text)}: an @ in a password is written %40 in a URL.")
        if _SLASHED.match(rest):
            raise UsageError(f"{masked(text)}: a / in the name of a user is written %2F in a URL.")
        return Address(None, f"postgresql+psycopg://{rest}")
    raise UsageError(
        f'{masked(text)}: crawler has no use for "{match[1]}": give sqlite:///file.db, postgresql://… or a path.'
    )


def _refuse_no_path(text: str) -> None:
    """Raise UsageError where *text* is meant for something else than a file, without showing it."""
    for pattern, what in () if _CLEARLY_PATH.match(text) else _NO_PATHS:
        if found := pattern.search(text):
            raise UsageError(
                f"The database's address {what.format(*found.groups())}: give postgresql://user@host:5432/name or the "
                "path of a SQLite file (./… for one with such a name)."
            )


def url_of(path: Path) -> str:
    """Return the URL of the SQLite file *path*."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def masked(url: str) -> str:
    """Return *url* with its passwords replaced by stars."""
    return _SECRET_OPTION.sub(r"\1***", _USERINFO.sub(r"\1***@", url))


def passwords(url: str) -> list[str]:
    """Return what `masked` hides of *url*."""
    return [match[2] for pattern in (_USERINFO, _SECRET_OPTION) for match in pattern.finditer(url)]


def _sqlite_path(text: str, rest: str) -> Path:
    if "?" in rest:
        raise UsageError(f"{masked(text)}: a SQLite URL takes no options after the question mark.")
    if rest and not rest.startswith("/"):
        raise UsageError(
            f"{masked(text)}: a SQLite URL has three slashes before a relative path and four before an absolute one."
        )
    return _file(unquote(rest[1:]))


def _file(path: str) -> Path:
    if path in ("", ":memory:"):
        raise UsageError("A database in memory keeps no history: give the path of a file.")
    if "\0" in path:
        raise UsageError("The path of the database holds a NUL character.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = path.partition("/")[0]
        raise UsageError(f"The path of the database begins with {name}, and there is no such home folder.") from None
