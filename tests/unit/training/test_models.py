"""The networks of core/training/README.md, "The protocol"."""

import pytest
import torch

from core.training.models import build, dropout
from tests.unit.training.builders import spec_of


def built(channels: int = 3, **model: object) -> torch.nn.Module:
    return build(spec_of(model=model).model, (channels, 32, 32), seed=0)


@pytest.mark.parametrize(
    ("model", "channels", "parameters"),
    [
        ({"name": "cnn"}, 3, 1_522_754),
        ({"name": "mlp"}, 1, 65_730),
        ({"name": "linear"}, 1, 2_050),
        ({"name": "linear"}, 3, 6_146),
    ],
)
def test_it_has_as_many_parameters_as_the_paper_says(model: dict[str, str], channels: int, parameters: int) -> None:
    assert sum(p.numel() for p in built(channels, **model).parameters()) == parameters


def test_the_resnet_follows_the_list_of_the_document() -> None:
    """conv 5×5; blocks w, w, 2w, 2w, 4w, 4w, a 3×3 shortcut where the stride is 2; dense 8w; output 2. Biases all."""
    w = 4

    def conv(before: int, after: int, side: int) -> int:
        return before * after * side * side + after

    blocks = 4 * conv(w, w, 3)
    blocks += 2 * conv(w, 2 * w, 3) + 3 * conv(2 * w, 2 * w, 3)
    blocks += 2 * conv(2 * w, 4 * w, 3) + 3 * conv(4 * w, 4 * w, 3)
    expected = conv(3, w, 5) + blocks + 4 * w * 8 * w + 8 * w + 8 * w * 2 + 2
    norms = 2 * (w + 4 * w + 5 * 2 * w + 5 * 4 * w)
    plain = sum(p.numel() for p in built(name="resnet", width=w, batch_norm=False).parameters())
    assert plain == expected
    assert sum(p.numel() for p in built(name="resnet", width=w).parameters()) == expected + norms


@pytest.mark.parametrize("name", ["cnn", "resnet", "mlp", "linear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_takes_images_to_two_logits(name: str, channels: int) -> None:
    model = built(channels, **({"name": name, "width": 2} if name in ("cnn", "resnet") else {"name": name}))
    assert model(torch.zeros(5, channels, 32, 32)).shape == (5, 2)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_in_bf16_all_layers_but_the_last_compute_in_it_and_all_weights_stay_fp32(name: str) -> None:
    model = build(spec_of(model={"name": name, "width": 2}).model, (3, 32, 32), 0, "bf16")
    computed: dict[str, torch.dtype] = {}
    for layer_name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda _, __, out, at=layer_name: computed.update({at: out.dtype}))
    logits = model(torch.rand(4, 3, 32, 32))
    assert computed.pop("output") == logits.dtype == torch.float32
    assert set(computed.values()) == {torch.bfloat16}
    gradients = torch.autograd.grad(logits.sum(), list(model.parameters()))
    assert {each.dtype for each in (*gradients, *model.state_dict().values())} <= {torch.float32, torch.int64}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", ["cnn", "mlp", "linear"])
def test_dense_weights_lie_transposed_in_memory_wherever_they_go(name: str) -> None:
    model = built(**({"name": name, "width": 2} if name == "cnn" else {"name": name}))
    loaded = built(**({"name": name, "width": 2} if name == "cnn" else {"name": name}))
    loaded.load_state_dict({key: each.contiguous() for key, each in model.state_dict().items()})
    for network in (model, loaded, model.to(torch.float64)):
        dense = [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
        assert dense
        assert all(weight.t().is_contiguous() for weight in dense)


def test_names_of_parameters_are_frozen() -> None:
    layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "dense1", "dense2", "output"]
    of_cnn = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    assert list(built(name="cnn", width=1).state_dict()) == of_cnn
    assert list(built(name="mlp").state_dict()) == ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    assert list(built(name="linear").state_dict()) == ["output.weight", "output.bias"]
    resnet = built(name="resnet", width=1).state_dict()
    assert {"conv.weight", "norm.running_var", "blocks.2.shortcut.0.bias", "blocks.5.norm2.weight"} <= set(resnet)


def test_a_dropped_unit_is_silent_and_a_kept_one_is_scaled() -> None:
    model = built(name="cnn", width=2)
    images = torch.rand(3, 3, 32, 32)
    assert torch.equal(model(images, torch.ones(3, 20)), model(images))
    assert torch.allclose(model(images, torch.zeros(3, 20)), model.output.bias)


def test_only_a_cnn_that_asks_for_it_drops_units() -> None:
    assert dropout(spec_of(model={"name": "cnn", "dropout": 0.5}).model) == (640, 0.5)
    assert dropout(spec_of(model={"name": "cnn"}).model) is None
    assert dropout(spec_of(model={"name": "resnet"}).model) is None
