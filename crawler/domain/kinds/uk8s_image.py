"""
UK8S node images: `DescribeUK8SImage`, in its 2020 form (four fields) and its 2026 form (more sets, fields, parameters).

Facts: UCloudDoc-Team/api `uk8s-api/describe_uk8s_image.md` (table and example differ in spelling: both are listed);
`NotSupportGPU` is true for images that do *not* support GPU (line 59 there).
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Kind

UK8S_IMAGE = Kind(
    name="uk8s-image",
    action="DescribeUK8SImage",
    sets={
        "ImageSet": (),
        "ImageSetnew": (),
        "PHostImageSet": (),
        "CustomImageSet": ("CustomIImageSet",),
        "CustomPHostImageSet": ("PHostCustomIImageSet", "PHostCustomImageSet", "CustomPHostIImageSet"),
    },
    default_set="ImageSet",
    set_marker="imageset",
    provider_sets=frozenset({"ImageSet", "ImageSetnew", "PHostImageSet"}),
    id_keys=("ImageId",),
    fields=(
        Field(name="image_name", keys=("ImageName",)),
        Field(name="gpu", keys=("NotSupportGPU",), type="flag_inverted"),
        Field(name="os_type", keys=("OsType",)),
        Field(name="os_name", keys=("OsName",)),
        Field(name="features", keys=("Features",), type="names"),
        Field(name="gpu_types", keys=("SupportedGPUTypes",), type="names"),
        Field(name="software", keys=("IntegratedSoftware",)),
        Field(name="size_gb", keys=("ImageSize",), type="integer"),
        Field(name="zone_id", keys=("ZoneId",), type="integer", compared=False),
    ),
    secrets=None,
    parameters=("ProductType", "MachineType", "GPUType", "K8sVersion"),
    sources=(
        "UCloudDoc-Team/api@cd570dff uk8s-api/describe_uk8s_image.md",
        "UCloudDoc-Team/api@a121a691 uk8s-api/describe_uk_8s_image.md (the 2020 page)",
    ),
)
