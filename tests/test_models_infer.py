"""Telling architectures from names and shapes."""

from __future__ import annotations

import pytest
import torch
import torchvision

from fvm_core.models.build import build_model
from fvm_core.models.infer import guess_classes, infer_spec, spec_for
from fvm_core.models.spec import NORMALISATIONS, TORCHVISION, ModelSpec

CIFAR = dict(zip(("mean", "std"), NORMALISATIONS["cifar10"], strict=True))


def _shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("digits_cnn", 7, width=16, in_channels=1, image_size=8),
        ModelSpec("cifar_resnet18", 10, width=16, **CIFAR),
        ModelSpec("cifar_resnet34", 100, width=5, **CIFAR),
        ModelSpec("cifar_resnet18", 2, width=64, in_channels=1, mean=(0.5,), std=(0.5,)),
    ],
)
def test_our_networks_are_recognised_in_any_size(spec: ModelSpec) -> None:
    assert infer_spec(_shapes(build_model(spec))) == spec


@pytest.mark.parametrize(
    ("name", "classes", "size"),
    [("resnet18", 10, 224), ("resnet34", 1000, 224), ("resnet50", 37, 224), ("alexnet", 5, 224), ("vit_b_32", 10, 96)],
)
def test_torchvisions_networks_are_recognised(name: str, classes: int, size: int) -> None:
    options = {"image_size": size} if name.startswith("vit") else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    spec = infer_spec(_shapes(model))
    mean, std = NORMALISATIONS["imagenet"]
    assert spec == ModelSpec(f"torchvision:{name}", classes, image_size=size, mean=mean, std=std)


@pytest.mark.parametrize(
    ("name", "others"),
    [("squeezenet1_0", ["squeezenet1_1"]), ("resnext50_32x4d", ["resnet50", "wide_resnet50_2"]), ("vgg11", ["vgg13"])],
)
def test_relatives_are_told_apart(name: str, others: list[str]) -> None:
    with torch.device("meta"):
        shapes = _shapes(torchvision.models.get_model(name, weights=None, num_classes=4))
    assert spec_for(f"torchvision:{name}", shapes) is not None
    assert all(spec_for(f"torchvision:{other}", shapes) is None for other in others)


def test_regnet_is_built_without_memory_like_the_real_one() -> None:
    shapes = _shapes(torchvision.models.regnet_y_400mf(num_classes=3))
    spec = spec_for("torchvision:regnet_y_400mf", shapes)
    assert spec is not None and spec.num_classes == 3
    assert spec_for("torchvision:regnet_x_400mf", shapes) is None


def test_published_auxiliary_heads_and_missing_counters_do_not_matter() -> None:
    shapes = _shapes(torchvision.models.googlenet(num_classes=9, init_weights=False))
    assert any(name.startswith("aux1.") for name in shapes)
    shapes = {name: shape for name, shape in shapes.items() if "num_batches_tracked" not in name}
    found = spec_for("torchvision:googlenet", shapes)
    assert found is not None and found.num_classes == 9


def test_densenets_old_names_are_understood() -> None:
    with torch.device("meta"):
        shapes = _shapes(torchvision.models.densenet121(num_classes=6))
    old = {name: name for name in shapes}
    for layer in ("norm1", "norm2", "conv1", "conv2"):
        old = {name: text.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.") for name, text in old.items()}
    assert set(old.values()) != set(shapes)
    found = spec_for("torchvision:densenet121", {old[name]: shape for name, shape in shapes.items()})
    assert found is not None and found.num_classes == 6


def test_kuangliu_names_are_recognised() -> None:
    spec = ModelSpec("cifar_resnet34", 10, width=8, **CIFAR)
    shapes = {name.replace("fc.", "linear."): shape for name, shape in _shapes(build_model(spec)).items()}
    assert infer_spec(shapes) == spec


def test_near_misses_are_not_recognised() -> None:
    for arch in ("digits_cnn", "cifar_resnet18", "torchvision:resnet18"):
        with torch.device("meta"):
            shapes = _shapes(build_model(ModelSpec(arch, 10, width=4)))
        assert spec_for(arch, shapes) is not None
        for name in ("fc.bias", "bn1.weight"):
            less = {key: shape for key, shape in shapes.items() if key != name}
            assert spec_for(arch, less) is None
            assert spec_for(arch, shapes | {name: (3, 3)}) is None
        assert spec_for(arch, shapes | {"extra.weight": (1,)}) is None
    assert spec_for("custom:a:b", shapes) is None
    assert spec_for("torchvision:resnet9000", shapes) is None
    assert infer_spec({"nothing.weight": (3, 3)}) is None
    assert spec_for("cifar_resnet18", {"conv1.weight": (10**6, 3, 3, 3), "fc.weight": (10, 5)}) is None


def test_guess_classes_takes_the_last_matrix() -> None:
    shapes = {"a.weight": (5, 6), "head.weight": (7, 5), "head.bias": (7,), "conv.weight": (9, 3, 3, 3)}
    assert guess_classes(shapes) == 7
    assert guess_classes({"conv.weight": (9, 3, 3, 3)}) is None


def test_every_torchvision_classifier_is_recognised_and_no_two_are_alike() -> None:
    from fvm_core.models.infer import IMAGE_SIZES, MARKS, _torchvision_shapes

    seen: dict[frozenset[object], str] = {}
    for name in TORCHVISION:
        shapes = _torchvision_shapes(name, IMAGE_SIZES.get(name, 224))
        free = frozenset((key, (0, *shape[1:]) if shape[:1] == (1000,) else shape) for key, shape in shapes.items())
        assert any(name.startswith(family) and mark in shapes for family, mark in MARKS.items()), name
        assert free not in seen, f"{name} cannot be told from {seen[free]}"
        seen[free] = name
        own = {key: (12, *shape[1:]) if shape[:1] == (1000,) else shape for key, shape in shapes.items()}
        found = spec_for(f"torchvision:{name}", own)
        assert found is not None and found.num_classes == 12, name
