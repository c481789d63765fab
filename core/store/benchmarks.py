"""What `ballast bench` measured last: of each host, kind of device, network and precision."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from core.cost import Place, Rate
from core.store.clock import now_ms
from core.store.tables import benchmarks


class Result(NamedTuple):
    network: str  # as core.cost.network_of says it
    precision: str
    processes: int  # at work at once on that host
    rate: Rate  # of one of them


def keep(tx: Connection, host: str, device_kind: str, results: Iterable[Result]) -> None:
    """In the place of what `host` measured before on devices of this kind."""
    there = benchmarks.c
    tx.execute(delete(benchmarks).where(there.host == host, there.device_kind == device_kind))
    rows = [
        {
            "host": host,
            "device_kind": device_kind,
            "network": each.network,
            "precision": each.precision,
            "processes": each.processes,
            "train_rate": each.rate.train,
            "evaluate_rate": each.rate.evaluate,
            "measured_ms": now_ms(),
        }
        for each in results
    ]
    if rows:
        tx.execute(insert(benchmarks).values(rows))


def rates(tx: Connection) -> dict[tuple[Place, str, str], Rate]:
    """All that are kept, by place, network and precision."""
    return {
        (Place(row.host, row.device_kind), row.network, row.precision): Rate(row.train_rate, row.evaluate_rate)
        for row in tx.execute(select(benchmarks))
    }


def results_of(tx: Connection, host: str, device_kind: str) -> list[Result]:
    """By network and precision."""
    there = benchmarks.c
    rows = tx.execute(
        select(benchmarks)
        .where(there.host == host, there.device_kind == device_kind)
        .order_by(there.network, there.precision)
    )
    return [Result(row.network, row.precision, row.processes, Rate(row.train_rate, row.evaluate_rate)) for row in rows]
