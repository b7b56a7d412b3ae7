"""
What `./dev docs` adds to the pages under `docs/`: the files beside them that they link to.

README becomes the front page; links that lead out of `docs/` in the checkout lead to the copies in the site.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Files of the checkout by the name they have in the site.
BESIDE = {
    "README.md": "index.md",
    "README.zh.md": "zh/index.md",
    **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")},
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside `docs/`, and the shipped examples."""
    for name, place in BESIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / "config").rglob("*")):
        if path.is_file():
            files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links and pictures at the places that their files have in the site."""
    here = page.file.src_uri
    if here in BESIDE.values():
        # Seen from the place in the site: the Chinese front page stands one folder further down.
        up = "../" if here.startswith("zh/") else ""
        markdown = re.sub(r"(\]\(|src=\")docs/", rf"\1{up}", markdown)
        markdown = re.sub(r"\]\((CHANGELOG|CONTRIBUTING|SECURITY)", rf"]({up}\1", markdown)
        return markdown.replace("](README.zh.md)", "](zh/index.md)").replace("](README.md)", "](../index.md)")
    if here.startswith("zh/"):
        return re.sub(r"\]\(\.\./\.\./config", "](../config", markdown)
    return re.sub(r"\]\((?:\.\./)+(config|CHANGELOG|CONTRIBUTING|SECURITY)", r"](\1", markdown)
