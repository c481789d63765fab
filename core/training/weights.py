"""The weights of a trained network as bytes: safetensors, with the spec beside them, and back again."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from core.spec import Spec
from core.training import models
from core.training.errors import BadData


def encode_weights(model: nn.Module, spec: Spec, epoch: int) -> bytes:
    """Parameters and buffers under the names of the plain module, float32 as they were trained; the spec and the epoch
    as metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return save(tensors, {"format": "pt", "spec": spec.model_dump_json(), "epoch": str(epoch)})


def model_with(spec: Spec, input_shape: tuple[int, ...], weights: bytes) -> nn.Module:
    """The network of `spec` for examples of `input_shape`, with `weights`, on the CPU; it computes in the precision of
    `spec`.

    Raises BadData where they are damaged or of another network."""
    model = models.build(spec.model, input_shape, spec.seed, spec.precision)
    try:
        model.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadData(f"these are not the weights of such a {spec.model.name} ({reason})") from error
    return model.to(torch.float32)
