"""What `ballast bench` says of rates: known ones, written out by hand."""

from typing import Any

import pytest

from api.cli.machine.benchmark.findings import fullest, paper_seconds, row_of, sentences
from api.cli.machine.benchmark.measuring import Device, Measured, Trial, trials
from core.cost import Rate
from core.spec import Spec

CNN, RESNET, PLAIN, MLP = (
    {"name": "cnn"},
    {"name": "resnet", "batch_norm": True},
    {"name": "resnet", "batch_norm": False},
    {"name": "mlp"},
)
CIFAR10, MNIST = (10_000, 10_000), (12_656, 10_000)  # images that an epoch trains and evaluates; whole batches


def measured(model: dict[str, Any], train: float, evaluate: float, at_once: int = 1, kind: str = "cpu") -> Measured:
    spec = {"dataset": {"name": "cifar10"}, "model": model, "importance_weight": "1:1"}
    return Measured(Trial(Spec.model_validate(spec), at_once), kind, (Rate(train, evaluate),) * at_once)


def in_precision(precision: str, each: Measured) -> Measured:
    spec = Spec.model_validate(each.trial.spec.model_dump() | {"precision": precision})
    return each._replace(trial=each.trial._replace(spec=spec))


def failed(model: dict[str, Any], error: str) -> Measured:
    return measured(model, 1, 1)._replace(rates=(), error=error)


def test_a_row_has_the_rates_of_one_and_of_all_and_the_seconds_of_an_epoch() -> None:
    row = row_of(measured(CNN, 100, 500, at_once=2))
    assert row == ("cpu", "cnn 64", "fp32", 2, 100, 500, 200, 1000, 100 + 20, None)
    assert row_of(failed(CNN, "no room")) == ("cpu", "cnn 64", "fp32", 1, None, None, None, None, None, "no room")


def test_a_cpu_is_measured_by_one_process_by_half_and_by_all() -> None:
    def counts(names: list[str]) -> list[int]:
        return list(dict.fromkeys(trial.processes for trial in trials([Device(name, None) for name in names])))

    assert counts(["cpu"]) == [1]
    assert counts(["cpu"] * 2) == [1, 2]
    assert counts(["cpu"] * 3) == [1, 3]
    assert counts(["cpu"] * 8) == [1, 4, 8]
    assert counts(["cuda:0", "cuda:1"]) == [2]


def test_each_network_is_measured_in_every_precision_that_it_may_have() -> None:
    of_cpu = [(trial.spec.model.name, trial.spec.precision) for trial in trials([Device("cpu", None)])]
    assert of_cpu == [
        *(("cnn", "fp32"), ("cnn", "bf16")),
        *(("resnet", "fp32"), ("resnet", "bf16")) * 2,
        ("mlp", "fp32"),
    ]
    of_gpu = [trial.spec.precision for trial in trials([Device("cuda:0", "GPU-00")]) if trial.spec.model.name == "cnn"]
    assert of_gpu == ["fp32", "bf16", "tf32"]


def test_a_machine_that_is_busy_with_something_else_is_noticed() -> None:
    alone = [measured(CNN, 100, 500)._replace(core_share=share) for share in (0.97, 0.91, 0.5)]
    assert not any("Something else" in each for each in sentences(alone))
    said = sentences([*alone, alone[-1]._replace(core_share=0.7), alone[-1]._replace(core_share=0.6)])
    assert said[0].startswith("Something else was at work: a process had 70% of a core, so these rates are too low.")
    of_a_gpu = [measured(CNN, 100, 500, kind="H100")._replace(core_share=0.3)]
    assert not any("Something else" in each for each in sentences(of_a_gpu))


def test_the_fastest_precision_of_each_network_is_named() -> None:
    said = sentences(
        [
            measured(CNN, 100, 500),  # 120 s
            in_precision("bf16", measured(CNN, 250, 500)),  # 60 s
            measured(RESNET, 50, 200),  # 250 s
            in_precision("bf16", measured(RESNET, 25, 100)),  # 500 s
            measured(MLP, 1000, 1000),
        ]
    )
    assert said[0] == (
        "On cpu cnn 64 is fastest in bf16 (2.00 times as fast as in fp32), "
        "resnet 64 batch_norm is fastest in fp32 (2.00 times as fast as in bf16)"
    )


def test_where_nothing_but_fp32_was_measured_no_precision_wins() -> None:
    assert sentences([measured(CNN, 100, 500)])[0] == "On cpu only fp32 was measured"


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({1: 100, 2: 90}, "2 processes pay: at once, 2 do 1.80 times (1.80 to 1.80) the work of one alone, "),
        ({1: 100, 2: 51}, "1 process pays: at once, 2 do 1.02 times (1.02 to 1.02) the work of one alone, "),
        (
            {1: 100, 2: 90, 4: 46},
            "2 processes pay: at once, 2 do 1.80 times (1.80 to 1.80), 4 do 1.84 times (1.84 to 1.84) the work of one "
            "alone, ",
        ),
    ],
)
def test_processes_pay_by_the_work_of_all(rates: dict[int, float], said: str) -> None:
    found = sentences([measured(CNN, rate, rate, at_once) for at_once, rate in rates.items()])
    best = said.split()[0]
    fewer = "" if best == str(max(rates)) else f": `ballast up --workers {best}`"
    assert found[1] == f"{said}by network and precision{fewer}"


def test_where_only_one_process_was_measured_none_is_compared() -> None:
    assert sentences([measured(CNN, 100, 500)])[1].startswith("There is one process a device here")


def test_the_runs_of_the_paper_take_the_epochs_of_all_their_networks_over_the_processes() -> None:
    """27 of cnn on CIFAR-10 and 10 on MNIST, 9 and 5 of a resnet with batch norm, 9 of one without."""
    rates = {"cnn": (100, 500), "resnet": (50, 200), "plain": (40, 160)}

    def epoch(images: tuple[int, int], name: str) -> float:
        return images[0] / rates[name][0] + images[1] / rates[name][1]

    alone = 1000 * (
        27 * epoch(CIFAR10, "cnn")
        + 10 * epoch(MNIST, "cnn")
        + 9 * epoch(CIFAR10, "resnet")
        + 5 * epoch(MNIST, "resnet")
        + 9 * epoch(CIFAR10, "plain")
    )
    networks = [
        measured(model, *rates[name], at_once=2) for model, name in ((CNN, "cnn"), (RESNET, "resnet"), (PLAIN, "plain"))
    ]
    longest = 1000 * epoch(CIFAR10, "plain")  # which one of the processes may still train when the other is done
    seconds = paper_seconds(networks)["fp32"]
    assert alone / 2 <= seconds <= alone / 2 + longest
    assert sentences(networks)[2] == (
        f"The 60 runs of `paper`, of 1000 epochs each, would take {seconds / 86400:.0f} days in fp32 here: the "
        "images of all epochs at these rates, by 2 processes at once"
    )
    another = [each._replace(device_kind="GPU", rates=each.rates[:1]) for each in networks]
    assert alone / 3 <= paper_seconds([*networks, *another])["fp32"] <= alone / 3 + longest


def test_in_a_precision_that_one_of_its_networks_lacks_the_paper_is_not_reckoned() -> None:
    assert paper_seconds([measured(CNN, 100, 500), measured(RESNET, 100, 500)]) == {}


def test_what_failed_is_said_first_and_is_not_kept() -> None:
    found = [measured(CNN, 100, 500), failed(RESNET, "no room for 3 GiB")]
    assert sentences(found)[0] == "cpu: resnet 64 batch_norm in fp32, 1 at once failed: no room for 3 GiB"
    assert fullest(found) == found[:1]
