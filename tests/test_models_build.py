"""Building classifiers from descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.models.build import build_model
from fvm_core.models.spec import ModelSpec


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("digits_cnn", 10, in_channels=1, image_size=8),
        ModelSpec("digits_cnn", 3, in_channels=3, image_size=33),
        ModelSpec("cifar_resnet18", 7, width=4),
        ModelSpec("cifar_resnet34", 2, width=2, in_channels=1, image_size=28),
        ModelSpec("torchvision:squeezenet1_1", 5, image_size=64),
        ModelSpec("torchvision:googlenet", 4, image_size=64),
    ],
)
def test_build_gives_logits_in_train_and_eval_mode(spec: ModelSpec) -> None:
    model = build_model(spec)
    x = torch.randn(2, spec.in_channels, spec.image_size, spec.image_size)
    for mode in (True, False):
        with torch.no_grad():
            assert model.train(mode)(x).shape == (2, spec.num_classes)


def test_digits_cnn_is_small_and_features_feed_the_head() -> None:
    model = build_model(ModelSpec("digits_cnn", 10, in_channels=1, image_size=8)).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 9978
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(model(x), model.features(x) @ model.fc.weight.T + model.fc.bias)


def test_build_is_a_function_of_the_seed() -> None:
    spec = ModelSpec("cifar_resnet18", 10, width=2)
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(build_model(spec).state_dict()["layer1.0.conv1.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("arch", ["resnet18", "torchvision:resnet9000", "torchvision:fcn_resnet50", "", "custom:"])
def test_build_refuses_unknown_architectures(arch: str) -> None:
    with pytest.raises(CheckpointError, match="`arch` must be digits_cnn"):
        build_model(ModelSpec(arch, 10), allow_custom=True)


@pytest.mark.parametrize(
    ("field", "value"), [("num_classes", 1), ("num_classes", 10**9), ("width", 0), ("image_size", 4), ("width", 2.5)]
)
def test_build_refuses_numbers_out_of_range(field: str, value: float) -> None:
    values = {"num_classes": 10, field: value}
    with pytest.raises(SettingsError, match=f"`{field}` must be a whole number"):
        build_model(ModelSpec("digits_cnn", **values))


def test_build_says_what_torchvision_cannot_take() -> None:
    with pytest.raises(CheckpointError, match="`in_channels` must be 3"):
        build_model(ModelSpec("torchvision:resnet18", 10, in_channels=1))
    with pytest.raises(CheckpointError, match="`image_size` 33"):
        build_model(ModelSpec("torchvision:vit_b_32", 10, image_size=33))


def test_custom_runs_only_with_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text(
        "import pathlib, torch\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "def tiny(num_classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, num_classes))\n"
        "def wrong(num_classes):\n"
        "    return 'no module'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = ModelSpec("custom:my_nets:tiny", 4)
    with pytest.raises(SettingsError, match="from the command line only"):
        build_model(spec)
    assert not (tmp_path / "ran").exists()
    assert build_model(spec, allow_custom=True)(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    with pytest.raises(CheckpointError, match=r"must return a torch\.nn\.Module, got str"):
        build_model(ModelSpec("custom:my_nets:wrong", 4), allow_custom=True)
    for missing in ("custom:my_nets:nothing", "custom:no_such_module_here:tiny", "custom:my_nets", "custom::tiny"):
        with pytest.raises(CheckpointError, match="cannot be imported"):
            build_model(ModelSpec(missing, 4), allow_custom=True)
