"""What `ballast bench` measured last: of each host, kind of device, network and precision."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from core.cost import Place, Rate
from core.store.tables import benchmarks


class Result(NamedTuple):
    network: str  # as core.cost.network_of says it
    precision: str
    rate: Rate  # of one process, while all that would train there are at work


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
            "train_rate": each.rate.train,
            "evaluate_rate": each.rate.evaluate,
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
