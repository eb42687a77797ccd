"""From a ModelSpec to a module with fresh weights."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.models.digits_cnn import DigitsCNN
from fvm_core.models.resnet import BLOCKS, CifarResNet
from fvm_core.models.spec import TORCHVISION, ModelSpec

AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
"""Extra training heads of two torchvision networks, which are built without them; keys of a state dict to leave out."""


def build_model(spec: ModelSpec, *, allow_custom: bool = False) -> nn.Module:
    """Return the classifier that `spec` describes, with fresh weights from torch's global generator, in train mode.

    Takes (b, in_channels, image_size, image_size) float, gives (b, num_classes) logits. `digits_cnn` has one width and
    leaves `spec.width` aside, as torchvision's networks do. `allow_custom` lets `custom:module:callable` import and run
    a Python module of the user's; the callable is called as `callable(num_classes=N)`.

    Raises:
        CheckpointError: unknown architecture, or one that cannot take this input.
        SettingsError: a number out of range; a custom architecture without `allow_custom`.

    >>> build_model(ModelSpec("cifar_resnet18", 10, width=16)).fc
    Linear(in_features=128, out_features=10, bias=True)
    """
    _check_numbers(spec)
    if spec.arch == "digits_cnn":
        return DigitsCNN(num_classes=spec.num_classes, in_channels=spec.in_channels)
    if spec.arch in BLOCKS:
        return CifarResNet(
            BLOCKS[spec.arch], num_classes=spec.num_classes, width=spec.width, in_channels=spec.in_channels
        )
    source, _, name = spec.arch.partition(":")
    if source == "torchvision" and name in TORCHVISION:
        return _build_torchvision(name, spec)
    if source == "custom" and name:
        return _build_custom(name, spec, allow_custom)
    raise CheckpointError(
        f"`arch` must be digits_cnn, {', '.join(BLOCKS)} or torchvision:NAME with a classifier of torchvision, "
        f"got {spec.arch!r}. Choose the architecture that the weights were trained with."
    )


def _check_numbers(spec: ModelSpec) -> None:
    limits = {"num_classes": (2, 100_000), "width": (1, 1024), "in_channels": (1, 16), "image_size": (8, 2048)}
    for name, (low, high) in limits.items():
        value = getattr(spec, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise SettingsError(f"`{name}` must be a whole number from {low} to {high}, got {value!r}.")


def _build_torchvision(name: str, spec: ModelSpec) -> nn.Module:
    from torchvision.models import get_model

    if spec.in_channels != 3:
        raise CheckpointError(
            f"`in_channels` must be 3 for {spec.arch}, got {spec.in_channels}. Grey images are shown to it as three "
            "equal channels when the model is described with `in_channels` 3."
        )
    options: dict[str, Any] = {"num_classes": spec.num_classes}
    if name in AUXILIARY:
        options.update(aux_logits=False, init_weights=False)
    if name.startswith("vit_"):
        options["image_size"] = spec.image_size
    if name == "maxvit_t":
        options["input_size"] = (spec.image_size, spec.image_size)
    try:
        return get_model(name, weights=None, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise CheckpointError(
            f"{spec.arch} cannot be built for `image_size` {spec.image_size} ({error}). "
            "Choose the image size that the weights were trained with."
        ) from error


def _build_custom(name: str, spec: ModelSpec, allow_custom: bool) -> nn.Module:
    if not allow_custom:
        raise SettingsError(
            f"`{spec.arch}` runs Python code of your own, which is possible from the command line only. "
            "Import it with `python -m fvm_core model import`, then tune and score with --allow-custom; or choose a "
            "built-in architecture."
        )
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"`{spec.arch}` cannot be imported ({error}). Write custom:module:callable and start in the folder of "
            "the module."
        ) from error
    model = factory(num_classes=spec.num_classes)
    if not isinstance(model, nn.Module):
        raise CheckpointError(
            f"`{spec.arch}` must return a torch.nn.Module, got {type(model).__name__}. Return the network itself."
        )
    return model
