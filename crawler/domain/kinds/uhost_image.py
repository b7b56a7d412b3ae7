"""
Images of virtual machines: `DescribeImage`, in pages; the sets are the ImageTypes `Base`, `Business` and `Custom`.

Facts: UCloudDoc-Team/api `uhost-api/describe_image.md`. `Limit` is 20 where none is sent and has no stated maximum; the
vendor's Terraform provider sends 100. UK8S node images are not listed here.
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Kind, Paging, State

UHOST_IMAGE = Kind(
    name="uhost-image",
    action="DescribeImage",
    paging=Paging(limit=100),
    sets={"ImageSet": ()},
    set_key="ImageType",
    default_set="Base",
    provider_sets=frozenset({"Base", "Business"}),
    set_marker="imageset",
    id_keys=("ImageId",),
    fields=(
        Field(name="image_name", keys=("ImageName",)),
        Field(name="image_state", keys=("State",)),
        Field(name="maintain_eol", keys=("MaintainEol",), type="date"),
        Field(name="os_type", keys=("OsType",)),
        Field(name="os_name", keys=("OsName",)),
        Field(name="features", keys=("Features",), type="names"),
        Field(name="gpu_types", keys=("SupportedGPUTypes",), type="names"),
        Field(name="software", keys=("IntegratedSoftware",)),
        Field(name="primary_software", keys=("PrimarySoftware",)),
        Field(name="size_gb", keys=("ImageSize",), type="integer"),
        Field(name="func_type", keys=("FuncType",)),
        Field(name="vendor", keys=("Vendor",)),
        Field(name="links", keys=("Links",), compared=False),
        Field(name="tag", keys=("Tag",)),
        Field(name="description", keys=("ImageDescription",)),
        Field(name="created_at", keys=("CreateTime",), type="moment"),
        Field(name="minimal_cpu", keys=("MinimalCPU",)),
        Field(name="data_snapshot_ids", keys=("DataSnapshotIds",), type="names"),
        Field(name="scene_categories", keys=("SceneCategories",), type="names"),
        # A price is no property of the image, and none is sent unless it is asked for.
        Field(name="price_set", keys=("PriceSet",), type="nested", compared=False),
        Field(name="zone_name", keys=("Zone",), compared=False),
    ),
    zone_field="zone_name",
    state=State(field="image_state", bootable=("Available",)),
    parameters=("ImageType", "FuncType", "OsType"),
    sources=("UCloudDoc-Team/api@cd570dff uhost-api/describe_image.md",),
)
