"""The README and the pages of the guide."""

from __future__ import annotations

import re
from pathlib import Path

from grokbench.cli.guide import pages

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = pages()
EVERYTHING = "\n".join([README, *PAGES.values()])


def write_files(page: str, folder: Path) -> list[str]:
    """Write the Python blocks that begin with the name of a file into a folder; the names."""
    named = [(block.partition("\n")[0].removeprefix("# "), block) for block in blocks(page, "python")]
    files = {name: block for name, block in named if name.endswith(".py")}
    for name, block in files.items():
        (folder / name).write_text(block, encoding="utf-8")
    return list(files)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language, but those that a comment before them marks as not run, with a reason."""
    found = re.findall(rf"(<!-- not run: .+ -->\n)?```{language}\n(.*?)```", page, re.S)
    return [block for marked, block in found if not marked]
