"""What the trials of `make chaos` share: a seed that is printed, and a line for each, in the summary of the run.

What takes seconds belongs to `make test`; the rest is marked slow. BALLAST_CHAOS_SEED repeats a run as far as the
machine lets it be repeated.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from core.results import EpochResult
from tests.chaos.networks import Network, Refused
from tests.chaos.trials import trained_alone

EPOCHS = 300  # of a run that something happens to: some seconds

Summarize = Callable[..., None]


class Chance(random.Random):
    """Random, with a seed that can be told."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@pytest.fixture
def chance() -> Chance:
    return Chance(int(os.environ.get("BALLAST_CHAOS_SEED") or time.time_ns() % 1_000_000))


@pytest.fixture
def summarize(record_property: Callable[[str, object], None]) -> Summarize:
    """summarize(what, trials=…, seed=…, twice=…, lost=…, details): a line of the summary. `twice`: epochs that were
    trained twice; `lost`: what was lost for good; `details`: further lines."""

    def record(
        what: str, *, trials: int, seed: int | None = None, twice: int = 0, lost: int = 0, details: Sequence[str] = ()
    ) -> None:
        drawn = "" if seed is None else f", seed {seed}"
        record_property("chaos", f"{what}: {trials} trials{drawn}, {twice} epochs trained twice, {lost} lost")
        for each in details:
            record_property("chaos", f"    {each}")

    return record


@pytest.fixture
def database_of_its_own(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    server, template = request.getfixturevalue("_postgres_template")
    name = f"chaos_{time.time_ns()}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.url_of(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def template(_sqlite_template: Path) -> Path:
    """A migrated SQLite database, to be copied."""
    return _sqlite_template


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[EpochResult]:
    """The curve of EPOCHS epochs."""
    return trained_alone(tmp_path_factory.mktemp("alone"), epochs=EPOCHS)


@pytest.fixture
def network(record_property: Callable[[str, object], None]) -> Iterator[Network]:
    """For hosts with cables of their own. Where this machine lends none, the trial is skipped, and the summary says it
    as loudly as the others say what they found."""
    try:
        with Network() as network:
            network.host("probe")
            yield network
    except Refused as reason:
        loud = f"NOT TRIED: what befalls real hosts with links of their own. No network namespaces here: {reason}"
        record_property("chaos", loud)
        pytest.skip(loud)
