"""The container image: what its file says, and what it does when it is built and run for real."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crawler import __version__
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, run_in_thread
from tests.support.house import text_of
from tests.support.worlds import make_timeline

CONTAINERFILE = Path("config/container/Containerfile")
ROOT = Path(__file__).resolve().parents[2]
UID = 10001
TOOLS = ("buildah", "mmdebstrap", "unshare")
ZONES = {"hk-02": {"uimage-a": "CentOS 7.6"}}


def instructions() -> list[tuple[str, str]]:
    """Return the file's instructions in order, continued lines joined."""
    text = re.sub(r"^#.*\n", "", text_of(CONTAINERFILE), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def extras() -> str:
    """Return the extras that the image's file installs, in brackets as pip writes them."""
    found = re.search(r"'ucloud-image-crawler(\[[\w,]+\])'", text_of(CONTAINERFILE))
    assert found
    return found[1]


def test_wheels() -> None:
    """The page has the wheels of exactly the extras made that the image installs."""
    assert f"python3 -m pip wheel -w context/wheels '.{extras()}'" in text_of(Path("docs/container.md"))


def test_containerfile() -> None:
    """It has two stages, ends as a fixed user who is not root, and carries labels, a health check and no secret."""
    lines = instructions()
    last = dict(lines)

    assert [rest for word, rest in lines if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    assert last["USER"] == f"{UID}:{UID}"
    assert lines.index(("USER", last["USER"])) > max(i for i, (word, _) in enumerate(lines) if word in ("RUN", "COPY"))
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", last["LABEL"]))
    assert labels == {"title", "description", "licenses", "version"}
    assert last["HEALTHCHECK"].endswith('CMD ["crawler", "status"]')
    assert (last["ENTRYPOINT"], last["STOPSIGNAL"]) == ('["crawler"]', "SIGTERM")
    assert "--no-index" in text_of(CONTAINERFILE)
    assert "tini" in text_of(CONTAINERFILE)
    assert "://" not in text_of(CONTAINERFILE)
    base = dict(rest.split("=", 1) for word, rest in lines if word == "ARG")["BASE"]
    assert "/" not in base  # no registry: the builder's own is asked


@dataclass(slots=True)
class Image:
    """The built image, mounted; each container has a read-only root, a folder for its data, and an own `/tmp`."""

    root: Path
    data: Path
    #: What `buildah inspect` says of the image.
    facts: str

    def start(self, *words: str, mode: str = "rw", **environ: str) -> subprocess.Popen[str]:
        """Start *words* as the first process of a container of the image's user; *mode* is the data folder's."""
        script = (
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && mount -t tmpfs tmpfs "$0/tmp" && '
            'mount --bind "$1" "$0/var/lib/crawler" && mount -o "remount,$2,bind" "$0/var/lib/crawler" && '
            'shift 2 && exec "$@"'
        )
        chroot = [shutil.which("chroot") or "/usr/sbin/chroot", f"--userspec={UID}:{UID}", str(self.root)]
        plain = {"PATH": "/opt/crawler/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/var/lib/crawler"}
        inside = ["/usr/bin/env", "-i", "-C", "/var/lib/crawler", *(f"{k}={v}" for k, v in (plain | environ).items())]
        outside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, str(self.root)]
        return subprocess.Popen(
            [*outside, str(self.data), mode, *chroot, *inside, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, code: int = 0, mode: str = "rw", **environ: str) -> str:
        """Run *words* to their end and give what they printed; expect the exit *code*."""
        process = self.start(*words, mode=mode, **environ)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, (words, process.returncode, out, err)
        return out + err


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image as the page says, on a base made of Debian's packages; skip where this machine cannot."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install buildah mmdebstrap")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("containers need root, or a kernel that lets this user make namespaces")
    folder = tmp_path_factory.mktemp("container")
    buildah = ["buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/state"]
    variables = os.environ | {"BUILDAH_ISOLATION": "chroot"}

    def do(*words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, env=variables, timeout=400, check=False)
        if done.returncode:
            pytest.fail(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout.strip()

    packages = "python3,python3-venv,ca-certificates"
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    debootstrap = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={packages}"]
    made = subprocess.run(
        [*debootstrap, release.get("VERSION_CODENAME", "stable"), f"{folder}/base.tar"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"mmdebstrap cannot make a base here: {made.stderr.strip().splitlines()[-1:]}")
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if f".{python}\n" not in subprocess.run(["tar", "tf", f"{folder}/base.tar"], capture_output=True, text=True).stdout:
        pytest.skip(f"the base has another Python than this one, for which the wheels are: no {python}")
    do(sys.executable, "-m", "pip", "wheel", "-q", "-w", f"{folder}/context/wheels", f"{ROOT}{extras()}")
    name = re.search(r"^ARG BASE=(\S+)$", text_of(CONTAINERFILE), re.MULTILINE)
    assert name
    do(*buildah, "from", "--name", "base", "scratch")
    do(*buildah, "add", "base", f"{folder}/base.tar", "/")
    do(*buildah, "commit", "--rm", "-q", "base", name[1])
    build = [
        "build",
        "--pull-never",
        "--format",
        "docker",
        "--build-arg",
        f"VERSION={__version__}",
        "-t",
        "crawler:test",
    ]
    do(*buildah, *build, "-f", str(ROOT / CONTAINERFILE), f"{folder}/context")
    container = do(*buildah, "from", "--pull-never", "crawler:test")
    try:
        root = Path(do(*buildah, "mount", container))
        yield Image(root, folder / "data", do(*buildah, "inspect", "--type", "image", "crawler:test"))
    finally:
        subprocess.run([*buildah, "rm", "--all"], capture_output=True, check=False)
        subprocess.run([*buildah, "rmi", "--all", "--force"], capture_output=True, check=False)


def environ(url: str) -> dict[str, Any]:
    """Return the variables by which a run asks the emulated cloud at *url*."""
    keys = {"UCLOUD_PUBLIC_KEY": EXAMPLE_PUBLIC_KEY, "UCLOUD_PRIVATE_KEY": EXAMPLE_PRIVATE_KEY}
    return {"UCLOUD_BASE_URL": url, **keys}


@pytest.fixture
def box(image: Image) -> Image:
    """Return the image with an empty folder for its data."""
    shutil.rmtree(image.data, ignore_errors=True)
    image.data.mkdir()
    os.chown(image.data, UID, UID)
    return image


@pytest.mark.prove
def test_built_image(box: Image) -> None:
    """It runs as its own user on a read-only root, has no pip, and says its version; the demo plays in it."""
    assert f"uid={UID} gid={UID} groups={UID}" in box.run("id")
    assert "Read-only file system" in box.run("sh", "-c", "touch /tmp/x && touch /opt/crawler/x", code=1)
    box.run("/opt/crawler/bin/python", "-c", "import pip", code=1)
    assert box.run("crawler", "--version") == f"crawler {__version__}\n"
    assert "CentOS" in box.run("crawler", "demo")
    assert f'"org.opencontainers.image.version": "{__version__}"' in box.facts
    assert f'"User": "{UID}:{UID}"' in box.facts
    assert '"Healthcheck"' in box.facts


@pytest.mark.prove
def test_run_in_a_container(box: Image) -> None:
    """A run asks a cloud and keeps the history in the data folder, as its user; readers need only read it."""
    database = ["--database", "/var/lib/crawler/crawler.db"]
    box.run("crawler", *database, "status", code=74)
    with run_in_thread(make_timeline(zones=ZONES)) as cloud:
        box.run("crawler", *database, "run", **environ(cloud.url))

    assert "uimage-a" in box.run("crawler", *database, "images", "-o", "csv", mode="ro")
    box.run("crawler", *database, "status", mode="ro")
    assert (box.data / "crawler.db").stat().st_uid == UID


@pytest.mark.prove
def test_sigterm(box: Image) -> None:
    """SIGTERM to the first process ends a run within seconds: what was answered is recorded, the rest skipped."""
    hang = {"action": "DescribeUK8SImage", "zone": "sg-01", "hang": True}
    zones = {**ZONES, "sg-01": {"uimage-b": "CentOS 7.6"}}
    database = ["--database", "/var/lib/crawler/crawler.db"]
    with run_in_thread(make_timeline(zones=zones, faults=[hang])) as cloud:
        process = box.start("crawler", *database, "run", "--json", **environ(cloud.url))
        until = time.monotonic() + 30
        while not any(line.zone == "sg-01" for line in cloud.log) and time.monotonic() < until:
            time.sleep(0.05)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        out, err = process.communicate(timeout=20)

    assert process.returncode == 3, (process.returncode, out, err)
    assert '"skipped": 1' in out
    assert "uimage-a" in box.run("crawler", *database, "images", "-o", "csv")
