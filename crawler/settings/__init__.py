"""
The configuration: one TOML file and the environment in, frozen settings out. The only reader of the environment.

`load` takes everything as arguments; `values.py` is what the rest of the program sees.
"""

from __future__ import annotations

from crawler.settings.load import find, load, loads
from crawler.settings.values import (
    AccountSettings,
    GuardSettings,
    Limits,
    PlaceSettings,
    ReportSettings,
    Secret,
    Settings,
    SmtpSettings,
)

__all__ = [
    "AccountSettings",
    "GuardSettings",
    "Limits",
    "PlaceSettings",
    "ReportSettings",
    "Secret",
    "Settings",
    "SmtpSettings",
    "find",
    "load",
    "loads",
]
