"""Names that somebody could give an image, or a zone, to get out of a folder or to break a document."""

from __future__ import annotations

#: Some fifty; those that a database cannot hold are in it too.
HOSTILE = (
    *("../x", "..", ".", "a/b", "/etc/passwd", "~root", "\\\\host\\share", "C:\\x", "x\0y", "\0", "x" * 10_000),
    *(
        "位" * 3_000,
        "%2e%2e%2f",
        "%",
        "a%2Fb",
        "ubuntu.json",
        "ubuntu",
        "image_id",
        ".part",
        ".git",
        "-rf",
        "--",
        "con",
    ),
    *("Ubuntu 20.04", "ubuntu-20.04", "<script>alert(1)</script>", "]]>", "&amp;", "'\"", "\x1b[31m", "a\nb", "a\tb"),
    *(
        "\u202eabc",
        "\u2028",
        "\ufffe",
        "\U0010ffff",
        "\ud800",
        "e\u0301" * 50,
        "\u0301" * 50,
        "🙂",
        " ",
        "",
        "...",
        "?#",
    ),
    *("$(id)", "`id`", "{{ 7*7 }}", "${x}", "name\r\nX: y", "index.json", "current"),
)
