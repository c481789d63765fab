"""Trains one spec without any service: what `ballast run` starts, and a way to debug a network or a loss.

python -P -m core.training.programs.train SPEC.json --data-dir DIR --locks-dir DIR [--json]
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError

from core.curve import CurveHead, curve_json, learned_at
from core.faults import faults_of
from core.reading import UnreadableSpec, read_json
from core.results import EpochResult
from core.spec import Spec
from core.states import State
from core.streams import print_error
from core.training import BadData, BadDevice, Member, devices, load, precision, train
from core.training.programs.ending import DONE, EXPERIMENT_FAILED, exit_code


def main(arguments: list[str] | None = None) -> int:
    """The exit code. Prints an epoch a line; with --json these to standard error, and the curve at the end."""
    return exit_code(partial(_run, _options(arguments)))


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    spec = _read_spec(options.spec)
    devices.require(options.device)
    for sentence in [*spec.warnings(), *precision.warnings(spec.precision, options.device)]:
        print(f"warning: {sentence}", file=sys.stderr)
    try:
        rows = _train(spec, options)
    except (BadData, BadDevice) as error:
        print_error(str(error))
        return EXPERIMENT_FAILED
    if options.json:
        print(json.dumps(_curve(spec, rows), allow_nan=False))
    if rows[-1].diverged:
        print_error(rows[-1].divergence(spec))
        return EXPERIMENT_FAILED
    return DONE


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="core.training.programs.train", description="Train one spec without any service."
    )
    parser.add_argument("spec", type=Path, help="a JSON file; - reads standard input")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--locks-dir", type=Path, required=True)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads; part of the numerics key")
    parser.add_argument("--json", action="store_true", help="print the curve to stdout")
    return parser.parse_args(arguments)


def _read_spec(path: Path) -> Spec:
    sent = read_json(path)
    try:
        return Spec.model_validate(sent)
    except ValidationError as error:
        raise UnreadableSpec("; ".join(map(str, faults_of(error, sent)))) from error


def _train(spec: Spec, options: argparse.Namespace) -> list[EpochResult]:
    data = load(spec.dataset, options.data_dir, options.locks_dir, options.device)
    rows = []
    for _, row in train([Member(spec)], data, options.device):
        assert isinstance(row, EpochResult)  # no command asks for a checkpoint
        rows.append(row)
        print(_progress(spec, row), file=sys.stderr if options.json else sys.stdout, flush=True)
    return rows


def _progress(spec: Spec, row: EpochResult) -> str:
    return (
        f"epoch {row.epoch}/{spec.epochs}  "
        f"base fraction in-domain {_fraction(row.base_in_domain, row.n_in_domain)}, "
        f"out-of-domain {_fraction(row.base_out_of_domain, row.n_out_of_domain)}  "
        f"train loss {row.train_loss:.4g}"
    )


def _fraction(count: int, n: int) -> str:
    return f"{count / n:.4f}" if n else "-"


def _curve(spec: Spec, rows: list[EpochResult]) -> dict[str, object]:
    last = rows[-1]
    head = CurveHead(
        id=None,
        state=State.FAILED if last.diverged else State.SUCCEEDED,
        attempt=1,
        epochs_done=last.epoch,
        epochs_total=spec.epochs,
        diverged_at=last.epoch if last.diverged else None,
        replay_mismatch_from=None,
        complete=True,
        learned_at=learned_at(rows) if spec.diagnostics else None,
    )
    return curve_json(head, rows)


if __name__ == "__main__":
    sys.exit(main())
