"""Files that people write: their encodings, and names that lead to no file."""

from __future__ import annotations

import codecs
import os
import socket
import threading
from pathlib import Path

import pytest

from crawler.config.textfiles import decoded, read_bytes, read_text

TEXT = "名 = 'é'\r\n"
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKED)
def test_marks(encoding: str) -> None:
    """A mark at the beginning tells the encoding, as PowerShell and Notepad write it; it is no part of the text."""
    assert decoded(MARKED[encoding] + TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("é".encode("latin-1"), r"is not UTF-8 text \(at byte 0\); save it as UTF-8"),
        (b"SQLite format 3\0\x10\xff", "is no text file$"),
        (codecs.BOM_UTF16_LE + b"u", r"is not UTF-16 text \(at byte 2\)"),
        (codecs.BOM_UTF8 + b"u\xff", r"is not UTF-8 text \(at byte 4\)|is not UTF-8 text \(at byte 1\)"),
    ],
)
def test_no_text(body: bytes, said: str) -> None:
    """What is no text in its encoding is refused with the place."""
    with pytest.raises(ValueError, match=said):
        decoded(body)


def test_what_is_no_file(tmp_path: Path) -> None:
    """Folders, sockets, pipes that nobody writes to and endless devices are refused at once, each in words."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        said = {}
        for name in ("folder", "pipe", "loop", "socket", "gone", "x" * 300, "a\0b", "/dev/zero"):
            with pytest.raises(ValueError, match=r"\w") as refusal:
                read_text(tmp_path / name)
            said[name[:10]] = str(refusal.value)

    assert said == {
        "folder": "cannot be read: Is a directory",
        "pipe": "is a pipe from which nothing came",
        "loop": "cannot be read: Too many levels of symbolic links",
        "socket": "cannot be read: No such device or address",
        "gone": "cannot be read: No such file or directory",
        "x" * 10: "cannot be read: File name too long",
        "a\0b": "cannot be read: not a usable path",
        "/dev/zero": "is larger than 16 MB",
    }
    assert read_text(Path("/dev/null")) == ""


def test_pipes(tmp_path: Path) -> None:
    """What another program writes into a pipe is read to its end; one that stays open is given up."""
    reading, writing = os.pipe()

    def write() -> None:
        os.write(writing, TEXT.encode())
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_text(Path(f"/dev/fd/{reading}")) == TEXT
    writer.join()
    os.close(reading)

    os.mkfifo(tmp_path / "pipe")
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(ValueError, match=r"is no file, and did not end within 0\.05 s"):
        read_bytes(tmp_path / "pipe", patience_seconds=0.05)
    os.close(held)


def test_size(tmp_path: Path) -> None:
    """A file beyond the size that is allowed is refused, one of that size is read."""
    (tmp_path / "file").write_bytes(b"x" * 2048)

    assert len(read_text(tmp_path / "file", 2048)) == 2048
    with pytest.raises(ValueError, match="is larger than 1 kB"):
        read_text(tmp_path / "file", 1024)
