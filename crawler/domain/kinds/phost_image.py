"""
Images of bare-metal machines: `DescribePHostImage`, in pages; the sets are the ImageTypes `Base` and `Custom`.

Facts: UCloudDoc-Team/api `uphost-api/describe_phost_image.md`. CreateTime is a text there and a number in the SDK.
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Kind, Paging, State

PHOST_IMAGE = Kind(
    name="phost-image",
    action="DescribePHostImage",
    paging=Paging(limit=100),
    id_keys=("ImageId",),
    sets={"ImageSet": ("PHostImageSet",)},
    set_key="ImageType",
    set_marker="imageset",
    default_set="Base",
    provider_sets=frozenset({"Base"}),
    fields=(
        Field(name="image_name", keys=("ImageName",)),
        Field(name="image_state", keys=("State",)),
        Field(name="os_type", keys=("OsType",)),
        Field(name="os_name", keys=("OsName",)),
        Field(name="machine_types", keys=("Support",), type="names"),
        Field(name="version", keys=("Version",)),
        Field(name="size_gb", keys=("ImageSize",), type="integer"),
        Field(name="description", keys=("ImageDescription",)),
        Field(name="created_at", keys=("CreateTime",), type="moment"),
        Field(name="zone_name", keys=("Zone",), compared=False),
    ),
    zone_field="zone_name",
    state=State(field="image_state", bootable=("Available",)),
    parameters=("ImageType", "MachineType", "Cluster"),
    sources=("UCloudDoc-Team/api@cd570dff uphost-api/describe_phost_image.md",),
)
