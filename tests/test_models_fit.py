"""Putting state dicts into modules: what fits, what is told when it does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fvm_core.errors import CheckpointError
from fvm_core.models.build import build_model
from fvm_core.models.fit import load_into
from fvm_core.models.spec import ModelSpec

SLIM = ModelSpec("cifar_resnet18", 10, width=4)


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod.", "_orig_mod.module.net."])
def test_weights_come_over_exactly(prefix: str) -> None:
    source, target = build_model(SLIM), build_model(SLIM)
    assert not _same(source, target)
    load_into(target, {prefix + name: value for name, value in source.state_dict().items()})
    assert _same(source, target)


def test_half_precision_becomes_the_models_float32() -> None:
    source, target = build_model(SLIM), build_model(SLIM)
    load_into(target, source.bfloat16().state_dict())
    assert {parameter.dtype for parameter in target.parameters()} == {torch.float32}
    assert torch.equal(target.fc.weight, source.fc.weight.float())


def test_a_mismatch_names_every_kind_and_changes_nothing() -> None:
    model = build_model(SLIM)
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    state["fc.weight"] = torch.zeros(100, 32)
    del state["bn1.bias"]
    state["head.weight"] = torch.zeros(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = (
        r"the upload do not fit CifarResNet. missing: bn1.bias; unexpected: head.weight; "
        r"wrong shape: fc.weight is \(100, 32\), expected \(10, 32\). Choose the architecture, width"
    )
    with pytest.raises(CheckpointError, match=message):
        load_into(model, state, what="the upload")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_long_lists_are_shortened_with_a_count() -> None:
    model = build_model(SLIM)
    needed = [name for name in model.state_dict() if not name.endswith("num_batches_tracked")]
    with pytest.raises(CheckpointError, match=rf"missing: conv1.weight, bn1.weight, .* and {len(needed) - 6} more; "):
        load_into(model, {"x": torch.zeros(1)})


def test_integers_for_real_weights_are_refused() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"weight is \(2, 2\) of int8, expected \(2, 2\)"):
        load_into(model, {"weight": torch.zeros(2, 2, dtype=torch.int8), "bias": torch.zeros(2)})


def test_batchnorm_counters_may_be_missing() -> None:
    source, target = build_model(SLIM), build_model(SLIM)
    state = {name: value for name, value in source.state_dict().items() if "num_batches_tracked" not in name}
    load_into(target, state)
    assert _same(source, target)


def _kuangliu(name: str) -> str:
    return name.replace("fc.", "linear.")


def _torchvision(name: str) -> str:
    return name.replace("shortcut.", "downsample.")


def _weiaicunzai(name: str) -> str:
    for stage in range(1, 5):
        name = name.replace(f"layer{stage}.", f"conv{stage + 1}_x.")
    for old, new in (("conv1.", "0."), ("bn1.", "1."), ("conv2.", "3."), ("bn2.", "4.")):
        if "_x." in name and "shortcut" not in name:
            name = name.replace(f".{old}", f".residual_function.{new}")
    if not name.startswith("conv1."):
        return name.replace("bn1.", "conv1.1.") if name.startswith("bn1.") else name
    return name.replace("conv1.", "conv1.0.")


@pytest.mark.parametrize("spell", [_kuangliu, _torchvision, _weiaicunzai])
def test_other_programs_names_of_the_same_network(spell: object) -> None:
    source, target = build_model(SLIM), build_model(SLIM)
    state = {spell(name): value for name, value in source.state_dict().items()}  # type: ignore[operator]
    assert state.keys() != source.state_dict().keys()
    load_into(target, state)
    assert _same(source, target)


def test_auxiliary_heads_of_googlenet_are_left_out() -> None:
    import torchvision

    source = torchvision.models.googlenet(num_classes=3, aux_logits=True, init_weights=False)
    target = build_model(ModelSpec("torchvision:googlenet", 3))
    load_into(target, source.state_dict())
    assert torch.equal(source.fc.weight, target.fc.weight)
    state = source.state_dict() | {"aux3.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unexpected: aux3.weight"):
        load_into(target, state)


def test_a_module_whose_own_names_have_the_prefix_fits_too() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)

    source, target = Wrapped(), Wrapped()
    load_into(target, source.state_dict())
    assert torch.equal(source.model.weight, target.model.weight)
    load_into(target, nn.Linear(2, 2).state_dict())
