"""Looks at a published folder: every file in it, read as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from crawler.web.openapi import document_schemas
from tests.support.atom_rules import faults

#: Documents by how their paths begin.
_KINDS = ("resolve", "renovate", "changes", "freshness", "index")


def files_of(root: Path) -> dict[str, bytes]:
    """Return what is in each file below *root*, by its path there."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def document(root: Path, path: str) -> Any:
    """Return the JSON document at *path*."""
    return json.loads((root / path).read_bytes())


def check_whole(files: dict[str, bytes], *, is_private: bool = False) -> None:
    """Fail unless each of *files* is a whole document of its kind, valid by its schema."""
    schemas = document_schemas(is_private=is_private)
    for path, body in files.items():
        if path.endswith(".json"):
            found = json.loads(body)
            kind = path.split("/")[1].removesuffix(".json")
            if kind in _KINDS:
                jsonschema.validate(found, schemas[kind])
        elif path.endswith(".atom"):
            assert faults(body) == [], path
        elif path.endswith("/image_id"):
            assert body.endswith(b"\n"), path
            assert body.strip(), path
        elif path.endswith(".html"):
            assert body.startswith(b"<!DOCTYPE html>"), path
            assert body.endswith(b"</html>"), path
        elif not path.startswith("assets/"):
            assert path in ("v1/history.db", ".part"), path
