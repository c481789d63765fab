"""What measured rates mean: the rows of a table, which precision wins, how many processes pay, how long the paper's
runs would take. Pure; how it is measured is the concern of `measuring`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from api.cli.machine.benchmark.measuring import Measured
from api.cli.printing import roughly
from core.cost import Known, Place, cost_of, epoch_seconds, network_of
from core.spec import Spec
from core.sweeps import SweepRequest, grids_and_specs

_NEARLY = 0.95  # of the most work: more processes for the rest do not pay
_ALONE = 0.9  # of its time a process has a core where nothing else is at work


class Row(NamedTuple):
    """Rates in images a second. An epoch is one of the paper on CIFAR-10: 10 000 images, and both test sets."""

    device: str
    network: str
    precision: str
    processes: int  # at work at once
    train_rate: float | None  # of one of them; None: it failed, and `error` says why
    evaluate_rate: float | None
    train_rate_together: float | None
    evaluate_rate_together: float | None
    epoch_seconds: float | None  # of one of them
    error: str | None


def row_of(measured: Measured) -> Row:
    trial, n = measured.trial, len(measured.rates)
    what = (measured.device_kind, network_of(trial.spec.model), trial.spec.precision, trial.processes)
    if measured.error is not None:
        return Row(*what, None, None, None, None, None, measured.error)
    rate = measured.rate
    return Row(*what, *rate, rate.train * n, rate.evaluate * n, _epoch_seconds(trial.spec, measured), None)


def sentences(measured: Sequence[Measured]) -> list[str]:
    """What went wrong; then which precision wins, how many processes pay, how long `paper` takes."""
    whole = [each for each in measured if each.error is None]
    wrong = [*_failures(measured), *disturbance(whole)]
    return [*wrong, *_winners(whole), *_processes_that_pay(whole), *_paper(whole)]


def fullest(measured: Sequence[Measured]) -> list[Measured]:
    """Of each kind, network and precision what was measured with as many processes as would train here."""
    most = max((each.trial.processes for each in measured), default=0)
    return [each for each in measured if each.error is None and each.trial.processes == most]


def paper_seconds(measured: Sequence[Measured]) -> dict[str, float]:
    """How long the runs of `paper` would take here, by each precision in which all of its networks were measured."""
    at = {(each.device_kind, network_of(each.trial.spec.model), each.trial.spec.precision): each for each in measured}
    processes = {each.device_kind: len(each.rates) for each in measured}
    workers = [Place("", kind) for kind, n in processes.items() for _ in range(n)]

    def known(spec: Spec, place: Place) -> Known | None:
        found = at.get((place.device_kind, network_of(spec.model), spec.precision))
        return None if found is None else Known(_epoch_seconds(spec, found), measured=False)

    seconds: dict[str, float] = {}
    for precision in dict.fromkeys(each.trial.spec.precision for each in measured):
        _, specs = grids_and_specs(SweepRequest(preset="paper", base={"precision": precision}))
        cost = cost_of(specs, workers, known)
        if cost.seconds is not None and not cost.unknown:
            seconds[precision] = cost.seconds
    return seconds


def _epoch_seconds(spec: Spec, measured: Measured) -> float:
    seconds = epoch_seconds(spec, measured.rate)
    assert seconds is not None  # of CIFAR-10 and MNIST it is known how many images they have
    return seconds


def _failures(measured: Sequence[Measured]) -> Iterator[str]:
    for each in measured:
        if each.error is not None:
            yield f"{each.device_kind}: {each.trial} failed: {each.error}"


def disturbance(measured: Sequence[Measured]) -> Iterator[str]:
    """Nothing, or a sentence. Of a CPU: a process that trains on a GPU waits for it."""
    shares = [each.core_share for each in measured if each.device_kind == "cpu"]
    if shares and median(shares) < _ALONE:
        yield (
            f"Something else was at work: a process had {median(shares):.0%} of a core, so these rates are too low. "
            "Measure again while this machine is idle"
        )


def _winners(measured: Sequence[Measured]) -> Iterator[str]:
    """By kind of device, by the seconds of an epoch."""
    kinds: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for each in fullest(measured):
        spec = each.trial.spec
        kinds[each.device_kind][network_of(spec.model)][spec.precision] = _epoch_seconds(spec, each)
    for kind, networks in kinds.items():
        chosen = [_winner(network, seconds) for network, seconds in networks.items() if len(seconds) > 1]
        yield f"On {kind} " + (", ".join(chosen) or "only fp32 was measured")


def _winner(network: str, seconds: dict[str, float]) -> str:
    best, second = sorted(seconds, key=lambda precision: seconds[precision])[:2]
    other = second if best == "fp32" or "fp32" not in seconds else "fp32"
    return f"{network} is fastest in {best} ({seconds[other] / seconds[best]:.2f} times as fast as in {other})"


def _processes_that_pay(measured: Sequence[Measured]) -> Iterator[str]:
    """By the work of all against that of one process alone."""
    work: dict[int, dict[tuple[str, str], float]] = defaultdict(dict)  # epochs a second, by processes
    for each in measured:
        spec = each.trial.spec
        key = (network_of(spec.model), spec.precision)
        work[each.trial.processes][key] = len(each.rates) / _epoch_seconds(spec, each)
    alone = work.pop(1, {})
    gains = {n: [done / alone[key] for key, done in of_n.items() if key in alone] for n, of_n in work.items()}
    gains = {n: of_n for n, of_n in gains.items() if of_n}
    if not gains:
        yield "There is one process a device here: more were not measured"
        return
    by_count = {1: 1.0, **{n: median(of_n) for n, of_n in gains.items()}}
    best = min(n for n, gain in by_count.items() if gain >= _NEARLY * max(by_count.values()))
    pays = "1 process pays" if best == 1 else f"{best} processes pay"
    more = [f"{n} do {by_count[n]:.2f} times ({min(of_n):.2f} to {max(of_n):.2f})" for n, of_n in gains.items()]
    fewer = "" if best == max(by_count) else f": `ballast up --workers {best}`"
    yield f"{pays}: at once, {', '.join(more)} the work of one alone, by network and precision{fewer}"


def _paper(measured: Sequence[Measured]) -> Iterator[str]:
    seconds = paper_seconds(fullest(measured))
    if not seconds:
        return
    takes = ", ".join(f"{roughly(each)} in {precision}" for precision, each in seconds.items())
    n = max(each.trial.processes for each in measured)
    over = "one process" if n == 1 else f"{n} processes at once"
    yield (
        f"The 60 runs of `paper`, of 1000 epochs each, would take {takes} here: the images of all epochs at these "
        f"rates, by {over}"
    )
