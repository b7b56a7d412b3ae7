"""`config/crawler.schema.json`; `python -m tests.support.schema_file` makes it anew from the configuration."""

from __future__ import annotations

from crawler.config.key_types import configuration_schema
from crawler.web.published_json import json_bytes
from tests.support.house import ROOT

SCHEMA = ROOT / "config" / "crawler.schema.json"


def schema_bytes() -> bytes:
    """Return what the file has to say: what `publish` writes as `v1/schemas/configuration.json`."""
    return json_bytes(configuration_schema())


if __name__ == "__main__":
    SCHEMA.write_bytes(schema_bytes())
