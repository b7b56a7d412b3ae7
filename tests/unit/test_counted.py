"""Sentences about one thing: no number that may be 1 stands before a noun of many."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.house import ROOT

NOUNS = (
    "accounts|bytes|changes|days|files|hosts|images|intervals|items|kinds|pages|pins|problems|projects|reasons|records|"
    "regions|requests|rows|rules|runs|slots|steps|targets|times|withdrawals|workers|zones"
)
MANY = re.compile(rf" (?:more )?(?:{NOUNS})\b")
#: Said where there are several, or where one is said in another way beside it.
SEVERAL = (
    "take turns in {cost.turns.runs} runs",
    "{self.targets} targets of the matrix, {self.at_once} in a run, take {self.runs} runs",
    "{len(latest)} images called ",
    "{days} days",
    "{abs(skew).days:,} days",
    "of its {snapshot.records} records",
    "more kinds of notices",
    "{len(self.problems)} problems",
    "({len(body)} bytes, not shown: they are nested too deeply)",
    "{' or '.join(events)} changes",
)


def sentences() -> Iterator[str]:
    """Yield the texts of the program with values in them, as they are written, where a value stands before many."""
    for path in sorted((ROOT / "crawler").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            for value, text in zip(node.values, node.values[1:], strict=False):
                is_number = isinstance(value, ast.FormattedValue) and not ast.unparse(value.value).isupper()
                if is_number and isinstance(text, ast.Constant) and MANY.match(str(text.value)):
                    yield ast.unparse(node)


def test_one_is_not_many() -> None:
    """A number before a noun goes through `counted`, which knows one, but where there are always several."""
    assert [said for said in sentences() if not any(several in said for several in SEVERAL)] == []


def test_no_brackets_for_the_s() -> None:
    """No text leaves it to the reader whether there is one or more."""
    texts = [path for path in (ROOT / "crawler").rglob("*") if path.suffix in (".py", ".j2")]

    assert [path for path in texts if re.search(r"\w(?<!http)\(e?s\)", path.read_text(encoding="utf-8"))] == []
