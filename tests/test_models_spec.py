"""ModelSpec, the list of architectures, and the check of classes against the head."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torchvision

from fvm_core.errors import CheckpointError
from fvm_core.models.spec import ARCHITECTURES, TORCHVISION, ModelSpec, require_classes


def test_torchvision_lists_its_classifiers() -> None:
    assert list(TORCHVISION) == torchvision.models.list_models(module=torchvision.models)
    assert ARCHITECTURES[:3] == ("digits_cnn", "cifar_resnet18", "cifar_resnet34")
    assert "torchvision:resnet50" in ARCHITECTURES


def test_spec_and_store_import_without_torch() -> None:
    code = "import sys, fvm_core.models.spec, fvm_core.models.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_spec_json_round_trip() -> None:
    spec = ModelSpec("cifar_resnet18", 2, width=8, mean=(0.1, 0.2, 0.3), std=(1.0,), class_names=("a", "b"))
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "only known keys"),
        ({"mean": "abc"}, "`mean` must be a list of numbers"),
        ({"std": ["x"]}, "`std` must be a list of numbers"),
        ({"class_names": [1]}, "`class_names` must be a list of text"),
    ],
)
def test_spec_from_json_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ModelSpec.from_json({"arch": "digits_cnn", "num_classes": 10} | change)


def test_spec_from_json_needs_arch_and_classes() -> None:
    with pytest.raises(CheckpointError, match="must have `arch` and `num_classes`"):
        ModelSpec.from_json({"arch": "digits_cnn"})


def test_require_classes_refuses_a_small_head_only() -> None:
    spec = ModelSpec("digits_cnn", 3)
    require_classes(spec, ["a", "b", "c"])
    require_classes(spec, ["a", "b"])
    with pytest.raises(CheckpointError, match=r"head has 3 classes, the dataset has 4.*at least 4 classes"):
        require_classes(spec, ["a", "b", "c", "d"])
