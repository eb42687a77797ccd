"""Unwrapping checkpoints, stripping prefixes, refusing tensors that are not plain finite numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from fvm_core.errors import CheckpointError
from fvm_core.models.state_dict import check_tensors, shorten, show, strip_prefixes, unwrap

STATE = {"conv.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}
OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


@pytest.mark.parametrize(
    "value",
    [
        STATE,
        {"state_dict": STATE, "optimizer_states": [OPTIMIZER], "epoch": 3, "hyper_parameters": {"lr": 0.1}},
        {"arch": "resnet18", "epoch": 1, "state_dict": STATE, "state_dict_ema": {"x": torch.ones(1)},
         "optimizer": OPTIMIZER},
        {"model": STATE, "optimizer": OPTIMIZER},
        {"net": STATE, "acc": 93.1, "epoch": 200},
        {"model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER, "loss": torch.tensor(0.5)},
        {"checkpoint": {"model": {"state_dict": STATE}}, "model": {"state_dict": STATE}},
        {"resnet": STATE, "optimizer": OPTIMIZER},
    ],
)  # fmt: skip
def test_unwrap_finds_the_weights(value: dict[str, Any]) -> None:
    assert unwrap(value, what="w.pt") == STATE


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(3), "`w.pt` holds a Tensor, not a model's state dict"),
        ([STATE], "`w.pt` holds a list"),
        (None, "holds a NoneType"),
        ({}, "holds no model's state dict; it holds nothing"),
        (OPTIMIZER, r"it holds state \(dict\), param_groups \(list\)"),
        ({"a": STATE, "b": STATE}, r"it holds a \(dict\), b \(dict\)"),
        (STATE | {"epoch": 3}, r"fc.bias \(Tensor\), epoch \(int\)"),
        ({1: torch.ones(1)}, r"a int key \(Tensor\)"),
        ({f"k{i}": i for i in range(12)}, "k7 .int. and 4 more"),
        ({"state_dict": {"state_dict": {"state_dict": {"state_dict": {"state_dict": STATE}}}}}, "holds no model's"),
    ],
)
def test_unwrap_says_what_it_found(value: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        unwrap(value, what="w.pt")


def test_prefixes_are_stripped_in_any_order() -> None:
    for depth in (1, 2, 3):
        for order in itertools.permutations(("module.", "_orig_mod.", "model.", "net."), depth):
            prefix = "".join(order)
            assert strip_prefixes([f"{prefix}fc.weight", f"{prefix}fc.bias"]) == {
                f"{prefix}fc.weight": "fc.weight",
                f"{prefix}fc.bias": "fc.bias",
            }


def test_prefixes_of_real_wrappers_are_stripped() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    plain = list(net.state_dict())
    compiled, parallel = torch.nn.Module(), torch.nn.DataParallel(net)
    compiled.add_module("_orig_mod", net)  # as torch.compile does, whose import takes long
    averaged = torch.optim.swa_utils.AveragedModel(net)
    for wrapped in (compiled, parallel, torch.nn.DataParallel(compiled), averaged):
        names = list(wrapped.state_dict())
        assert names != plain
        assert list(strip_prefixes(names).values()) == plain


def test_compiled_submodules_and_metrics_beside_the_model() -> None:
    assert strip_prefixes(["layer1._orig_mod.weight"]) == {"layer1._orig_mod.weight": "layer1.weight"}
    names = ["model.fc.weight", "criterion.weight", "train_acc.total", "n_averaged"]
    assert strip_prefixes(names) == {"model.fc.weight": "fc.weight"}


def test_names_without_a_shared_prefix_stay() -> None:
    for names in (["model.fc.weight", "head.weight"], ["modules.a", "modules.b"], ["loss.a", "train_x"], []):
        assert strip_prefixes(names) == {name: name for name in names}
    clash = ["_orig_mod.a", "a"]
    assert strip_prefixes(clash) == {name: name for name in clash}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_nan_and_infinity_are_named(value: float, dtype: torch.dtype) -> None:
    bad = torch.zeros(3, 4, dtype=dtype)
    bad[2, 1] = value
    with pytest.raises(CheckpointError, match=r"`w.pt` has NaN or infinite weights in layer1.weight: .*earlier"):
        check_tensors({"fine": torch.ones(2), "layer1.weight": bad}, max_bytes=1000, what="w.pt")


def test_many_nan_tensors_are_counted() -> None:
    state = {f"w{i}": torch.full((2,), float("nan")) for i in range(9)}
    with pytest.raises(CheckpointError, match="in w0, w1, w2, w3, w4, w5 and 3 more"):
        check_tensors(state, max_bytes=1000, what="w.pt")


def test_finite_tensors_of_every_kind_pass() -> None:
    state = {
        "empty": torch.ones(0, 3),
        "scalar": torch.tensor(5),
        "mask": torch.tensor([True]),
        "small": torch.ones(4).to(torch.float8_e4m3fn),
        "largest": torch.full((2,), torch.finfo(torch.float32).max),
    }
    check_tensors(state, max_bytes=1000, what="w.pt")


def test_float8_nan_is_named() -> None:
    with pytest.raises(CheckpointError, match="NaN or infinite weights in w"):
        check_tensors({"w": torch.tensor([float("nan")]).to(torch.float8_e4m3fn)}, max_bytes=99, what="w.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.ones(2, dtype=torch.complex64),
    ],
)
def test_other_tensors_are_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(CheckpointError, match=r"`w.pt`: odd is a .* plain dense tensors"):
        check_tensors({"odd": tensor}, max_bytes=1000, what="w.pt")


def test_sizes_add_up_to_the_limit() -> None:
    state = {"a": torch.ones(10), "b": torch.ones(10)}
    check_tensors(state, max_bytes=80, what="w.pt")
    with pytest.raises(CheckpointError, match=r"b of shape \(10,\) claims 40 bytes.*limit of 79"):
        check_tensors(state, max_bytes=79, what="w.pt")


def test_foreign_names_are_made_fit_for_messages() -> None:
    assert show("a\x1b[31m\n") == "a?[31m?"
    assert len(show("x" * 500)) == 80
    assert shorten(list("abcdefgh"), limit=3) == "a, b, c and 5 more"
