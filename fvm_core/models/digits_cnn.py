"""The small network of the built-in demo: 8x8 grey digits, about 10,000 parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DigitsCNN(nn.Module):
    """Two 3x3 convolutions with BatchNorm (the second halves the side), 4x4 average pooling, linear head.

    Input (b, in_channels, h, w) float with h, w >= 8, output (b, num_classes) logits. `features` gives the (b, 512)
    activations before the head. At h = w = 8 the pooling is the identity.

    >>> sum(parameter.numel() for parameter in DigitsCNN(num_classes=10).parameters())
    9978
    """

    def __init__(self, *, num_classes: int, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 4 * 4, num_classes)

    def features(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return torch.flatten(F.adaptive_avg_pool2d(out, 4), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))
