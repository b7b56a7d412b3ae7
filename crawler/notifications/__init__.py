"""Reports: what changed, told once, to the people who asked for it."""

from __future__ import annotations
