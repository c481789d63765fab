"""The images of the tests: a part of MNIST that lies here, and all of it where somebody has put it. No download."""

import os
from pathlib import Path

import pytest

DATA = Path(__file__).parent
N_IN_DOMAIN, N_OUT_OF_DOMAIN = 200, 240  # test images of 0 and 1, and of the other digits

_ELSEWHERE = Path(os.environ.get("BALLAST_TEST_DATA") or DATA.parents[2] / "shared" / "data").resolve()


def all_of_mnist() -> Path:
    """The folder that holds it; without one the test is skipped."""
    if not (_ELSEWHERE / "MNIST" / "raw").is_dir():
        pytest.skip("needs all of MNIST: `ballast data fetch mnist`, then BALLAST_TEST_DATA=.ballast/data make test")
    return _ELSEWHERE
