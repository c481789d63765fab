"""Training tests train as workers do, with one intra-op thread: more, in two processes, would be ten times slower."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
