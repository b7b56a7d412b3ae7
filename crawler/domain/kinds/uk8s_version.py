"""
Kubernetes versions that UK8S offers: `GetUK8SVersions`, per region.

Facts: UCloudDoc-Team/api `uk8s-api/get_uk8s_versions.md` (its table has an array `Data`, its example the fields beside
an empty one) and UCloudDoc-Team/uk8s `version/maintain.md`: three even minor versions at a time, a new one ends the
oldest.
"""

from __future__ import annotations

from crawler.domain.kinds.base import Field, Kind

UK8S_VERSION = Kind(
    name="uk8s-version",
    action="GetUK8SVersions",
    scope="region",
    constants={"Kind": "Dedicated"},
    sets={"Data": ()},
    bare_set="Data",
    id_keys=("K8sVersion",),
    fields=(Field(name="containerd_version", keys=("ContainerdVersion",)),),
    sources=(
        "UCloudDoc-Team/api@cd570dff uk8s-api/get_uk8s_versions.md",
        "UCloudDoc-Team/uk8s@f1a13e6d version/maintain.md",
    ),
)
