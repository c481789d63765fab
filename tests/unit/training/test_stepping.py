"""One step, by itself: it needs no experiment, and its descent is that of torch.optim.SGD."""

import copy

import pytest
import torch

from core.spec import CrossEntropy, ImportanceWeight, Optimizer
from core.training.losses import objective
from core.training.models import build
from core.training.stepping import Batch, learner_of, take_step
from tests.unit.training.builders import spec_of

WEIGHTS = torch.tensor([1.0, 16.0])
OBJECTIVE = objective(CrossEntropy(), ImportanceWeight(1, 16), 0, (4, 4), dtype=torch.float32)


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"weight_decay": 0.01}, {"momentum": 0.9, "weight_decay": 0.01}]
)
def test_steps_are_those_of_sgd(options: dict[str, float]) -> None:
    model = build(spec_of().model, (1, 32, 32), seed=0)
    plain = copy.deepcopy(model)
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1, **options)
    learner, generator = learner_of(model), torch.Generator().manual_seed(0)
    for _ in range(3):
        batch = Batch(torch.rand(8, 1, 32, 32, generator=generator), torch.arange(8) % 2, None)
        loss, logits = take_step(learner, batch, OBJECTIVE, Optimizer(**options))
        expected = plain(batch.inputs)
        sgd.zero_grad()
        expected_loss = torch.nn.functional.cross_entropy(expected, batch.labels, WEIGHTS)
        expected_loss.backward()
        sgd.step()
        assert torch.allclose(logits, expected)
        assert torch.allclose(loss, expected_loss)
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other)


def test_what_is_not_kept_gets_no_gradient() -> None:
    model = build(spec_of(model={"name": "cnn", "width": 2}).model, (1, 32, 32), seed=0)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = Batch(torch.rand(4, 1, 32, 32), torch.arange(4) % 2, torch.zeros(4, 20))
    take_step(learner_of(model), batch, OBJECTIVE, Optimizer())
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert changed == ["output.bias"]
