"""What `make bench-train` measures, as measurements with their promises, and as one value that is kept as JSON."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from core.processor import computes_bf16
from core.processor import name as processor_name
from tests.benchmarks.harness import Measurement, ratio
from tests.benchmarks.training import service
from tests.benchmarks.training.racing import Answer, Lane, best_scripts, race, seconds, started
from tests.benchmarks.training.subjects import ALL, BY_NAME, Subject

Json = dict[str, Any]
_MNIST_AT_MOST = 0.8  # GiB


def measure() -> Iterator[Measurement]:
    """The part that `make bench` has time for."""
    yield from _raced(BY_NAME["cnn 64"], race([Lane("ours"), Lane("tight")], BY_NAME["cnn 64"], rounds=3))


def measure_all(subjects: Sequence[Subject], rounds: int, kept: Json) -> Iterator[Measurement]:
    """All of it, for these subjects. `kept` is filled with what has been measured."""
    kept |= {**_where_and_when(), "rounds": rounds, "subjects": {}}
    for subject in subjects:
        rates = _rates()  # beside what is compared with them: they come and go with the neighbours
        for precision, of in rates["gflop_per_second"].items():
            for what, rate in of.items():
                yield Measurement(f"one thread, a {what} in {precision}", [rate], "GFLOP/s")
        lanes = [Lane(rival, precision) for precision in subject.precisions for rival in ("ours", "tight")]
        lanes += [_a_process_a_core(precision) for precision in subject.precisions]
        answers = race([*lanes, *best_scripts(subject)], subject, rounds)
        kept["subjects"][subject.name] = _kept(subject, answers, rates)
        yield from _raced(subject, answers)
        yield from _shares(subject, answers, rates)
    if len(subjects) == len(ALL):
        yield from _mnist(kept)
        yield from service.measure(rounds, kept)


def _rates() -> Json:
    command = [sys.executable, "-m", "tests.benchmarks.training.rates"]
    rates: Json = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return rates


def _a_process_a_core(precision: str) -> Lane:
    """As a host is used: what the script, which takes all cores for one experiment, is to be compared with."""
    return Lane("ours", precision, processes=os.cpu_count() or 1)


def _raced(subject: Subject, answers: Mapping[Lane, Sequence[Answer]]) -> Iterator[Measurement]:
    for lane in answers:
        yield Measurement(f"{subject.name}, {lane.name}, an epoch", seconds(answers, lane), "s")
    for precision in {lane.precision: None for lane in answers}:
        ours = seconds(answers, Lane("ours", precision))
        promise = next((each for each in subject.promises if each.precision == precision), None)
        if precision == "bf16" and not computes_bf16():
            promise = None
        for lane in answers:
            if lane.rival != "tight" or lane.precision not in ("fp32", precision):
                continue
            least = promise.tight if promise and lane.precision == "fp32" else None
            what = f"{subject.name}, ours {precision} against {lane.name}"
            yield ratio(what, seconds(answers, lane), ours, at_least=least)
        for script in [lane for lane in answers if lane.rival == "script"]:
            rival = Lane("ours", precision) if script.threads else _a_process_a_core(precision)
            what = f"{subject.name}, {rival.name} against {script.name}"
            least = promise.script if promise and not script.threads else None
            yield ratio(what, seconds(answers, script), seconds(answers, rival), at_least=least)


def _shares(subject: Subject, answers: Mapping[Lane, Sequence[Answer]], rates: Json) -> Iterator[Measurement]:
    for precision in subject.precisions:
        took = seconds(answers, Lane("ours", precision))
        for what, rate in rates["gflop_per_second"][precision].items():
            shares = [100 * rates["gflop_per_epoch"][subject.name] / each / rate for each in took]
            yield Measurement(f"{subject.name}, ours {precision}, of the {what}'s rate", shares, "%")


def _mnist(kept: Json) -> Iterator[Measurement]:
    """The peak of an epoch of the paper's network on all of MNIST, with loading it."""
    folder = Path(os.environ.get("BALLAST_DATA_DIR") or ".ballast/data").absolute()
    if not (folder / "MNIST" / "raw").is_dir():
        print("(no MNIST in BALLAST_DATA_DIR, so its peak memory is not measured)", flush=True)
        return
    lane = Lane("ours")
    with started([lane], BY_NAME["cnn 64"], "--mnist", str(folder)) as runners:
        answer = runners[lane].epoch()
    kept["mnist"] = answer._asdict()
    yield Measurement("cnn 64, all of MNIST, peak memory", [answer.peak_mib / 1024], "GiB", at_most=_MNIST_AT_MOST)


def _where_and_when() -> Json:
    return {
        "processor": processor_name(),
        "computes_bf16": computes_bf16(),
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _kept(subject: Subject, answers: dict[Lane, list[Answer]], rates: Json) -> Json:
    in_domain, out_of_domain = subject.tests
    return {
        "images": {"train": subject.images, "in_domain": in_domain, "out_of_domain": out_of_domain},
        "gflop_per_epoch": rates["gflop_per_epoch"][subject.name],
        "gflop_per_second": rates["gflop_per_second"],
        "lanes": [_lane(lane, of) for lane, of in answers.items()],
    }


def _lane(lane: Lane, answers: Sequence[Answer]) -> Json:
    return {
        **lane._asdict(),
        "seconds": [round(each.seconds, 4) for each in answers],
        "cpu_seconds": [round(each.cpu_seconds, 4) for each in answers],
        "median_seconds": round(median(each.seconds for each in answers), 4),
        "peak_mib": round(answers[-1].peak_mib),
    }
