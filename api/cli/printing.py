"""What the command line prints: tables on a terminal, tab-separated lines into a pipe, JSON where it is asked for."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.texts import plain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

STATE_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
}


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()  # closed by >&-


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))  # in ASCII: no terminal's encoding, and nothing that it obeys


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    if not on_terminal():
        for row in (columns, *rows):
            print("\t".join(cell(value) for value in row))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell(value), style=STATE_STYLES.get(cell(value), "")) for value in row))
    Console().print(table)


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """Fractions from 0 to 1 over time, to the last, in at most `width` characters; a gap where nothing was measured."""
    step = max(1, -(-len(values) // width))
    shown = values[::-step][::-1]
    return "".join(" " if value is None else _BARS[min(7, int(value * 8))] for value in shown)


def counted(n: int) -> str:
    return "1 experiment" if n == 1 else f"{n} experiments"


def in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no experiments"


def duration(seconds: float | None) -> str:
    return "–" if seconds is None else str(timedelta(seconds=round(seconds)))


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return plain(str(value))


def note(sentence: str) -> None:
    """To standard error: for a person, never for a pipe."""
    Console(stderr=True, soft_wrap=True).print(Text(plain(sentence)))
