"""
The examples of the pages: fenced blocks by language and page, and the commands of those that are for a shell.

A test that runs examples asks `blocks` for them with the language, and where it is one page's the page, written out in
the call. By these calls `tests/unit/test_examples.py` knows that no block is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests.support.house import pages

FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: What stands between two commands of a shell, and how a file is redirected.
BETWEEN = {"&", "&&", "|", "||", ";", "\n"}
REDIRECTED = {">", ">>", "<"}


def fenced(text: str) -> list[tuple[str, str]]:
    """Return language and text of each block in *text*, without the indentation of the list it stands in."""
    found = FENCED.finditer(text)
    return [(block[2], re.sub(f"^{block[1]}", "", block[3], flags=re.MULTILINE)) for block in found]


def blocks(language: str, page: str = "") -> list[str]:
    """Return the blocks of a *language* (empty: those that name none) in *page*, or in all pages."""
    wanted = [text for path, text in pages().items() if page in ("", path)]
    return [block for text in wanted for spoken, block in fenced(text) if spoken == language]


def commands(script: str) -> Iterator[list[str]]:
    """Return the words of each command in a shell *script*; comments, redirections and loops are taken off."""
    plain = re.sub(r"(^|\s)#\s.*", "", script, flags=re.MULTILINE).replace("\\\n", " ")
    lexer = shlex.shlex(plain, posix=True, punctuation_chars="&|;<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if token.strip(" ") and set(token) <= set("&|;\n"):
            words = [word for word in words if word not in ("do", "done")]
            if words and words[0] != "for":
                yield words
            words = []
        elif words and words[-1] in REDIRECTED:
            words.pop()
        else:
            words.append(token)


def crawler_words(command: list[str]) -> list[str] | None:
    """Return what a *command* gives to `crawler`, called by name, by `./dev run` or in a container; else None."""
    if command[0].rpartition("/")[2] == "crawler":
        return command[1:]
    if command[:2] == ["./dev", "run"]:
        return command[2:]
    if command[:2] == ["podman", "run"]:
        return command[command.index("$CRAWLER_IMAGE") + 1 :]
    return None


def from_nothing() -> list[str]:
    """Return the shell blocks that set something up: they begin in an empty folder and are run whole."""
    return [block for block in blocks("sh") if re.search(r"^(crawler init|\./dev setup)", block, re.MULTILINE)]


def single_commands() -> list[list[str]]:
    """Return each command of the other shell blocks, and of the consoles: they are run one by one."""
    consoles = [line for text in blocks("console") for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE)]
    scripts = [*(block for block in blocks("sh") if block not in from_nothing()), *consoles]
    return list({tuple(words): words for script in scripts for words in commands(script)}.values())
