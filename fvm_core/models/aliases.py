"""Other programs' names for the very same networks, turned into ours (or torchvision's present ones)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CIFAR = (
    (r"^linear\.", "fc."),  # kuangliu/pytorch-cifar
    (r"\.downsample\.", ".shortcut."),  # torchvision's ResNet with its stem replaced by a 3x3 convolution
    (r"^conv1\.0\.", "conv1."),  # weiaicunzai/pytorch-cifar100, this and the following
    (r"^conv1\.1\.", "bn1."),
    (r"^conv([2-5])_x\.", lambda found: f"layer{int(found.group(1)) - 1}."),
    (r"\.residual_function\.0\.", ".conv1."),
    (r"\.residual_function\.1\.", ".bn1."),
    (r"\.residual_function\.3\.", ".conv2."),
    (r"\.residual_function\.4\.", ".bn2."),
)
_DENSENET = ((r"(denselayer\d+)\.(norm|conv)\.([12])\.", r"\1.\2\3."),)  # torchvision's published files


def our_names(names: Iterable[str], *, family: str) -> dict[str, str]:
    """Return {name: our name} for `family` "cifar" or "densenet"; other families keep their names.

    Only spellings are changed, and only to networks that compute the same function.

    >>> our_names(["linear.weight", "layer2.0.downsample.0.weight"], family="cifar")
    {'linear.weight': 'fc.weight', 'layer2.0.downsample.0.weight': 'layer2.0.shortcut.0.weight'}
    """
    rules = {"cifar": _CIFAR, "densenet": _DENSENET}.get(family, ())
    renamed = {}
    for name in names:
        ours = name
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        renamed[name] = ours
    return renamed
