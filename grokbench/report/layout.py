"""Sentences and tables, laid out as text for a width or as HTML; every report is made of these two."""

from __future__ import annotations

import html as markup
import io
import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Span, Text

WIDTH = 112  # of text that goes to no terminal
_EVERYTHING = 10_000  # columns; wide enough for any table


class Column(NamedTuple):
    """drop: where there is no room for all columns, the highest numbers go first; 0 stays. wrap: at spaces it may."""

    head: str
    right: bool = True
    drop: int = 0
    wrap: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. rules: rows that a rule is drawn above."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Text]]
    title: str = ""
    rules: frozenset[int] = field(default_factory=frozenset)


Part = str | Text | Grid


def width_of(out: TextIO) -> int | None:
    """The columns that there are: `COLUMNS`, else the terminal's; None if it is none, so lines may have any length."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return shutil.get_terminal_size().columns if out.isatty() else None


def text(parts: Sequence[Part], width: int | None, *, color: bool = False) -> str:
    """The parts below each other. width: see `width_of`; words are never broken, so a line may need more."""
    buffer = io.StringIO()
    console = _console(buffer, width or _EVERYTHING, color)
    for part in parts:
        if isinstance(part, Grid):
            buffer.write(_table(part, width or WIDTH, color))
        else:
            for line in _lines(Text(part) if isinstance(part, str) else part, width):
                console.print(line, overflow="ignore", crop=False)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _lines(content: Text, width: int | None) -> list[Text]:
    """A sentence in lines of whole words."""
    if not width:
        return [content]
    lines, end = [], 0
    plain = re.sub(r"\s", " ", content.plain)  # a name may hold a tab, which would be expanded
    for piece in textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False):
        start = plain.index(piece, end)
        end = start + len(piece)
        lines.append(content[start:end])
    return lines or [Text()]


def _console(buffer: io.StringIO, width: int, color: bool) -> Console:
    return Console(
        file=buffer,
        width=width,
        height=100,  # without it, a width is not obeyed where TERM=dumb
        force_terminal=color,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def fitted(grid: Grid, width: int) -> tuple[Table, int, str]:
    """A table as rich draws it, how many columns of text it needs, and what it leaves out for them.

    The last of these columns is a space, which may lie beyond the width.
    """
    shown = list(range(len(grid.columns)))
    wide = _console(io.StringIO(), _EVERYTHING, False)

    widths = [_widest(grid, i) for i in range(len(grid.columns))]

    def need() -> int:
        return Measurement.get(wide, wide.options, _heads(grid, shown, widths)).minimum

    while need() - 1 > width and (most := max(grid.columns[i].drop for i in shown)):
        shown = [i for i in shown if grid.columns[i].drop < most]
    left = [" ".join(column.head.split()) for i, column in enumerate(grid.columns) if i not in shown]
    table = _heads(grid, shown, widths)
    for number, row in enumerate(grid.rows):
        if number in grid.rules:
            table.add_section()
        table.add_row(*(row[i] for i in shown))
    return table, need(), ", ".join(left)


def _table(grid: Grid, width: int, color: bool) -> str:
    table, need, left = fitted(grid, width)
    buffer = io.StringIO()
    _console(buffer, max(width, need), color).print(table)
    note = f"(too narrow for: {left})" if left else ""
    return buffer.getvalue() + "".join(f"{line}\n" for line in textwrap.wrap(note, width))


def _widest(grid: Grid, i: int) -> int:
    """The columns of text that a column of a table needs."""
    column = grid.columns[i]
    texts = dict.fromkeys([column.head, *(str(row[i]) for row in grid.rows)])
    pieces = [piece for text in texts for piece in (text.split() if column.wrap else text.split("\n"))]
    return max(map(cell_len, pieces), default=0)


def _heads(grid: Grid, shown: Sequence[int], widths: Sequence[int]) -> Table:
    """The table without its rows. A column that does not wrap has a fixed width, so that no row has to be measured."""
    out = Table(title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    out.title = Text(grid.title, "bold") if grid.title else None
    for i in shown:
        column = grid.columns[i]
        justify: JustifyMethod = "right" if column.right else "left"
        fixed = None if column.wrap else widths[i]
        out.add_column(column.head, justify=justify, no_wrap=not column.wrap, width=fixed, min_width=widths[i])
    return out


def html(parts: Sequence[Part]) -> str:
    """The parts as HTML, with all columns."""
    return "\n".join(_html_table(p) if isinstance(p, Grid) else f"<p>{_html_text(p)}</p>" for p in parts if p)


def _html_table(grid: Grid) -> str:
    lines = ['<table class="grokbench">']
    if grid.title:
        lines.append(f'<caption style="text-align: left; font-weight: bold">{markup.escape(grid.title)}</caption>')
    heads = "".join(_html_cell("th", column.head, column.right) for column in grid.columns)
    lines += [f"<thead><tr>{heads}</tr></thead>", "<tbody>"]
    for number, row in enumerate(grid.rows):
        rule = ' style="border-top: 1px solid"' if number in grid.rules else ""
        cells = "".join(_html_cell("td", cell, c.right) for cell, c in zip(row, grid.columns, strict=True))
        lines.append(f"<tr{rule}>{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


# On light and on dark pages.
_COLORS = {"green": "#2e8b57", "red": "#d9363e", "yellow": "#b8860b", "dim": "#888888"}


def _html_text(content: str | Text) -> str:
    if isinstance(content, str):
        return markup.escape(content)
    spans = sorted(content.spans) or [Span(0, len(content), str(content.style))]
    out, end = "", 0
    for span in spans:
        words = str(span.style).split()
        style = "".join(f"color: {_COLORS[word]}; " for word in words if word in _COLORS)
        style += "font-weight: bold" * ("bold" in words)
        inner = markup.escape(content.plain[span.start : span.end])
        out += markup.escape(content.plain[end : span.start]) + (
            f'<span style="{style}">{inner}</span>' if style else inner
        )
        end = span.end
    return out + markup.escape(content.plain[end:])


def _html_cell(kind: str, cell: str | Text, right: bool) -> str:
    content = _html_text(cell).strip("\n").replace("\n", "<br>")
    return f'<{kind} style="text-align: {"right" if right else "left"}; padding: 0 0.6em">{content}</{kind}>'
