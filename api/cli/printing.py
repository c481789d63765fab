"""What the command line prints: tables on a terminal, tab-separated lines into a pipe, JSON where it is asked for."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.errors import CannotWrite
from core.streams import printable

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


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, one_line: bool = False) -> None:
    """With `one_line`, a row takes one line of a terminal: what there is no room for is left out, from the right."""
    cells = [[cell(value) for value in row] for row in rows]
    if not on_terminal():
        for line in (columns, *cells):
            print("\t".join(line))
        return
    from rich.cells import cell_len  # not in a pipe, which needs none of it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A column in which nothing stands only takes room.
    visible = [i for i in range(len(columns)) if not cells or any(row[i] not in ("", "–") for row in cells)]
    console = Console()
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    if one_line:
        visible = _columns_that_fit(visible, widths, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i in visible:
        # Of a line the last column gives way: a long name takes no room from what stands before it.
        room = console.width - sum(widths[each] + 2 for each in visible if each != i)
        most = max(1, room) if one_line and i == visible[-1] else None
        table.add_column(columns[i], no_wrap=one_line, overflow="ellipsis", max_width=most)
    for row in cells:
        table.add_row(*(Text(row[i], style=STATE_STYLES.get(row[i], "")) for i in visible))
    console.print(table)


def _columns_that_fit(columns: Sequence[int], widths: Sequence[int], room: int) -> list[int]:
    """The first of `columns` for which there is room; of the last of them its beginning will do."""
    ends = [sum(widths[each] + 2 for each in columns[:n]) for n in range(len(columns))]
    return [each for each, end in zip(columns, ends, strict=True) if end + min(widths[each], 8) <= room]


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """Fractions from 0 to 1 over time, to the last, in at most `width` characters; a gap where nothing was measured."""
    step = max(1, -(-len(values) // width))
    sampled = values[::-step][::-1]
    return "".join(" " if value is None else _BARS[min(7, int(value * 8))] for value in sampled)


def experiment_count(n: int) -> str:
    return "1 experiment" if n == 1 else f"{n} experiments"


def number_ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order: 1, 2, 4, 351 to 400; a run is of three at least."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(
        f"{first} to {last}" if last - first > 1 else ", ".join(map(str, range(first, last + 1)))
        for first, last in runs
    )


def counts_in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no experiments"


_SHORT = 9.95  # seconds: ten, rounded


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < _SHORT else str(timedelta(seconds=round(seconds)))


def roughly(seconds: float) -> str:
    """To two digits or so, for what is not exact: "40 s", "12 min", "7 h", "5 days"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{round(hours)} h" if hours < 72 else f"{round(hours / 24)} days"


def byte_size(n: int) -> str:
    """To three digits: "310 KiB", "1.25 GiB"."""
    size, units = float(n), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.3g} {units[0]}"


def fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


_LONGEST_LIST = 60  # characters


def unquoted(value: Any) -> str:
    """JSON as a person would say it: text without quotes, 0.0 as 0, of a long list the beginning."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False).removesuffix(".0")
    return f"{text[:_LONGEST_LIST]}… ({len(value)})" if isinstance(value, list) and len(text) > _LONGEST_LIST else text


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def print_note(sentence: str) -> None:
    """To standard error: for a person, never for a pipe."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(printable(sentence)))


def refuse_binary_on_terminal(file: Path, as_json: bool) -> None:
    """`-` is standard output. Raises BadParameter."""
    if file == Path("-") and on_terminal():
        raise typer.BadParameter("a terminal shows no such file: name a file, or pipe it")
    if file == Path("-") and as_json:
        raise typer.BadParameter("--out - writes the file where --json would print")


def write_file(file: Path, content: bytes, of: dict[str, Any], as_json: bool) -> None:
    """To standard output for `-`, else said, as JSON beside what it is `of`. Raises CannotWrite."""
    if file == Path("-"):
        sys.stdout.buffer.write(content)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CannotWrite(f"cannot write {file}: {error.strerror}") from None
    if as_json:
        print_json({**of, "file": str(file)})
    else:
        print(f"wrote {file}")
