"""What experiments would cost, by what the store knows: epochs of the same kind that were measured, else rates of
`ballast bench`; on the workers that are alive. How it is reckoned is the concern of `core.cost`.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import median

from sqlalchemy import Connection, func, or_, select

from core.cost import ANYWHERE, Cost, Known, Place, Rate, cost_of, epoch_seconds, is_benchmarked, kind_of, network_of
from core.spec import Spec
from core.states import DeviceType, State
from core.store import benchmarks, workers
from core.store.slots import devices_for, slot_type
from core.store.tables import experiments, literally

_NEWEST = 10_000  # experiments that are looked through: pack keys have no index

_Kind = tuple[str, int, bool, str]  # pack key, eval_every, diagnostics, kind of device


def expected_cost(
    tx: Connection, specs: Sequence[Spec], devices: Collection[DeviceType], epochs: Sequence[int] | None = None
) -> Cost:
    """Of `specs`, in this order, once their turn has come, on the workers that may take something for one of `devices`;
    `epochs`: how many each has still to train, else all.

    An epoch is of the same kind where data set, model, loss, batch size, precision, `eval_every`, `diagnostics` and the
    kind of device are the same."""
    measured = _measured_epochs(tx, {spec.pack_key for spec in {kind_of(spec): spec for spec in specs}.values()})
    rates = benchmarks.rates(tx)

    def known(spec: Spec, place: Place) -> Known | None:
        seconds = _somewhere(measured, (spec.pack_key, spec.eval_every, spec.diagnostics, place.device_kind))
        if seconds is not None:
            return Known(seconds, measured=True)
        rate = _rate(rates, spec, place) if is_benchmarked(spec) else None
        reckoned = None if rate is None else epoch_seconds(spec, rate)
        return None if reckoned is None else Known(reckoned, measured=False)

    places = workers.serving_places(tx)
    may = [place for place in places if not set(devices).isdisjoint(devices_for(slot_type(place.device_kind)))]
    return cost_of(specs, may, known, epochs)


def _measured_epochs(tx: Connection, pack_keys: set[str]) -> dict[_Kind, float]:
    """Medians of what the newest of each kind took."""
    e = experiments.c
    newest: int = tx.execute(select(func.max(e.id))).scalar_one() or 0
    found = tx.execute(
        select(e.pack_key, e.checkpoint_device_kind, e.epoch_seconds, e.spec)
        .where(e.id > newest - _NEWEST, e.epoch_seconds.is_not(None), e.checkpoint_device_kind.is_not(None))
        .where(e.pack_key.in_(pack_keys))
        # One that runs as an extension may still have the kind of device of what it extends.
        .where(or_(e.state != literally(State.RUNNING), e.extends.is_(None)))
    )
    seconds: dict[_Kind, list[float]] = defaultdict(list)
    for row in found:
        spec = json.loads(row.spec)
        evaluation = int(spec.get("eval_every", 1)), bool(spec.get("diagnostics"))
        seconds[row.pack_key, *evaluation, row.checkpoint_device_kind].append(row.epoch_seconds)
    return {kind: median(each) for kind, each in seconds.items()}


def _somewhere(measured: dict[_Kind, float], kind: _Kind) -> float | None:
    """On that kind of device; on the fastest, where none is said."""
    if kind[-1] != ANYWHERE.device_kind:
        return measured.get(kind)
    return min((seconds for each, seconds in measured.items() if each[:-1] == kind[:-1]), default=None)


def _rate(rates: dict[tuple[Place, str, str], Rate], spec: Spec, place: Place) -> Rate | None:
    """As `_somewhere`."""
    of_spec = (network_of(spec.model), spec.precision)
    if place != ANYWHERE:
        return rates.get((place, *of_spec))
    anywhere = [rate for key, rate in rates.items() if key[1:] == of_spec]
    return max(anywhere, key=lambda rate: rate.train, default=None)
