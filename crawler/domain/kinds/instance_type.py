"""
Machine types on sale: `GetUK8SAvailableInstanceTypes`, and `DescribeAvailableInstanceTypes` where that is not known.

Facts: ucloud-sdk-python3 0.11.150 `services/uk8s/schemas/apis.py` (no page of the documentation has it) and
UCloudDoc-Team/api `uhost-api/describe_available_instance_types.md`; both answers have one shape. A type is sold for
machines and as spot capacity: the second is another thing of the same name.
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Kind, Qualifier

INSTANCE_TYPE = Kind(
    name="instance-type",
    action="GetUK8SAvailableInstanceTypes",
    instead="DescribeAvailableInstanceTypes",
    sets={"AvailableInstanceTypes": ()},
    id_keys=("Name",),
    qualifier=Qualifier(key="InstanceType", silent="uhost"),
    fields=(
        Field(name="status", keys=("Status",)),
        Field(name="parent_type", keys=("ParentType",)),
        Field(name="machine_class", keys=("MachineClass",)),
        Field(name="instance_type", keys=("InstanceType",), compared=False),
        Field(name="graphics_memory", keys=("GraphicsMemory",), type="nested"),
        Field(name="performance", keys=("Performance",), type="nested"),
        Field(name="families", keys=("UHostFamilies",), type="nested"),
        Field(name="sizes", keys=("MachineSizes",), type="nested"),
        Field(name="cpu_platforms", keys=("CpuPlatforms",), type="nested"),
        Field(name="machine_features", keys=("Features",), type="nested"),
        Field(name="disks", keys=("Disks",), type="nested"),
        Field(name="description", keys=("Description",), compared=False),
        Field(name="zone_name", keys=("Zone",), compared=False),
    ),
    zone_field="zone_name",
    # The answer's own Status is none of a machine type.
    envelope=("RetCode", "Action", "Message", "Status"),
    sources=(
        "ucloud-sdk-python3@0.11.150 ucloud/services/uk8s/schemas/apis.py",
        "UCloudDoc-Team/api@cd570dff uhost-api/describe_available_instance_types.md",
    ),
)
