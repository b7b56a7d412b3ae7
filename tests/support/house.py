"""Where the checkout is and which files belong to it; for the tests that read the repository itself."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files git knows, relative to the checkout, without the ones deleted and not yet committed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(Path(name) for name in sorted(listed.stdout.split("\0")) if name and (ROOT / name).is_file())


def pages() -> dict[str, str]:
    """Return the text of each page that users read, by its path: README and `docs/`, in English and Chinese."""
    beside = {"README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md"}
    wanted = [path for path in tracked_files() if path.suffix == ".md" and path.parts[0] in {"docs", *beside}]
    return {str(path): text_of(path) for path in wanted}


def text_of(path: Path) -> str:
    """Read a tracked file as text; bytes that are no UTF-8 become replacement characters."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")
