"""The configuration: one TOML file and the environment in, frozen settings out. The only reader of the environment."""

from __future__ import annotations
