"""The README and the pages of the guide."""

from __future__ import annotations

from pathlib import Path

from grokbench.cli.guide import pages

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = pages()
EVERYTHING = "\n".join([README, *PAGES.values()])
