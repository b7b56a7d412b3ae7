"""
Everything that a cluster needs beside the image: the CronJob, and the objects around it. Pure, but for the template.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from crawler.domain.text import quoted
from crawler.ops import deploy
from crawler.ops.printing import printed


def manifests(installation: deploy.Installation) -> str:
    """Return all objects as YAML documents; raise UsageError for an uneven rhythm."""
    return f"{deploy.kubernetes(installation)}---\n{surroundings(installation)}"


def surroundings(installation: deploy.Installation) -> str:
    """Return what the CronJob uses: ConfigMap, volume, a place to ask from, and whom the pods may call."""
    data = f"/var/lib/crawler/{PurePosixPath(installation.database).name}" if installation.database else ""
    return printed("crawler.ops", "kubernetes.yaml.j2", {"block": block}, it=installation, data=data)


def block(text: str) -> str:
    """Return *text* as the value of a key that is indented by two: readable, or quoted where YAML would change it."""
    lines = text.split("\n")
    is_plain = all(char.isprintable() or char == "\t" for line in lines for char in line)
    if not is_plain or lines[-1] or not text.strip() or text.endswith("\n\n") or not lines[0].strip():
        return quoted(text)
    return "|2\n" + "\n".join(f"    {line}" if line else "" for line in lines[:-1])
