"""An engine of containers and our images, for what is tried by hand (`make test-deploy`): minutes, and downloads of
Debian's packages and Python's.

BALLAST_TRIAL_FOLDER names a folder that is kept, with what was built: the next trial begins where this one did not.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.engine import BASE, STANDINS, Engine
from tests.deploy.tools import FOLDER, tool
from tests.deploy.trials import STANDIN_FILES, timed, torch_without_cuda


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    if os.getuid() != 0:
        pytest.skip("an engine of containers needs root")
    for name in ("mmdebstrap", "iptables", "apt-get", "nsenter"):
        tool(name)
    kept = os.environ.get("BALLAST_TRIAL_FOLDER")
    folder = Path(kept or tempfile.mkdtemp(prefix="ballast-trial-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    try:
        with timed("engine unpacked"):
            engine.unpack()
        yield engine
    finally:
        if not kept:
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def images(engine: Engine) -> dict[str, dict[str, Any]]:
    """Both of ours, inspected; what they stand on is built too."""
    with engine.building(), torch_without_cuda() as index:
        with timed("base image"):
            engine.import_base()
        for target in ("api", "worker"):
            with timed(f"image {target} built"):
                engine.build(FOLDER / "Dockerfile", target, f"ballast-{target}", TORCH_INDEX=index)
        with timed("servers' images built"):
            for name, target in STANDINS.items():
                engine.build(STANDIN_FILES / "Dockerfile", target, name, STANDIN_FILES)
        found = {name: json.loads(engine.docker("inspect", f"ballast-{name}"))[0] for name in ("api", "worker")}
        found["base"] = json.loads(engine.docker("inspect", "ballast-standin-base"))[0]
        below = engine.layers(BASE)  # knows this machine's index of packages
        for name in ("api", "worker"):
            found[name]["layers"] = [layer for layer in engine.layers(f"ballast-{name}") if layer not in below]
        return found
