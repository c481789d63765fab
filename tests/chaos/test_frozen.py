"""A worker that was frozen for longer than its lease, and thaws."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from core.results import EpochResult
from core.states import Ask, State
from core.store.errors import DatabaseUnavailable
from tests.chaos.conftest import EPOCHS, Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.trials import is_whole
from tests.integration.hosts import DIGITS, settings_of, settings_over
from tests.servers import PATIENCE_S, Redis, wait_until

# Who was frozen in the middle of a transaction holds the row, until PostgreSQL ends it after ten seconds: so a wish is
# refused with a sentence that says to try again.
_AGAIN = stamina.RetryingCaller(attempts=None, timeout=PATIENCE_S).on(DatabaseUnavailable)

FAST = {"heartbeat_seconds": 0.3, "lease_seconds": 3, "checkpoint_seconds": 0.5}


@pytest.fixture(params=["PostgreSQL and Redis", "embedded"])
def crew(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Crew]]:
    if request.param == "embedded":
        settings = settings_over(request.getfixturevalue("template"), tmp_path, **FAST)
    else:
        url, redis = request.getfixturevalue("database_of_its_own"), request.getfixturevalue("redis_server")
        assert isinstance(redis, Redis)
        settings = settings_of(tmp_path / "home", database_url=url, broker_url=redis.url, **FAST)
    with at_work(Crew(settings, 2)) as crew:
        yield request.param, crew


@pytest.mark.slow
def test_a_frozen_worker_is_taken_over_and_writes_nothing_when_it_thaws(
    crew: tuple[str, Crew], undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    where, hands = crew
    (number,) = hands.submit_all([DIGITS | {"epochs": EPOCHS}])
    hands.wait_for_epoch(number, 20)
    held = hands.experiment(number)
    hands.freeze(held)
    frozen_at = hands.experiment(number).epochs_done
    wait_until(lambda: hands.experiment(number).attempt == 2)
    saved = hands.experiment(number).checkpoint_row
    hands.wait_for_epoch(number, frozen_at + 5)
    hands.send(held, signal.SIGCONT)
    hands.wait_for_end(number)
    is_whole(hands, number, undisturbed)
    by_the_frozen = [epoch for epoch, attempt in hands.attempts(number) if attempt == 1]
    assert by_the_frozen == list(range(1, len(by_the_frozen) + 1))
    assert len(by_the_frozen) <= frozen_at + 1  # what it had sent off already
    assert hands.experiment(number).failures <= 1
    wait_until(lambda: "the claim was lost" in hands.log_text())
    assert hands.replace_ended() == []  # it lives on, and takes new work
    more = hands.submit_all([DIGITS | {"epochs": 3}] * 4)
    wait_until(lambda: hands.all_ended(more))
    summarize(f"worker frozen for longer than its lease, {where}", trials=1, twice=frozen_at - saved)


@pytest.mark.slow
def test_one_that_is_cancelled_while_its_worker_is_frozen_is_cancelled(
    crew: tuple[str, Crew], summarize: Summarize
) -> None:
    where, hands = crew
    for what, state in ((Ask.CANCEL, State.CANCELLED), (Ask.PAUSE, State.PAUSED)):
        (number,) = hands.submit_all([DIGITS | {"epochs": 100_000, "eval_every": 10}])
        hands.wait_for_epoch(number, 20)
        held = hands.experiment(number)
        hands.freeze(held)
        _AGAIN(hands.ask, number, what)
        wait_until(lambda number=number, state=state: hands.experiment(number).state is state)
        ended = hands.experiment(number)
        hands.send(held, signal.SIGCONT)
        wait_until(lambda held=held: hands.is_idle(held))
        assert hands.experiment(number) == ended
        hands.ask(number, Ask.CANCEL)
    summarize(f"frozen, cancelled or paused, expired, {where}", trials=2)
