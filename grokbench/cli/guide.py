"""`grokbench guide`: the pages of documentation."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from typing import Any

from grokbench.cli.common import HELD, print_rows
from grokbench.spec import choose


def pages() -> dict[str, str]:
    """The text of every page by its topic, in alphabetical order."""
    files = resources.files("grokbench").joinpath("guide").iterdir()
    found = {file.name.removesuffix(".md"): file for file in files if file.name.endswith(".md")}
    return {topic: found[topic].read_text(encoding="utf-8") for topic in sorted(found)}


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("guide", help="the pages of documentation")
    parser.set_defaults(action=run)
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a page; without one, they are listed")


def run(options: argparse.Namespace) -> int:
    """Show a page, or list them with what they begin with."""
    found = pages()
    if options.topic is None:
        listed = sorted(found, key=lambda topic: (topic != "first-steps", topic))  # where to begin comes first
        print_rows([(topic, found[topic].split("\n\n")[1].replace("\n", " ")) for topic in listed])
        return HELD
    text = found[choose("page", options.topic, tuple(found))]
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return HELD
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
    return HELD
