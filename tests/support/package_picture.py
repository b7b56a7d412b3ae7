"""
The picture of the packages in `docs/architecture.md`, drawn from the layers of the import contract.

`python -m tests.support.package_picture` writes it anew; a test compares it with the contract.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.support.house import ROOT

PICTURE = ROOT / "docs" / "packages.svg"
_WIDTH, _ROW, _GAP, _LEFT = 640, 34, 14, 24
_STYLE = """
  text { font: 14px ui-monospace, monospace; fill: #1f2328; text-anchor: middle; }
  rect { fill: #eef4fb; stroke: #5b7fa8; rx: 5; }
  .pure { fill: #eaf6ea; stroke: #5c8f5c; }
  path { stroke: #8a8f98; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } rect { fill: #1d2b3a; } .pure { fill: #1d3323; }
  }
"""


def layers() -> list[list[str]]:
    """Return the layers of the contract, uppermost first, each with its modules."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (rows,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[word.strip(" ()") for word in row.replace(":", "|").split("|")] for row in rows]


def pure() -> set[str]:
    """Return the modules directly under the package that the contract about pure modules names."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (modules,) = (contract["source_modules"] for contract in contracts if "pure" in contract["name"])
    return {module.removeprefix("crawler.") for module in modules if module.count(".") == 1}


def picture(rows: Sequence[Sequence[str]], are_pure: set[str]) -> str:
    """Return the SVG text: a row of boxes per layer, and the one direction in which imports go."""
    height = len(rows) * (_ROW + _GAP) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>The packages of crawler, layer by layer; imports point down</title>",
        f"<style>{_STYLE}</style>",
        f'<path d="M10 {_GAP} V{height - _GAP} m-5 -8 l5 8 l5 -8"/>',
    ]
    for number, names in enumerate(rows):
        top = _GAP + number * (_ROW + _GAP)
        width = (_WIDTH - _LEFT - _GAP * len(names)) / len(names)
        for place, name in enumerate(names):
            left = _LEFT + place * (width + _GAP)
            kind = ' class="pure"' if name in are_pure else ""
            parts.append(f'<rect{kind} x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_ROW}"/>')
            parts.append(f'<text x="{left + width / 2:.0f}" y="{top + _ROW / 2 + 5:.0f}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(layers(), pure()), encoding="utf-8")


if __name__ == "__main__":
    main()
