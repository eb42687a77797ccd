"""What has to be known to rebuild a classifier and to feed it. No torch here: pages read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.errors import CheckpointError

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}

TORCHVISION: tuple[str, ...] = tuple(
    """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
    densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4
    efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s
    googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2
    mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf
    regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf
    regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50
    resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11
    vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32
    wide_resnet101_2 wide_resnet50_2
    """.split()  # noqa: SIM905
)
"""Every classifier of torchvision, by its own name. A test compares this list with torchvision's."""

ARCHITECTURES: tuple[str, ...] = (
    "digits_cnn",
    "cifar_resnet18",
    "cifar_resnet34",
    *(f"torchvision:{name}" for name in TORCHVISION),
)
"""What a person may choose from on a page; `custom:module:callable` comes from the command line only."""


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
        """Build from a mapping. Raises CheckpointError for unknown or missing keys and for values of a wrong kind."""
        keys = set(value) if isinstance(value, Mapping) else set()
        if not {"arch", "num_classes"} <= keys <= set(cls.__dataclass_fields__):
            raise CheckpointError(
                f"a model's description must have `arch` and `num_classes` and only known keys, "
                f"got {str(value)[:200]}. "
                "Save or import the model again."
            )
        items: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        for key, kinds in (("mean", (int, float)), ("std", (int, float)), ("class_names", (str,))):
            entries = items.get(key, ())
            if not isinstance(entries, tuple) or not all(isinstance(entry, kinds) for entry in entries):
                raise CheckpointError(
                    f"`{key}` must be a list of {'text' if key == 'class_names' else 'numbers'}, got "
                    f"{entries!r:.100}. Describe the model again."
                )
        return cls(**items)


@dataclass(frozen=True)
class Build:
    """What a training preset builds: the network and its input, but for the classes."""

    arch: str
    width: int
    image_size: int
    channels: int
    normalisation: str

    def spec(self, num_classes: int, class_names: Sequence[str] = ()) -> ModelSpec:
        """Return the description for so many classes.

        >>> BUILDS["digits"].spec(10).image_size
        8
        """
        mean, std = NORMALISATIONS[self.normalisation]
        return ModelSpec(
            self.arch, num_classes, width=self.width, in_channels=self.channels, image_size=self.image_size,
            mean=mean, std=std, class_names=tuple(class_names),
        )  # fmt: skip


BUILDS: dict[str, Build] = {
    "paper": Build("cifar_resnet34", 64, 32, 3, "cifar10"),
    "cpu": Build("cifar_resnet18", 8, 32, 3, "cifar10"),
    "digits": Build("digits_cnn", 16, 8, 1, "none"),
}
"""By the presets of `fvm_core.tuning.settings.TRAIN_PRESETS`."""


def require_classes(spec: ModelSpec, class_names: Sequence[str]) -> None:
    """Check that the head has an output for every class of a dataset (it may have more).

    Raises:
        CheckpointError: fewer outputs than classes.
    """
    if spec.num_classes < len(class_names):
        raise CheckpointError(
            f"the model's head has {spec.num_classes} classes, the dataset has {len(class_names)}: a label from "
            f"{spec.num_classes} on has no output. Choose a model with at least {len(class_names)} classes, or a "
            "dataset with fewer."
        )
