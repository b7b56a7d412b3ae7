"""The starter configuration that `crawler init` writes, to the letter."""

from __future__ import annotations

import pytest

from crawler.cli.init import Starter, render
from crawler.domain.models import Place, Project

TOLD = Starter(
    endpoint="https://api.ucloud.cn/",
    timezone="Asia/Shanghai",
    headers={"channel-key": "${UCLOUD_CHANNEL}"},
    projects=(Project(project_id="org-1", name="Main\nteam"), Project(project_id="org-2")),
    places=(
        Place(region="hk", zone="hk-02"),
        Place(region="cn-bj2", zone="cn-bj2-05"),
        Place(region="hk", zone="hk-01"),
    ),
)
TOLD_TEXT = """\
# Written by `crawler init`. `crawler config validate` checks it; `crawler config show` tells what counts.

# Relative to this file; a postgresql:// URL works too.
database = "sqlite:///crawler.db"
# Times without an offset are meant, and times are shown, in this zone.
timezone = "Asia/Shanghai"
# What was last observed longer ago than this is shown as unknown.
stale_after = "26h"

[[accounts]]
# The account's identity in the history: choose it before the first run, then keep it.
name = "default"
endpoint = "https://api.ucloud.cn/"
# Taken from the environment, so that no key stands here. Or: private_key_file = "/etc/crawler/private.key"
public_key = "${UCLOUD_PUBLIC_KEY}"
private_key = "${UCLOUD_PRIVATE_KEY}"

# Globs over ids and names; "default" sends no ProjectId.
# 2 projects: org-1 (Main team), org-2
projects = ["*"]

# 2 regions: cn-bj2, hk
regions = ["*"]
# 3 zones: cn-bj2-05, hk-01, hk-02
zones = ["*"]

kinds = ["uk8s-image"]

# Sent with every request.
headers = { "channel-key" = "${UCLOUD_CHANNEL}" }

# Requests per period, for each account; retries count.
[limits]
rate = 10
period_seconds = 1.0
concurrency = 16
"""
REFUSED = Starter(
    endpoint="https://api.ucloud.cn/",
    timezone="Asia/Shanghai",
    key_file="private.key",
    public_key="pub",
    network={"proxy": "http://proxy.example.com:3128", "no_proxy": ["a.example.com"]},
    projects_refused=True,
)
REFUSED_TEXT = """\
# Written by `crawler init`. `crawler config validate` checks it; `crawler config show` tells what counts.

# Relative to this file; a postgresql:// URL works too.
database = "sqlite:///crawler.db"
# Times without an offset are meant, and times are shown, in this zone.
timezone = "Asia/Shanghai"
# What was last observed longer ago than this is shown as unknown.
stale_after = "26h"

[[accounts]]
# The account's identity in the history: choose it before the first run, then keep it.
name = "default"
endpoint = "https://api.ucloud.cn/"
public_key = "pub"
private_key_file = "private.key"

# Globs over ids and names; "default" sends no ProjectId.
# The account may not list its projects: name the ids to watch.
projects = ["default"]

# The regions could not be listed when this was written; runs will try again.
regions = ["*"]
zones = ["*"]
# If the account may never list them, name the places instead, at the end of this account:
#[[accounts.places]]
#region = "hk"
#zone = "hk-02"

kinds = ["uk8s-image"]

# Requests per period, for each account; retries count.
[limits]
rate = 10
period_seconds = 1.0
concurrency = 16

# What the environment said of proxies when this was written; schedulers do not know it.
[network]
proxy = "http://proxy.example.com:3128"
no_proxy = ["a.example.com"]
"""


@pytest.mark.parametrize(("starter", "text"), [(TOLD, TOLD_TEXT), (REFUSED, REFUSED_TEXT)], ids=["told", "refused"])
def test_every_line(starter: Starter, text: str) -> None:
    """What the cloud told, or refused to, and how keys and proxies are named stand in the file as they did before."""
    assert render(starter) == text
