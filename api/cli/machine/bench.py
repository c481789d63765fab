"""`ballast bench`: what the devices of this host do. How it is measured is `benchmark/measuring`, what it means
`benchmark/findings`, where it is kept `benchmark/keeping`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.printing import AsJson, print_json, print_note, print_table

if TYPE_CHECKING:
    from api.cli.machine.benchmark.findings import Row

app = typer.Typer()

_NOT_KEPT = "these rates are not kept for `ballast sweep --dry-run`: they would be too low"

Seconds = Annotated[
    float, typer.Option(min=0.01, max=600, help="Of each measurement: with fewer it is sooner done, and less exact.")
]


@app.command(epilog="Example: ballast bench")
def bench(seconds: Seconds = 5, as_json: AsJson = False) -> None:
    """Measure this host for two minutes, best while nothing else is at work: what each device does, which precision
    wins, how many processes pay, how long `paper` would take here. The rates are kept for what `sweep --dry-run` says.
    """
    from api.cli.machine.benchmark import findings, keeping, measuring
    from api.service import require_torch
    from core import logs
    from core.settings import load_settings

    settings = load_settings()
    logs.configure(settings)
    require_torch()
    devices = measuring.planned_devices(settings)
    trials = measuring.trials(devices)
    measured: list[measuring.Measured] = []
    with _progress(len(trials)) as begin, measuring.started(settings, devices, seconds) as processes:
        for number, trial in enumerate(trials):
            begin(number, str(trial))
            measured += processes.measure(trial)
    rows, said = [findings.row_of(each) for each in measured], findings.sentences(measured)
    disturbed = next(findings.disturbance(measured), None)
    not_kept = _NOT_KEPT if disturbed else keeping.keep(settings, findings.fullest(measured))
    if as_json:
        paper = findings.paper_seconds(findings.fullest(measured))
        print_json({"rates": [row._asdict() for row in rows], "paper_seconds": paper, "says": said})
    else:
        _print_findings(rows, said)
    if not_kept:
        print_note(not_kept)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal, on standard error. Yields what is to be told how many are done, and what begins."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting", total=total)
        yield lambda done, what: progress.update(bar, completed=done, description=what)


def _print_findings(rows: Sequence["Row"], said: Sequence[str]) -> None:
    """A line for each network and precision, whose columns are how many processes were at work."""
    counts = sorted({row.processes for row in rows})
    lines: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        lines.setdefault((row.device, row.network, row.precision), {})[row.processes] = row
    columns = [f"{n} {what}" for n in counts for what in ("train/s", "eval/s")]
    cells = [
        (*line, *(cell for n in counts for cell in _rates(by_count.get(n))), _epoch(by_count.get(counts[-1])))
        for line, by_count in lines.items()
    ]
    print_table(("device", "network", "precision", *columns, "epoch s"), cells)
    at_once = " and ".join(map(str, counts))
    print(
        f"\nImages a second: of {at_once} processes at once, all together. An epoch: 10 000 images of CIFAR-10 and "
        f"both test sets, as one of {counts[-1]} processes takes it."
    )
    for sentence in said:
        print(f"{sentence}.")


def _rates(row: "Row | None") -> tuple[str, str]:
    if row is None or row.train_rate_together is None or row.evaluate_rate_together is None:
        return "–", "–"
    return _rounded(row.train_rate_together), _rounded(row.evaluate_rate_together)


def _epoch(row: "Row | None") -> str:
    return "–" if row is None or row.epoch_seconds is None else _rounded(row.epoch_seconds)


def _rounded(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
