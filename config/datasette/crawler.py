"""
A plugin for Datasette: each file it opens is a history, and gets the queries and descriptions of `datasette.yaml`.

    datasette history.db --plugins-dir config/datasette
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from datasette import hookimpl

_DESCRIBED = yaml.safe_load(Path(__file__).parent.with_suffix(".yaml").read_text(encoding="utf-8"))


@hookimpl
def get_metadata(datasette: Any) -> dict[str, Any]:
    """Return the title, and what `datasette.yaml` says of `crawler.db` for each database by its name."""
    (history,) = _DESCRIBED["databases"].values()
    # Datasette adds to what it gets
    databases = {name: deepcopy(history) for name in datasette.databases if not name.startswith("_")}
    return {"title": _DESCRIBED["title"], "databases": databases}
