"""Stopped at any step, and gone on with from the checkpoint: the bits are those of a run that never stopped."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.results import Checkpoint, Command, EpochResult
from core.spec import Spec
from core.training import BadCheckpoint, Data, Member, train
from core.training.experiment import Experiment
from tests.unit.training.builders import an_epoch, command_after, invented, rows_of, same, spec_of

# 170 images: 10 steps of 16 an epoch. Loss points come at steps 100, 200, …, and rows of the mlp 30 steps apart.
SPECS = {
    "cnn with dropout": spec_of(model={"name": "cnn", "width": 4, "dropout": 0.5}, epochs=3),
    "resnet with batch norm": spec_of(model={"name": "resnet", "width": 2}, epochs=2),
    "cnn in bf16": spec_of(model={"name": "cnn", "width": 4, "dropout": 0.5}, epochs=2, precision="bf16"),
    "resnet in bf16 with momentum": spec_of(
        model={"name": "resnet", "width": 2}, optimizer={"lr": 0.01, "momentum": 0.9}, epochs=2, precision="bf16"
    ),
    "mlp with momentum": spec_of(
        model={"name": "mlp", "hidden": 4}, optimizer={"lr": 0.01, "momentum": 0.9}, epochs=24, eval_every=3
    ),
    "cnn with diagnostics": spec_of(model={"name": "cnn", "width": 4, "dropout": 0.3}, epochs=2, diagnostics=True),
    "linear, full batch": spec_of(model={"name": "linear"}, batch_size=None, epochs=120, eval_every=50),
}

DATA = invented(channels=1)


@cache
def undisturbed(case: str) -> list[EpochResult]:
    return rows_of(SPECS[case], DATA)


def trained(member: Member, data: Data = DATA) -> tuple[list[EpochResult], list[Checkpoint]]:
    results = [result for _, result in train([member], data)]
    rows = [result for result in results if isinstance(result, EpochResult)]
    return rows, [result for result in results if isinstance(result, Checkpoint)]


def stopped_again_and_again(spec: Spec, asks: list[int]) -> list[EpochResult]:
    """Trained in pieces, each of which stops when its command has been asked so often, the last at the end."""
    rows: list[EpochResult] = []
    content: bytes | None = None
    for calls in asks:
        more, checkpoints = trained(Member(spec, content, command_after(calls, Command.STOP)))
        rows += more
        if not checkpoints:
            return rows  # it came to its end before
        content = checkpoints[0].content
    return rows + trained(Member(spec, content))[0]


@settings(max_examples=15)
@given(case=st.sampled_from(sorted(SPECS)), asks=st.lists(st.integers(0, 45), min_size=1, max_size=4))
def test_a_run_in_pieces_has_the_bits_of_a_whole_one(case: str, asks: list[int]) -> None:
    assert same(stopped_again_and_again(SPECS[case], asks), undisturbed(case))


@pytest.mark.parametrize("case", ["cnn with dropout", "resnet with batch norm"])
@pytest.mark.parametrize("calls", [10, 11, 12])  # before, between and after the batches of the first evaluation
def test_a_run_stopped_in_an_evaluation_goes_on_with_it(case: str, calls: int) -> None:
    rows, (checkpoint,) = trained(Member(SPECS[case], command=command_after(calls, Command.STOP)))
    assert (rows, checkpoint.epoch, checkpoint.step, checkpoint.iteration) == ([], 0, 10, 10)
    more, _ = trained(Member(SPECS[case], checkpoint.content))
    assert same(more, undisturbed(case))


@pytest.mark.parametrize("case", SPECS)
def test_a_checkpoint_at_every_step_changes_nothing_and_each_of_them_is_good(case: str) -> None:
    spec = SPECS[case]
    rows, checkpoints = trained(Member(spec, command=lambda: Command.SAVE))
    assert same(rows, undisturbed(case))
    steps = 1 if spec.batch_size is None else 10
    assert [each.iteration for each in checkpoints] == list(range(1, spec.epochs * steps + 1))
    for each in checkpoints[:: max(1, len(checkpoints) // 7)]:
        assert each.epoch * steps + each.step == each.iteration
        more, _ = trained(Member(spec, each.content))
        assert same([row for row in undisturbed(case) if row.epoch <= each.epoch] + more, undisturbed(case))


def test_no_checkpoint_comes_before_the_rows_that_it_stands_behind() -> None:
    spec = SPECS["mlp with momentum"]
    standing = 0
    for _, result in train([Member(spec, command=lambda: Command.SAVE)], DATA):
        if isinstance(result, EpochResult):
            standing = result.epoch
        else:
            assert spec.row_before(result.epoch) <= standing


@pytest.mark.parametrize("case", ["cnn with dropout", "resnet with batch norm"])
def test_a_longer_run_goes_on_from_the_end_of_a_shorter_one(case: str) -> None:
    long = SPECS[case].model_copy(update={"epochs": 5})
    rows, checkpoints = trained(Member(SPECS[case], command=lambda: Command.SAVE))
    assert (checkpoints[-1].epoch, checkpoints[-1].step) == (SPECS[case].epochs, 0)
    more, _ = trained(Member(long, checkpoints[-1].content))
    assert same(rows + more, rows_of(long, DATA))


def test_who_is_dropped_gives_no_checkpoint() -> None:
    assert trained(Member(SPECS["cnn with dropout"], command=command_after(5, Command.DROP))) == ([], [])


def test_a_checkpoint_is_small_and_holds_momentum_only_where_there_is_some() -> None:
    def size(**fields: object) -> int:
        return len(Experiment(spec_of(**fields), DATA, torch.float32).checkpoint().content)

    parameters = 1024 * 64 + 64 + 64 * 2 + 2
    assert parameters * 4 < size() < parameters * 4 + 2000
    assert parameters * 8 < size(optimizer={"momentum": 0.9}) < parameters * 8 + 3000


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[:-1],
    "empty": lambda _: b"",
    "a byte changed in its head": lambda content: content[:20] + b"\xff" + content[21:],
    "something else": lambda _: b"hello, hello, hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_is_a_bad_checkpoint(damage: str) -> None:
    content = Experiment(spec_of(), DATA, torch.float32).checkpoint().content
    with pytest.raises(BadCheckpoint, match="cannot be read as a checkpoint"):
        next(train([Member(spec_of(), DAMAGES[damage](content))], DATA))


@pytest.mark.parametrize("other", [{"model": {"name": "mlp", "hidden": 3}}, {"optimizer": {"momentum": 0.9}}])
def test_the_checkpoint_of_another_experiment_is_refused(other: dict[str, object]) -> None:
    content = Experiment(spec_of(), DATA, torch.float32).checkpoint().content
    with pytest.raises(BadCheckpoint, match="of another experiment"):
        next(train([Member(spec_of(**other), content)], DATA))


def test_training_on_does_not_change_a_checkpoint_that_was_taken() -> None:
    experiment = Experiment(spec_of(), DATA, torch.float32)
    checkpoint = experiment.checkpoint()
    before = bytes(checkpoint.content)
    an_epoch(experiment)
    assert checkpoint.content == before
