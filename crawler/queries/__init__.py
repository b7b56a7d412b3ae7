"""What people ask the history: one file per command, named after it."""

from __future__ import annotations
