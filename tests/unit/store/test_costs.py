"""What a sweep would cost, by what the store knows: measured epochs come first, then what `ballast bench` said."""

from typing import Any

import pytest
from sqlalchemy import text

from core.cost import Cost, Rate
from core.spec import Spec
from core.states import DeviceType
from core.store import benchmarks, workers
from core.store.benchmarks import Result
from core.store.costs import expected_cost
from core.store.session import Store
from tests.unit.store.builders import submitted


def spec(**fields: Any) -> Spec:
    return Spec.model_validate({"dataset": {"name": "mnist"}, "importance_weight": "16:1", "epochs": 10, **fields})


def took(store: Store, seconds: float, device_kind: str = "cpu", **fields: Any) -> None:
    """An experiment of this kind has been trained."""
    number = submitted(store, **spec(**fields).model_dump())
    values = {"seconds": seconds, "kind": device_kind, "id": number}
    with store.writing() as tx:
        changes = "epoch_seconds = :seconds, checkpoint_kind = :kind"
        tx.execute(text(f"UPDATE experiments SET {changes} WHERE id = :id"), values)


def at_work(store: Store, *device_kinds: str, host: str = "here") -> None:
    with store.writing() as tx:
        for kind in device_kinds:
            workers.register(tx, host, 1, kind, kind)


def bench(store: Store, rate: Rate, device_kind: str = "cpu", host: str = "here") -> None:
    with store.writing() as tx:
        benchmarks.keep(tx, host, device_kind, [Result("cnn 64", "fp32", rate)])


def cost(store: Store, *specs: Spec, device: DeviceType = DeviceType.ANY) -> Cost:
    with store.reading() as tx:
        return expected_cost(tx, specs, [device])


def test_of_nothing_nothing_is_known(store: Store) -> None:
    assert cost(store, spec()) == Cost(None, None, 0, 0, 0, 0, 1)
    at_work(store, "cpu")
    assert cost(store, spec(), spec(seed=1)) == Cost(None, None, 1, 0, 0, 0, 2)


def test_measured_epochs_of_the_same_kind_count_whatever_weight_seed_and_optimizer(store: Store) -> None:
    at_work(store, "cpu", "cpu")
    for seconds in (2.0, 3.0, 90.0):
        took(store, seconds, seed=7, importance_weight="1:4", optimizer={"lr": 0.01})
    assert cost(store, spec(), spec(seed=1), spec(seed=2)) == Cost(60, 90, 2, 2, measured=3, benchmarked=0, unknown=0)


@pytest.mark.parametrize(
    "fields",
    [
        {"eval_every": 2},
        {"diagnostics": True},
        {"batch_size": 8},
        {"precision": "bf16"},
        {"model": {"name": "cnn", "width": 8}},
    ],
    ids=str,
)
def test_another_kind_is_not_measured_by_it(store: Store, fields: dict[str, Any]) -> None:
    at_work(store, "cpu")
    took(store, 2.0, **fields)
    took(store, 2.0, "H100")
    assert cost(store, spec()).unknown == 1


def test_what_was_measured_comes_before_what_ballast_bench_said(store: Store) -> None:
    at_work(store, "cpu")
    bench(store, Rate(train=12_656, evaluate=5_000))  # 1 s of training and 2 s of evaluation
    assert cost(store, spec()) == Cost(30, 30, 1, 1, measured=0, benchmarked=1, unknown=0)
    assert cost(store, spec(eval_every=10)).seconds == 12
    took(store, 5.0)
    assert cost(store, spec(), spec(loss={"normalization": "dataset_mean"})) == Cost(80, 80, 1, 1, 1, 1, 0)


def test_a_rate_holds_for_the_batch_that_it_was_measured_with_and_a_dense_one_for_its_images(store: Store) -> None:
    at_work(store, "cpu")
    with store.writing() as tx:
        rates = [Result(network, "fp32", Rate(1000, 1000)) for network in ("cnn 64", "mlp 64")]
        benchmarks.keep(tx, "here", "cpu", rates)
    assert cost(store, spec(batch_size=64)).unknown == 1
    assert cost(store, spec(model={"name": "mlp"})).unknown == 1
    assert cost(store, spec(model={"name": "mlp"}, dataset={"name": "cifar10"})).benchmarked == 1


def test_a_rate_belongs_to_its_host_and_its_kind_of_device(store: Store) -> None:
    bench(store, Rate(12_656, 5_000), host="there")
    bench(store, Rate(12_656, 5_000), device_kind="H100")
    at_work(store, "cpu")
    assert cost(store, spec()).unknown == 1
    at_work(store, "H100")
    assert cost(store, spec(), spec(seed=1)) == Cost(60, 60, 2, 1, 0, 2, 0)


def test_without_workers_it_is_the_work_of_the_fastest(store: Store) -> None:
    bench(store, Rate(12_656, 5_000), host="there")
    bench(store, Rate(1_265, 500), host="slow")
    assert cost(store, spec()) == Cost(None, 30, 0, 0, 0, 1, 0)
    took(store, 2.0, "H100")
    took(store, 9.0)
    assert cost(store, spec()) == Cost(None, 20, 0, 0, 1, 0, 0)


def test_only_workers_that_may_take_it_are_counted(store: Store) -> None:
    took(store, 1.0)
    took(store, 0.5, "H100")
    at_work(store, "cpu", "cpu", "H100")
    assert cost(store, spec(), device=DeviceType.CPU) == Cost(10, 10, 2, 2, 1, 0, 0)
    assert cost(store, spec(), device=DeviceType.GPU) == Cost(5, 5, 1, 1, 1, 0, 0)
    assert cost(store, spec(), spec(seed=1)).workers == 3
