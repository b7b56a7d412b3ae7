"""The visible list of kinds: a new kind is one declaration and one line here."""

from __future__ import annotations

from crawler.domain.kinds.base import BOOTABLE, Field, FieldType, Follow, Kind, Paging, Qualifier, State
from crawler.domain.kinds.instance_type import INSTANCE_TYPE
from crawler.domain.kinds.node_group import NODE_GROUP
from crawler.domain.kinds.phost_image import PHOST_IMAGE
from crawler.domain.kinds.uhost_image import UHOST_IMAGE
from crawler.domain.kinds.uk8s_image import UK8S_IMAGE
from crawler.domain.kinds.uk8s_version import UK8S_VERSION

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (UK8S_IMAGE, UHOST_IMAGE, PHOST_IMAGE, UK8S_VERSION, INSTANCE_TYPE, NODE_GROUP)
}

__all__ = [
    "BOOTABLE",
    "KINDS",
    "UK8S_IMAGE",
    "Field",
    "FieldType",
    "Follow",
    "Kind",
    "Paging",
    "Qualifier",
    "State",
]
