"""What a configuration names for later: `config validate` says what of it is missing, unreadable or something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.config.loader import load
from crawler.errors import ConfigurationError
from tests.support.command import call

KEYS = {"UCLOUD_PUBLIC_KEY": "p", "UCLOUD_PRIVATE_KEY": "k"}
MAIL = '[smtp]\nhost = "mail.example.com"\nfrom = "a@example.com"\n'
REPORT = f'{MAIL}[[reports]]\nname = "sre"\nto = ["b@example.com"]\n'
POOL = 'resource "ucloud_uk8s_node" "a" {\n  image_id = "uimage-vareox"\n}\n'


def configured(folder: Path, text: str) -> Path:
    path = folder / "crawler.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def complaints(folder: Path, text: str) -> list[str]:
    """Return the problems that a thorough look at *text* finds, with `.` for *folder*."""
    with pytest.raises(ConfigurationError) as caught:
        load(configured(folder, text), None, KEYS, is_thorough=True)
    return [line.strip().replace(str(folder), ".") for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f'{REPORT}pins_from = ["live", "lost.tf", "infra/", "lost/"]',
            [
                "reports[0].pins_from[1]: ./lost.tf cannot be read: No such file or directory",
                "reports[0].pins_from[3]: ./lost cannot be read: No such file or directory",
            ],
        ),
        (f'{REPORT}pins_from = "lost"', ["reports[0].pins_from: ./lost cannot be read: No such file or directory"]),
        (
            f'{REPORT}pins_from = ["live", "binary.tf"]',
            ["reports[0].pins_from[1]: ./binary.tf is not UTF-8 text (at byte 0); save it as UTF-8"],
        ),
        (
            f'{REPORT}pins_from = ["half.tfstate"]',
            ["reports[0].pins_from: ./half.tfstate is no JSON: what stands at line 1 column 31 is not understood"],
        ),
        (
            f'{REPORT}pins_from = ["{"n" * 300}"]',
            [f"reports[0].pins_from: ./{'n' * 300} cannot be read: File name too long"],
        ),
        ('[metrics]\ntextfile = "lost/a.prom"', ["metrics.textfile: the folder ./lost does not exist"]),
        ('[metrics]\ntextfile = "half.tfstate/a.prom"', ["metrics.textfile: ./half.tfstate is no folder"]),
        ('[metrics]\ntextfile = "infra"', ["metrics.textfile: ./infra is a folder"]),
        ('[publish]\ndir = "half.tfstate"', ["publish.dir: ./half.tfstate is no folder"]),
        ('[publish]\ndir = "half.tfstate/a/b"', ["publish.dir: ./half.tfstate is no folder"]),
        ('database = "lost/a.db"', ["database: the folder ./lost does not exist"]),
        ('database = "infra"', ["database: ./infra is no file"]),
        ('database = "half.tfstate"', ["database: ./half.tfstate is no SQLite database"]),
        ('[network]\nca_file = "bad.pem"', ["network.ca_file: ./bad.pem holds a certificate that is damaged"]),
        (
            f'stale_after = "soon"\n{REPORT}pins_from = ["lost"]\n[metrics]\ntextfile = "lost/a"',
            [
                "stale_after: 'soon' is no duration; write a number and s, m, h, d, w, mo or y, such as 90m, "
                "26h, 7d, 6mo",
                "reports[0].pins_from: ./lost cannot be read: No such file or directory",
                "metrics.textfile: the folder ./lost does not exist",
            ],
        ),
    ],
)
def test_what_is_named(text: str, told: list[str], tmp_path: Path) -> None:
    """Each file or folder that cannot be used is one sentence with its key, among all other problems of the file."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "binary.tf").write_bytes(b"\x80uimage-vareox")
    (tmp_path / "half.tfstate").write_text('{"image_id": "uimage-vareox", ')
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert complaints(tmp_path, text) == told


def test_what_may_be_missing(tmp_path: Path) -> None:
    """What a run makes is not missed: the database, the metrics, the published folder and those it lies in."""
    text = (
        f'database = "new.db"\n{REPORT}pins_from = ["live"]\n[metrics]\ntextfile = "new.prom"\n[publish]\ndir = "a/b"'
    )
    path = configured(tmp_path, text)
    assert load(path, None, KEYS, is_thorough=True).warnings == ()
    (tmp_path / "new.db").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert load(path, None, KEYS, is_thorough=True).warnings == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "crawler.toml", "new.db"]


def test_a_file_of_a_folder(tmp_path: Path) -> None:
    """In a folder what is not understood is a warning, for a run leaves it out; the rest of the folder is watched."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "pool.tf").write_text(POOL)
    (tmp_path / "infra" / "odd.sh").write_bytes(b"IMAGE=uimage-vareox \x80")
    settings = load(configured(tmp_path, f'{REPORT}pins_from = ["infra"]'), None, KEYS, is_thorough=True)

    assert [warning.replace(str(tmp_path), ".") for warning in settings.warnings] == [
        "reports[0].pins_from: ./infra/odd.sh is not UTF-8 text (at byte 20); save it as UTF-8; it is left out"
    ]


def test_other_commands_go_on(tmp_path: Path) -> None:
    """A run does without the pins, and begins with the folder it finds: nothing of this is a fault of the settings."""
    text = f'{REPORT}pins_from = ["lost"]\n[metrics]\ntextfile = "lost/a.prom"\n[publish]\ndir = "crawler.toml"\n'

    assert load(configured(tmp_path, text), None, KEYS).reports[0].pins_from == (str(tmp_path / "lost"),)


def test_given_database(tmp_path: Path) -> None:
    """With --database it is that one that counts, and not the file's."""
    path = configured(tmp_path, 'database = "lost/a.db"')
    said = call("--config", path, "--database", tmp_path / "a.db", "config", "validate", environ=KEYS).stdout

    assert "is fine" in said
    said = call("--config", path, "--database", tmp_path, "config", "validate", environ=KEYS, code=2).stderr
    assert f"--database: {tmp_path} is no file" in said
    said = call("--config", path, "config", "validate", environ={**KEYS, "LANG": "zh_CN.UTF-8"}, code=2).stderr
    assert said == f"错误：{path}：1 个问题\n  database：目录 {tmp_path / 'lost'} 不存在\n"
