"""The history in SQL: engine, schema, locks, and what a run reads and writes there."""

from __future__ import annotations
