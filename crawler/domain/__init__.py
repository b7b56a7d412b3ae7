"""What is thought: models, parsing, comparing, the guard, kinds. Pure: no I/O, no clock, no randomness."""

from __future__ import annotations
