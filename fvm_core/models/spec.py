"""What has to be known to rebuild a classifier and to feed it. No torch here: pages read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.errors import CheckpointError

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}


@dataclass(frozen=True)
class ModelSpec:
    """Architecture and input of a classifier.

    `arch` is `digits_cnn`, `cifar_resnet18`, `cifar_resnet34`, `torchvision:NAME`, or (command line only)
    `custom:module:callable`. `mean` and `std` are in units of pixels scaled to [0, 1], one value a channel or one for
    all. `image_size` is the side of the square input in pixels.
    """

    arch: str
    num_classes: int
    width: int = 64
    in_channels: int = 3
    image_size: int = 32
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    class_names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """Build from a mapping. Raises CheckpointError for unknown keys."""
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise CheckpointError(f"model description has unknown keys {sorted(unknown)}; save the model again.")
        return cls(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})
