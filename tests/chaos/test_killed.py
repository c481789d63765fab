"""Workers killed at random. Whatever is killed when, every curve is bit for bit that of an undisturbed run."""

import re
import time
from pathlib import Path

import pytest

from core.settings import Settings
from core.spec import Spec
from core.states import State
from core.store.experiments import Experiment
from tests.chaos.conftest import Chance, Summarize
from tests.chaos.crew import At, Crew, at_work
from tests.chaos.trials import undisturbed
from tests.integration.hosts import same, settings_of, settings_over
from tests.servers import PATIENCE_S, Redis, wait_until

# A second of training is some thirty steps of these; so checkpoints come every half second, and leases are short.
FAST = {"heartbeat_seconds": 0.3, "lease_seconds": 1.5, "checkpoint_seconds": 0.5}

MODELS: list[dict[str, object]] = [
    {"model": {"name": "cnn", "width": 6, "dropout": 0.5}, "epochs": 20},
    {"model": {"name": "resnet", "width": 2}, "epochs": 12},
    {"model": {"name": "resnet", "width": 2}, "epochs": 12, "precision": "bf16"},
    {"model": {"name": "mlp"}, "epochs": 400, "eval_every": 3},
    {"model": {"name": "cnn", "width": 4}, "epochs": 40, "eval_every": 4},
    {"model": {"name": "cnn", "width": 6, "dropout": 0.5}, "epochs": 20, "precision": "bf16"},
    {"model": {"name": "mlp"}, "optimizer": {"lr": 0.01, "momentum": 0.9}, "epochs": 300},
]


def specs(count: int) -> list[Spec]:
    """Of two seeds: what each should give is trained once."""
    fields = {"dataset": {"name": "digits"}, "importance_weight": "4:1"}
    return [
        Spec.model_validate({**fields, "seed": n // len(MODELS) % 2, **MODELS[n % len(MODELS)]}) for n in range(count)
    ]


class Killer:
    """Kills who holds a claim: at a random moment, soon after a checkpoint, or in the last epoch."""

    def __init__(self, crew: Crew, ids: list[int], chance: Chance) -> None:
        self._crew, self._ids, self._chance = crew, ids, chance
        slow = [crew.experiment(each) for each in ids]
        self._last = {each.id: each.epochs_total - 1 for each in slow if each.model != "mlp"}
        self.kills: list[str] = []
        self.in_the_last_epoch = 0
        self.twice = 0

    def kill(self, number: int) -> bool:
        """False where all has ended before."""
        how = (self._at_random, self._after_a_checkpoint, self._in_the_last_epoch)[number % 3]
        while not self._crew.all_ended(self._ids):
            victim = how()
            if victim is not None and (at := self._crew.kill(victim)) is not None:
                self._note(victim, at, how.__name__)
                return True
        return False

    def _at_random(self) -> Experiment | None:
        time.sleep(self._chance.uniform(0.05, 1.0))
        return self._one(self._training())

    def _after_a_checkpoint(self) -> Experiment | None:
        victim = self._one(self._training())
        if victim is None:
            return None
        before = [pointer.id for pointer in self._crew.pointers(victim.id)]
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and [each.id for each in self._crew.pointers(victim.id)] == before:
            time.sleep(0.01)
        time.sleep(self._chance.uniform(0, 0.3))
        return self._still_running(victim)

    def _in_the_last_epoch(self) -> Experiment | None:
        """Of one whose epochs are long enough to be hit."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not self._crew.all_ended(self._ids):
            for _ in range(50):
                for number, at in self._crew.where().items():
                    if at.epoch == self._last.get(number):
                        return self._still_running(self._crew.experiment(number))
                time.sleep(0.005)
        return self._at_random()

    def _training(self) -> list[Experiment]:
        return [each for each in self._crew.running() if self._crew.at(each)]

    def _one(self, running: list[Experiment]) -> Experiment | None:
        return self._chance.choice(running) if running else None

    def _still_running(self, victim: Experiment) -> Experiment | None:
        now = self._crew.experiment(victim.id)
        return now if now.state is State.RUNNING else None

    def _note(self, victim: Experiment, at: At, how: str) -> None:
        saved = self._crew.pointers(victim.id)[:1]
        begins = saved[0].epoch if saved else 0
        self.twice += max(0, at.epoch - begins)
        self.in_the_last_epoch += at.epoch == victim.epochs_total - 1
        where = f"attempt {victim.attempt} in epoch {at.epoch + 1} of {victim.epochs_total}, step {at.step}"
        newest = f"epoch {saved[0].epoch}, step {saved[0].step}" if saved else "none"
        self.kills.append(
            f"{how.strip('_').replace('_', ' ')}: experiment {victim.id}, {where}; newest checkpoint: {newest}"
        )


def trial(
    settings: Settings, experiments: int, size: int, kills: int, chance: Chance, summarize: Summarize, what: str
) -> None:
    wanted = specs(experiments)
    with at_work(Crew(settings, size)) as crew:
        ids = crew.submit(wanted)
        killer = Killer(crew, ids, chance)
        done = sum(killer.kill(number) for number in range(kills))
        wait_until(lambda: crew.all_ended(ids), 3 * PATIENCE_S)
        lost = 0
        for experiment_id, spec in zip(ids, wanted, strict=True):
            ended = crew.experiment(experiment_id)
            assert (ended.state, ended.error) == (State.SUCCEEDED, None)
            assert ended.replay_mismatch_from is None
            lost += not same(crew.curve(experiment_id), undisturbed(spec, settings.data_dir, settings.locks_dir))
            resumed = [event.detail or "" for event in crew.events(experiment_id) if event.kind == "resumed"]
            assert all(re.match(r"after epoch \d+, step \d+, of attempt \d+", each) for each in resumed)
        summarize(what, trials=done, seed=chance.number, twice=killer.twice, lost=lost, details=killer.kills)
        assert lost == 0
        assert done == kills, "all had ended before: give it more to train"
        assert killer.in_the_last_epoch >= max(1, kills // 5), killer.kills


@pytest.mark.slow
def test_kills_on_postgresql_and_redis(
    database_of_its_own: str, redis_server: Redis, tmp_path: Path, chance: Chance, summarize: Summarize
) -> None:
    settings = settings_of(tmp_path / "home", database_url=database_of_its_own, broker_url=redis_server.url, **FAST)
    trial(settings, 20, 3, 30, chance, summarize, "killed at random, PostgreSQL and Redis")


@pytest.mark.slow
def test_kills_embedded(template: Path, tmp_path: Path, chance: Chance, summarize: Summarize) -> None:
    trial(settings_over(template, tmp_path, **FAST), 8, 2, 10, chance, summarize, "killed at random, embedded")
