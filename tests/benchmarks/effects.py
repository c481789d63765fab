"""The effect of a sweep of 60 experiments of 1000 epochs, from a database to JSON, in a process of its own.

python -m tests.benchmarks.effects URL SWEEP   prints seconds and the peak of its memory
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import insert, update

from core.spec import Spec
from core.store import schema, sweeps
from core.store.session import Store
from core.store.tables import curve_rows, experiments
from tests.benchmarks.harness import Measurement
from tests.unit.store.builders import result

WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")
SEEDS, EPOCHS, TRIALS = 12, 1000, 5


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ballast.db'}"
        schema.upgrade(url)
        store = Store(url)
        sweep_id = _with_rows(store)
        store.close()
        command = [sys.executable, "-m", "tests.benchmarks.effects", url, str(sweep_id)]
        answers = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(TRIALS)]
    what = f"the effect of a sweep of {len(WEIGHTS) * SEEDS} × {EPOCHS} epochs, SQLite to JSON"
    yield Measurement(what, [answer["seconds"] for answer in answers], "s", at_most=2)
    yield Measurement(f"{what}, peak memory", [answer["peak_mib"] for answer in answers], "MiB", at_most=300)


def _with_rows(store: Store) -> int:
    chance = random.Random(0)
    specs = [
        Spec.model_validate({"dataset": {"name": "mnist"}, "importance_weight": weight, "seed": seed, "epochs": EPOCHS})
        for weight in WEIGHTS
        for seed in range(SEEDS)
    ]
    learned = result(1, train_correct_base=50, train_correct_other=50)._asdict()
    beside = ("loss", "predictions", "weights", "diagnostics")
    fields = {name: value for name, value in learned.items() if name not in beside} | {"train_loss": bytes(4)}
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], specs)
        tx.execute(update(experiments).values(epochs_done=EPOCHS, state="succeeded"))
        for number in range(1, len(specs) + 1):
            rows = [
                {
                    **fields,
                    "experiment_id": number,
                    "attempt": 1,
                    "epoch": epoch,
                    "base_out_of_domain": chance.randint(300, 500),
                    "loss_values": b"",
                }
                for epoch in range(1, EPOCHS + 1)
            ]
            tx.execute(insert(curve_rows), rows)
    return sweep_id


def main() -> None:
    from api.studies import studied, sweep_effect_out  # what a service has loaded by then is not what is measured

    store = Store(sys.argv[1])
    began = time.perf_counter()
    text = sweep_effect_out(studied(store, int(sys.argv[2])), None).model_dump_json()
    seconds = time.perf_counter() - began
    assert len(text) > EPOCHS
    print(json.dumps({"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
