"""The visible list of kinds: a new kind is one declaration and one line here."""

from __future__ import annotations

from crawler.domain.kinds.base import Field, FieldType, Kind
from crawler.domain.kinds.uk8s_image import UK8S_IMAGE

KINDS: dict[str, Kind] = {kind.name: kind for kind in (UK8S_IMAGE,)}

__all__ = ["KINDS", "UK8S_IMAGE", "Field", "FieldType", "Kind"]
