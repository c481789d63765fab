"""Short ways to what the store's tests need. A lease in the past is one that has ended."""

import math
from typing import Any

from sqlalchemy import text

from core.results import (
    CodeVersion,
    DataFacts,
    DeviceFacts,
    Diagnostics,
    EpochResult,
    LossPoint,
    NumericsKey,
    Provenance,
)
from core.spec import Spec
from core.states import Ask, State, Wish
from core.store import attempts, claims, events, experiments, leases, sweeps, wishes, workers
from core.store.leases import Claim
from core.store.session import Store
from core.tokens import WORKER

MINUTE = 60_000
ENDED = -1

NUMERICS = NumericsKey("plain", "fp32", "contiguous", "2.13.0", "cpu", "AVX2", None, 1)
PROVENANCE = Provenance(
    code=CodeVersion("0.1.0", "0123456789abcdef", dirty=True),
    python="3.12.1",
    platform="Linux",
    packages={"torch": "2.13.0"},
    device=DeviceFacts("cpu", "cpu", "AVX2", None, None, None),
    threads=1,
    dataset=DataFacts("mnist", "5a"),
    numerics_key=NUMERICS,
)


def spec(**fields: Any) -> Spec:
    return Spec.model_validate({"dataset": {"name": "mnist"}, "importance_weight": "16:1", "epochs": 3, **fields})


def result(epoch: int, **fields: Any) -> EpochResult:
    return EpochResult(
        **{
            "epoch": epoch,
            "n_in_domain": 200,
            "n_out_of_domain": 800,
            "base_in_domain": 100,
            "base_out_of_domain": 400,
            "correct_in_domain": 190,
            "finite_in_domain": 200,
            "finite_out_of_domain": 800,
            "train_loss": 0.5**epoch,
            "train_n_base": 50,
            "train_n_other": 50,
            "train_correct_base": 40,
            "train_correct_other": 41,
            "loss": (LossPoint(100 * epoch, 0.25),),
            "seconds": 1.5,
            **fields,
        }
    )


DIAGNOSTICS = Diagnostics(0.5, 0.25, 1.5, -1.5, 0.125, math.nan, 7.0, math.inf, -0.0, 1000, 512, 999, (0.0, 0.25, 1.0))


def submitted(store: Store, *, priority: int = 0, **fields: Any) -> int:
    with store.writing() as tx:
        return experiments.submit(tx, spec(**fields), priority).id


def a_worker(store: Store, host: str = "gpu1", pid: int = 42) -> int:
    with store.writing() as tx:
        return workers.register(tx, host, pid, "cpu", "cpu")


def claimed(store: Store, *, lease_ms: int = MINUTE, worker_id: int | None = None) -> Claim:
    """A claim on the head of the queue."""
    worker_id = worker_id or a_worker(store)
    with store.writing(WORKER) as tx:
        claim = claims.claim(tx, worker_id, lease_ms)
    assert claim is not None
    return claim


def expired(store: Store, max_failures: int = 5) -> int:
    with store.writing() as tx:
        return leases.expire(tx, max_failures)


def recorded(store: Store, claim: Claim, row: EpochResult) -> Wish | None:
    with store.writing() as tx:
        return attempts.record(tx, claim, row)


def released(store: Store, claim: Claim) -> State:
    with store.writing() as tx:
        return leases.release(tx, claim)


def cancelled(store: Store, experiment_id: int) -> experiments.Experiment:
    with store.writing() as tx:
        return wishes.ask(tx, experiment_id, Ask.CANCEL)


def seen_now(store: Store, experiment_id: int) -> experiments.Experiment:
    with store.reading() as tx:
        return experiments.get(tx, experiment_id)


def event_kinds(store: Store, experiment_id: int) -> list[str]:
    with store.reading() as tx:
        return [event.kind for event in events.read(tx, experiment_id)]


def all_rows(store: Store) -> list[object]:
    """What a write could change."""
    with store.reading() as tx:
        return [tx.execute(text(f"SELECT * FROM {table}")).all() for table in ("experiments", "curve_rows", "events")]


def filled(store: Store, n: int) -> None:
    """`n` experiments of a hundred sweeps, by one statement; a hundredth of them queued. The database has no statistics
    of them yet."""
    series = {
        "sqlite": "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < :n - 1)",
        "postgresql": "WITH s(i) AS (SELECT generate_series(0, :n - 1))",
    }[store.dialect]
    stored = spec(name="x" * 200).model_dump_json()
    with store.writing() as tx:
        for _ in range(100):
            sweeps.submit(tx, [], [])
        tx.execute(
            text(
                "INSERT INTO experiments (revision, name, state, spec, digest, pack_key, dataset, model, "
                "importance_weight, sweep_id, position, priority, queued_ms, rank, attempt, failures, epochs_done, "
                "epochs_total, created_ms) "
                f"{series} SELECT 1, 'n', CASE WHEN i % 100 = 0 THEN 'queued' WHEN i % 10 = 1 THEN 'failed' "
                "WHEN i % 10 = 2 THEN 'cancelled' ELSE 'succeeded' END, :spec, 'd', 'p', "
                "CASE i % 3 WHEN 0 THEN 'mnist' WHEN 1 THEN 'cifar10' ELSE 'digits' END, "
                "CASE WHEN i % 7 < 5 THEN 'cnn' ELSE 'resnet' END, "
                "CASE i % 5 WHEN 0 THEN '16:1' ELSE '1:1' END, 1 + i % 100, i / 100, 0, 0, i, 1, 0, 10, 10, 0 FROM s"
            ),
            {"n": n, "spec": stored},
        )


def analyzed(store: Store) -> None:
    """What PostgreSQL does by itself within a minute, and nobody does for SQLite."""
    with store.writing() as tx:
        tx.execute(text("ANALYZE"))
