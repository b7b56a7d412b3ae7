"""
Node groups of clusters, with the image that their next node boots: the clusters of a region, and the groups of each.

Facts: UCloudDoc-Team/api `uk8s-api/list_uk8s_cluster_v2.md`, `list_uk8s_node_group.md`, and ucloud-sdk-python3 0.11.150
for `DescribeUK8SAutoscalerGroup`. The answers hold passwords and scripts that people wrote: those members are never
kept. DescribeUK8SCluster, which returns certificates, is not asked.
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Follow, Kind, Paging

_OF_THE_CLUSTER = ("ClusterId", "ClusterName", "K8sVersion")

NODE_GROUP = Kind(
    name="node-group",
    action="ListUK8SClusterV2",
    scope="region",
    paging=Paging(limit=100),
    items={"ClusterSet": ()},
    follow=(
        Follow(action="ListUK8SNodeGroup", item_key="ClusterId", carried=_OF_THE_CLUSTER),
        Follow(action="DescribeUK8SAutoscalerGroup", item_key="ClusterId", carried=_OF_THE_CLUSTER),
    ),
    sets={"NodeGroupList": ("NodeGroupSet",), "AutoScalingGroup": ("AutoScalingGroupSet", "AutoscalingGroup")},
    id_keys=("NodeGroupId",),
    own_id_keys={"AutoScalingGroup": ("Id",)},
    fields=(
        Field(name="group_name", keys=("NodeGroupName", "Name")),
        Field(name="node_image_id", keys=("ImageId",)),
        Field(name="node_image_name", keys=("ImageName",)),
        Field(name="image_type", keys=("ImageType",)),
        Field(name="os_name", keys=("OsName",)),
        Field(name="zone_name", keys=("Zone",)),
        Field(name="cluster_id", keys=("ClusterId",)),
        Field(name="cluster_name", keys=("ClusterName",)),
        Field(name="k8s_version", keys=("K8sVersion",)),
        Field(name="node_group_id", keys=("NodeGroupId",)),
        Field(name="machine_type", keys=("MachineType",)),
        Field(name="gpu_type", keys=("GpuType",)),
        Field(name="gpus", keys=("GPU", "Gpu"), type="integer"),
        Field(name="family", keys=("UHostFamily",)),
        # How many nodes there are just now is the autoscaler's business, and no change of the group.
        Field(name="nodes", keys=("NodeList",), type="nested", compared=False),
        Field(name="scaling_groups", keys=("RelatedAsg",), type="nested", compared=False),
        Field(name="nodes_now", keys=("CurrentNodeNum",), type="integer", compared=False),
        Field(name="updated_at", keys=("UpdateTime",), type="moment", compared=False),
    ),
    secrets=("Password", "UserData", "InitScript", "EtcdKey", "EtcdCert"),
    envelope=("RetCode", "Action", "Message", "ClusterId", "Autoscaler", "Update"),
    sources=(
        "UCloudDoc-Team/api@cd570dff uk8s-api/list_uk8s_cluster_v2.md, list_uk8s_node_group.md",
        "ucloud-sdk-python3@0.11.150 ucloud/services/uk8s/schemas/apis.py, models.py",
    ),
)
