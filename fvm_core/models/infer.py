"""Which architecture a set of tensor names and shapes belongs to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fvm_core.models.aliases import our_names
from fvm_core.models.build import AUXILIARY, build_model
from fvm_core.models.resnet import BLOCKS
from fvm_core.models.spec import NORMALISATIONS, TORCHVISION, ModelSpec

Shapes = Mapping[str, tuple[int, ...]]
COMMON = ("resnet18", "resnet34", "resnet50")
IMAGENET_CLASSES = 1000
MARKS = {
    "resnet": "layer1.0.conv1.weight",
    "resnext": "layer1.0.conv1.weight",
    "wide_resnet": "layer1.0.conv1.weight",
    "alexnet": "features.0.weight",
    "vgg": "features.0.weight",
    "convnext": "features.1.0.layer_scale",
    "densenet": "features.denseblock1.denselayer1.conv1.weight",
    "efficientnet": "features.1.0.block.0.0.weight",
    "googlenet": "inception3a.branch1.conv.weight",
    "inception": "Mixed_5b.branch1x1.conv.weight",
    "maxvit": "stem.0.0.weight",
    "mnasnet": "layers.0.weight",
    "mobilenet_v2": "features.1.conv.0.0.weight",
    "mobilenet_v3": "features.1.block.0.0.weight",
    "regnet": "trunk_output.block1.block1-0.proj.0.weight",
    "shufflenet": "stage2.0.branch1.0.weight",
    "squeezenet": "features.3.squeeze.weight",
    "swin": "features.1.0.attn.relative_position_bias_table",
    "swin_v2": "features.1.0.attn.logit_scale",
    "vit": "encoder.pos_embedding",
}
"""A tensor that every member of a family of torchvision's has: only families whose mark is there are built."""
IMAGE_SIZES = {"inception_v3": 299}


def infer_spec(shapes: Shapes) -> ModelSpec | None:
    """Return the description of the one known classifier with these tensors, or None when there is none.

    `shapes` maps plain names (`read_state`) to shapes. Architecture, width, channels, number of classes and, for vision
    transformers, the image size come from the tensors; the other image sizes and the normalisation are the usual ones
    of the architecture (32 pixels and CIFAR-10's, 224 and ImageNet's) and the user's to correct. No two classifiers of
    torchvision share all names and shapes. Candidates are built without memory, at most a few seconds the first time.
    """
    return next((spec for arch in _candidates() if (spec := spec_for(arch, shapes)) is not None), None)


def spec_for(arch: str, shapes: Shapes) -> ModelSpec | None:
    """Return the description when `shapes` are those of `arch` (digits_cnn, cifar_resnet*, torchvision:NAME)."""
    source, _, name = arch.partition(":")
    if source == "torchvision":
        return _torchvision_spec(name, _comparable(shapes, name))
    if arch not in (*BLOCKS, "digits_cnn"):
        return None
    shapes = _comparable(shapes, "cifar")
    stem, head = shapes.get("conv1.weight", ()), shapes.get("fc.weight", ())
    if len(stem) != 4 or len(head) != 2 or stem[2:] != (3, 3):
        return None
    if arch == "digits_cnn":
        spec = ModelSpec(arch, head[0], width=16, in_channels=stem[1], image_size=8)
    else:
        mean, std = NORMALISATIONS["cifar10" if stem[1] == 3 else "half"]
        spec = ModelSpec(arch, head[0], width=stem[0], in_channels=stem[1], image_size=32, mean=mean, std=std)
    try:
        expected = _shapes_of(lambda: build_model(spec))
    except ValueError:
        return None
    return spec if _comparable(expected, "") == shapes else None


def guess_classes(shapes: Shapes) -> int | None:
    """Return the outputs of the last matrix in the file's order: the head of nearly every classifier; None if none."""
    matrices = [shape for name, shape in shapes.items() if name.endswith("weight") and len(shape) == 2]
    return matrices[-1][0] if matrices else None


def _candidates() -> list[str]:
    names = [*COMMON, *(name for name in TORCHVISION if name not in COMMON)]
    return [*BLOCKS, "digits_cnn", *(f"torchvision:{name}" for name in names)]


def _torchvision_spec(name: str, shapes: dict[str, tuple[int, ...]]) -> ModelSpec | None:
    if name not in TORCHVISION or not any(name.startswith(key) and mark in shapes for key, mark in MARKS.items()):
        return None
    size = _transformer_size(shapes) if name.startswith("vit_") else IMAGE_SIZES.get(name, 224)
    if size is None:
        return None
    expected = _torchvision_shapes(name, size)
    if expected.keys() != shapes.keys():
        return None
    heads = {key for key in shapes if shapes[key] != expected[key]}
    classes = {shapes[key][0] if shapes[key] else 0 for key in heads} or {IMAGENET_CLASSES}
    only_outputs = all(
        expected[key][0] == IMAGENET_CLASSES and expected[key][1:] == shapes[key][1:] for key in heads if expected[key]
    )
    if len(classes) != 1 or not only_outputs or any(not expected[key] for key in heads) or min(classes) < 2:
        return None
    mean, std = NORMALISATIONS["imagenet"]
    return ModelSpec(f"torchvision:{name}", classes.pop(), image_size=size, mean=mean, std=std)


def _transformer_size(shapes: Shapes) -> int | None:
    """Return the image size of a vision transformer: positions = (size / patch)^2 + 1."""
    patch, positions = shapes.get("conv_proj.weight", ()), shapes.get("encoder.pos_embedding", ())
    if len(patch) != 4 or len(positions) != 3:
        return None
    side = math.isqrt(max(positions[1] - 1, 0))
    size = side * patch[-1]
    return size if side * side == positions[1] - 1 and 8 <= size <= 2048 else None


def _comparable(shapes: Shapes, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes under our names, without BatchNorm's counters and auxiliary heads."""
    family = "densenet" if name.startswith("densenet") else name
    names = our_names(shapes, family=family)
    skipped = AUXILIARY.get(name, ("\0",))
    return {
        ours: tuple(shapes[theirs])
        for theirs, ours in names.items()
        if not ours.endswith("num_batches_tracked") and not ours.startswith(skipped)
    }


@lru_cache(maxsize=128)
def _torchvision_shapes(name: str, image_size: int) -> dict[str, tuple[int, ...]]:
    spec = ModelSpec(f"torchvision:{name}", IMAGENET_CLASSES, image_size=image_size)
    return _comparable(_shapes_of(lambda: build_model(spec)), name)


def _shapes_of(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    with _WithoutMemory():
        return {key: tuple(value.shape) for key, value in build().state_dict().items()}


class _WithoutMemory(TorchFunctionMode):
    """Makes parameters on the meta device and leaves out their initialisation. `torch.device("meta")` would also catch
    the small tensors with which torchvision's RegNet computes its widths."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        name = getattr(func, "__name__", "")
        target = args[0] if args else options.get("tensor")
        if name.endswith("_") and not name.endswith("__") and isinstance(target, torch.Tensor) and target.is_meta:
            return target
        return func(*args, **options)
