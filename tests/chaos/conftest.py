"""What the trials of `make chaos` share: a seed that is printed, and a line for each, in the summary of the run.

Short forms belong to `make test`; the long ones are marked slow. BALLAST_CHAOS_SEED repeats a run as far as the machine
lets it be repeated.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

Tell = Callable[..., None]


class Chance(random.Random):
    """Random, with a seed that can be told."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@pytest.fixture
def chance() -> Chance:
    return Chance(int(os.environ.get("BALLAST_CHAOS_SEED") or time.time_ns() % 1_000_000))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """tell(what, trials=…, seed=…, twice=…, lost=…, details): a line of the summary. `twice`: epochs trained twice;
    `lost`: what was lost for good; `details`: further lines."""

    def say(
        what: str, *, trials: int, seed: int | None = None, twice: int = 0, lost: int = 0, details: Sequence[str] = ()
    ) -> None:
        drawn = "" if seed is None else f", seed {seed}"
        record_property("chaos", f"{what}: {trials} trials{drawn}, {twice} epochs trained twice, {lost} lost")
        for each in details:
            record_property("chaos", f"    {each}")

    return say


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
