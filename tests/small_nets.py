"""Small float64 models with every kind of layer, and per-sample gradients by torch.func, for tests of curvature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F


class SmallNet(nn.Module):
    """A convolution with stride, padding and no bias; BatchNorm with odd statistics; a grouped and a dilated
    convolution with bias; two Linear layers, one without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(4, 3, (2, 3), padding=(0, 1), dilation=(2, 1))
        self.hidden = nn.Linear(24, 5, bias=False)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.dilated(torch.tanh(self.grouped(x))))
        return self.head(torch.tanh(self.hidden(x.flatten(1))))


def small_net(seed: int = 0) -> SmallNet:
    """Return a SmallNet with random running statistics, in float64; its input is (b, 2, 7, 7)."""
    torch.manual_seed(seed)
    model = SmallNet().double().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2.0)
    return model


def small_data(b: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return inputs (b, 2, 7, 7) in float64 and labels (b,) of 3 classes."""
    torch.manual_seed(seed)
    return torch.randn(b, 2, 7, 7, dtype=torch.float64), torch.randint(3, (b,))


def pulled_gradients(model: nn.Module, x: Tensor, pulls: Tensor) -> dict[str, Tensor]:
    """Return {parameter: (b, *shape)} gradients of sum(logits * pull), each sample alone, by vmap(grad)."""
    values = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def pulled(values: dict[str, Tensor], one: Tensor, pull: Tensor) -> Tensor:
        return (functional_call(model, {**values, **buffers}, (one[None],))[0] * pull).sum()

    return vmap(grad(pulled), in_dims=(None, 0, 0))(values, x, pulls)


def label_gradients(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return {parameter: (b, *shape)} gradients of each sample's cross-entropy, by vmap(grad)."""
    values = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (one[None],)), label[None])

    return vmap(grad(loss), in_dims=(None, 0, 0))(values, x, y)
