"""Where throw-away files go: in memory, where Linux has room there, for making them takes a twentieth of the time."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")


def scratch(*, room: int) -> Path:
    """Return the folder for throw-away files; in memory only where *room* bytes are free."""
    if os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free > room:
        return _MEMORY
    return Path(tempfile.gettempdir())
