"""Whether a state dict fits a module, and putting it in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.models.aliases import our_names
from fvm_core.models.build import AUXILIARY
from fvm_core.models.state_dict import shorten, strip_prefixes

_FAMILIES = {"CifarResNet": "cifar", "DenseNet": "densenet"}
_AUXILIARY = {"GoogLeNet": AUXILIARY["googlenet"], "Inception3": AUXILIARY["inception_v3"]}


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, what: str = "the weights") -> None:
    """Copy every tensor of `state` into `model`, converted to the model's dtypes. All fit, or nothing is changed.

    Wrappers' prefixes are ignored on both sides, known spellings of other programs are understood, auxiliary training
    heads (googlenet, inception_v3) are left out, and BatchNorm's `num_batches_tracked` may be missing.

    Raises:
        CheckpointError: names the missing, unexpected and wrongly shaped keys; `what` names the weights.
    """
    targets = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    places = {plain: name for name, plain in strip_prefixes(targets).items()}
    found = {plain: state[name] for name, plain in strip_prefixes(state).items()}
    kind = type(model).__name__
    found = {new: found[old] for old, new in our_names(found, family=_FAMILIES.get(kind, "")).items()}
    found = {name: value for name, value in found.items() if not name.startswith(_AUXILIARY.get(kind, ("\0",)))}
    missing = [name for name in places if name not in found and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in found if name not in places]
    wrong = [
        f"{name} is {_describe(value)}, expected {_describe(targets[places[name]])}"
        for name, value in found.items()
        if name in places and not _compatible(value, targets[places[name]])
    ]
    problems = [
        f"{title}: {shorten(names)}"
        for title, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{what} do not fit {kind}. " + "; ".join(problems) + ". Choose the architecture, width and number of "
            "classes that the weights were trained with."
        )
    with torch.no_grad():
        for name, value in found.items():
            targets[places[name]].copy_(value)


def _compatible(value: Tensor, target: Tensor) -> bool:
    return value.shape == target.shape and value.is_floating_point() == target.is_floating_point()


def _describe(tensor: Tensor) -> str:
    shape = tuple(tensor.shape)
    return f"{shape}" if tensor.is_floating_point() else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"
