"""BatchNorm as one multiply-add: PyTorch's own outputs and gradients, in place only for the time of the block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.affine_norms import affine_norms

SHAPES = {"images": (5, 6, 4, 3), "one pixel": (5, 6, 1, 1)}


def norm(**options: bool) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    module = nn.BatchNorm2d(6, **options)
    if module.running_mean is not None and module.running_var is not None:
        module.running_mean.normal_()
        module.running_var.uniform_(0.2, 3.0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval().requires_grad_(False)


def both(module: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Outputs and input gradients without and within the block; the output is changed in place after the module."""
    found = []
    for changed in (False, True):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        if changed:
            with affine_norms([module]):
                assert "forward" in vars(module)
                out = module(leaf * 1)
        else:
            out = module(leaf * 1)
        out = F.relu(out, inplace=True)
        found.append((out.detach(), torch.autograd.grad(out.square().sum(), leaf)[0]))
    return found


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_outputs_and_gradients_are_pytorchs(shape: tuple[int, ...], channels_last: bool, affine: bool) -> None:
    module, x = norm(affine=affine), torch.randn(*shape)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    (out, grad), (fast, fast_grad) = both(module, x)
    torch.testing.assert_close(fast, out, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fast_grad, grad, rtol=1e-5, atol=1e-6)
    assert fast.stride() == out.stride()


def test_other_norms_and_modes_keep_their_own_forward() -> None:
    class Doubled(nn.BatchNorm2d):
        def forward(self, a: Tensor) -> Tensor:
            return 2 * super().forward(a)

    model = nn.Sequential(norm(track_running_stats=False), Doubled(6), nn.BatchNorm1d(6)).eval()
    with affine_norms(model.modules()):
        assert not any("forward" in vars(module) for module in model.modules())
    module, x = norm(), torch.randn(5, 6, 4, 3)
    module.train()
    with affine_norms([module]):
        out = module(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), module.bias)
    module.eval()
    with affine_norms([module]), pytest.raises(RuntimeError, match="running_mean should contain 5 elements"):
        module(torch.randn(2, 5, 3, 3))


def test_the_model_is_left_as_it_was_after_an_error() -> None:
    model = nn.Sequential(norm(), nn.ReLU(), norm())
    with pytest.raises(KeyError), affine_norms(model.modules()):
        raise KeyError("of the model")
    assert not any("forward" in vars(module) for module in model.modules())
