"""A file that holds a secret and is open to others is warned of, whichever secret it is; one that holds none is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.config.loader import load

ACCOUNT = '[[accounts]]\nname = "a"\npublic_key_file = "k"\nprivate_key_file = "k"\n'
SMTP = '[smtp]\nhost = "localhost"\nfrom = "a@b.c"\nusername = "u"\n'
HOOK = '[[reports]]\nname = "r"\nchannel = "webhook"\nsecret_file = "k"\n'
ENVIRON = {"P": "from-the-environment", "URL": "https://hooks.example.com/x"}


def warnings(tmp_path: Path, text: str, mode: int = 0o644) -> list[str]:
    """Return the warnings of a configuration of *text* with *mode*; what it names is private."""
    path = tmp_path / "crawler.toml"
    path.write_text(text)
    path.chmod(mode)
    (tmp_path / "k").write_text("secret-in-a-file")
    (tmp_path / "k").chmod(0o600)
    return list(load(path, None, {"HOME": str(tmp_path), **ENVIRON}).warnings)


@pytest.mark.parametrize(
    "text",
    [
        ACCOUNT.replace('private_key_file = "k"', 'private_key = "sekret"'),
        ACCOUNT.replace('private_key_file = "k"', 'private_key = "${UNSET:-sekret}"'),
        ACCOUNT + 'headers = { channel-key = "sekret" }\n',
        ACCOUNT + '[accounts.headers]\nchannel-key = "$${sekret"\n',
        'database = "postgresql://u:sekret@127.0.0.1:1/x"\n' + ACCOUNT,
        'database = "postgresql://u:sekret@${P}/x"\n' + ACCOUNT,
        'database = "postgresql://u:${UNSET:-sekret}@h/x"\n' + ACCOUNT,
        'database = "postgresql://u@h/x?password=sekret"\n' + ACCOUNT,
        'ping = "https://hc-ping.com/sekret"\n' + ACCOUNT,
        ACCOUNT + SMTP + 'password = "sekret"\n',
        ACCOUNT + HOOK + 'url = "https://hooks.example.com/sekret"\n',
        ACCOUNT + HOOK.replace('secret_file = "k"', 'secret = "sekret"') + 'url = "${URL}"\n',
    ],
)
def test_every_literal_secret(tmp_path: Path, text: str) -> None:
    """Keys, headers, passwords, and URLs that carry a secret, also as the default of a reference."""
    sentence = f"{tmp_path}/crawler.toml holds a secret and is readable by everyone; chmod 600 it"

    assert warnings(tmp_path, text) == [sentence]
    assert warnings(tmp_path, text, 0o640) == []
    assert "sekret" not in sentence


@pytest.mark.parametrize(
    "text",
    [
        ACCOUNT,
        ACCOUNT.replace('public_key_file = "k"', 'public_key = "public"'),
        ACCOUNT.replace('private_key_file = "k"', 'private_key = "${P}"'),
        ACCOUNT + 'headers = { channel-key_file = "k", X-Other = "Bearer ${P}", X-Empty = "" }\n',
        'database = "postgresql://u:${P}@h:5432/x?sslmode=require"\n' + ACCOUNT,
        'database = "postgresql://${UNSET:-u}@h/x"\n' + ACCOUNT,
        'database_file = "k"\nping = "https://hc-ping.com/${P}"\n' + ACCOUNT,
        ACCOUNT + SMTP + 'password_file = "k"\n',
        ACCOUNT + HOOK + 'url = "${URL}"\n',
    ],
)
def test_no_literal_secret(tmp_path: Path, text: str) -> None:
    """What only says where a secret is may be read by everyone."""
    assert warnings(tmp_path, text) == []


@pytest.mark.parametrize(
    ("mode", "rights"), [(0o602, "writable"), (0o604, "readable"), (0o606, "readable and writable")]
)
def test_rights(tmp_path: Path, mode: int, rights: str) -> None:
    """Whoever can write a key file can put another in its place: that is warned of as well."""
    path = tmp_path / "crawler.toml"
    path.write_text(ACCOUNT)
    (tmp_path / "k").write_text("sekret")
    (tmp_path / "k").chmod(mode)

    assert load(path, None, {"HOME": "/"}).warnings == tuple(
        f"accounts[0].{key}_file: {tmp_path}/k is {rights} by everyone; chmod 600 it"
        for key in ("public_key", "private_key")
    )


def test_override_on_the_command_line(tmp_path: Path) -> None:
    """A file holds its secrets also when another database is named on the command line."""
    path = tmp_path / "crawler.toml"
    path.write_text('database = "postgresql://u:sekret@h/x"\n')
    path.chmod(0o644)

    assert len(load(path, str(tmp_path / "x.db"), {"HOME": "/"}, need_accounts=False).warnings) == 1
