"""What the trials ask of an experiment that went through something, and the curve that it should have."""

import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from core.results import EpochResult
from core.spec import Spec
from core.states import ENDED, State
from core.training import Member, load, train
from tests.integration.hosts import DIGITS, Books, same
from tests.servers import PATIENCE_S

TURNS = {"claimed", "released", "lease_lost", "replay_mismatch", *ENDED}


def trained_alone(folder: Path, **fields: Any) -> list[EpochResult]:
    """The rows of a spec that nothing disturbs: trained here, without any service."""
    return undisturbed(Spec.model_validate(DIGITS | fields), folder / "data", folder / "locks")


@cache
def undisturbed(spec: Spec, data_dir: Path, locks_dir: Path) -> list[EpochResult]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do
    try:
        data = load(spec.dataset, data_dir, locks_dir)
        return [row for _, row in train([Member(spec)], data) if isinstance(row, EpochResult)]
    finally:
        torch.set_num_threads(threads)


def turns(host: Books, experiment_id: int) -> list[str]:
    """Its events, but only those that say who held it and how it ended."""
    return [kind for kind in host.kinds(experiment_id) if kind in TURNS]


def twice_until_end(host: Books, experiment_id: int) -> int:
    """Waits for its end. How many epochs were trained twice: at each new claim, those since the checkpoint."""
    deadline = time.monotonic() + PATIENCE_S
    attempt, twice = 1, 0
    while (now := host.experiment(experiment_id)).state not in ENDED:
        if now.attempt > attempt:
            twice += now.epochs_done - now.checkpoint_row
            attempt = now.attempt
        assert time.monotonic() < deadline, f"has not ended after {PATIENCE_S} s"
        time.sleep(0.02)
    return twice


def is_whole(host: Books, experiment_id: int, undisturbed: list[EpochResult]) -> None:
    """It has succeeded, once, and its curve is the undisturbed one: no gap, no duplicate, no other bit."""
    ended = host.experiment(experiment_id)
    assert ended.state is State.SUCCEEDED, (ended.error, host.kinds(experiment_id))
    assert turns(host, experiment_id).count("succeeded") == 1
    assert ended.replay_mismatch_from is None
    curve = host.curve(experiment_id)
    assert [row.epoch for row in curve] == [row.epoch for row in undisturbed]
    assert same(curve, undisturbed)
