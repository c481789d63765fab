"""Five epochs that are extended to ten have, bit for bit, the curve of ten."""

from pathlib import Path
from typing import Any

import pytest

from core.spec import Spec
from core.states import State
from core.store import experiments, extensions, predictions
from core.store.files import Files, tidy
from tests.chaos.conftest import Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.trials import is_whole, undisturbed
from tests.integration.hosts import settings_over

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "cnn with dropout": {"model": {"name": "cnn", "width": 4, "dropout": 0.5}},
    "resnet with batch norm": {"model": {"name": "resnet", "width": 2}},
    "resnet in bf16": {"model": {"name": "resnet", "width": 2}, "precision": "bf16"},
}


@pytest.mark.slow
@pytest.mark.parametrize("orphan", [False, True], ids=["beside its parent", "its parent deleted"])
def test_five_epochs_extended_to_ten_are_ten(
    orphan: bool, template: Path, tmp_path: Path, summarize: Summarize
) -> None:
    with at_work(Crew(settings_over(template, tmp_path), 1)) as crew:
        for name, differs in EXPERIMENTS.items():
            trial(crew, differs, orphan)
            summarize(f"5 epochs extended to 10, {name}{', its parent deleted' if orphan else ''}", trials=1)


def trial(crew: Crew, differs: dict[str, Any], orphan: bool) -> None:
    fields = {"dataset": {"name": "digits"}, "importance_weight": "4:1", **differs}
    short, long = (Spec.model_validate(fields | {"epochs": epochs}) for epochs in (5, 10))
    parent, whole = crew.submit([short, long])
    for number in (parent, whole):
        assert crew.wait_for_end(number).state is State.SUCCEEDED
    with crew.store.writing() as tx:
        child = extensions.extend(tx, parent, 10)
    if orphan:
        with crew.store.writing() as tx:
            folders = experiments.remove(tx, parent)
        tidy(crew.store, Files(crew.settings.checkpoint_url), folders)
    ended = crew.wait_for_end(child.id)
    rows = undisturbed(long, crew.settings.data_dir, crew.settings.locks_dir)
    is_whole(crew, child.id, rows)
    is_whole(crew, whole, rows)
    assert (ended.digest, ended.attempt) == (long.digest, 1)
    assert "resumed" in crew.kinds(child.id)
    with crew.store.reading() as tx:
        for epoch in (1, 4, 8, 10):
            assert predictions.read(tx, child.id, epoch) == predictions.read(tx, whole, epoch)
