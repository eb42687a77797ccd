"""Low-pass filtered SGD (Bisla et al., 2022): the gradient of the loss averaged over Gaussian noise on the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.tuning.batches import NOISE, derived_seed
from fvm_core.tuning.sam import restored
from fvm_core.tuning.solver import LossFunction, Stateless, descend, parameters_of, require_sizes


def shares(size: int, draws: int) -> list[slice]:
    """Cut 0..size into `draws` slices whose lengths differ by one at most.

    Raises:
        SettingsError: more draws than samples.

    >>> shares(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    if draws > size:
        raise SettingsError(f"`draws` must be <= the {size} samples of the batch, got {draws}. Lower it.")
    return [slice(i * size // draws, (i + 1) * size // draws) for i in range(draws)]


@torch.no_grad()
def add_noise(parameters: Iterable[nn.Parameter], *, gamma: float, generator: torch.Generator) -> None:
    """Add noise from N(0, (gamma ||w_f||)^2) to each entry of each filter w_f = w[f], in place.

    A parameter of one dimension (bias, norm layer) or none is one filter of its own. Frozen parameters stay.
    """
    for parameter in parameters:
        if parameter.requires_grad:
            kept = tuple(range(1, parameter.dim())) if parameter.dim() > 1 else None
            norms = torch.linalg.vector_norm(parameter, dim=kept, keepdim=True)
            noise = torch.randn(parameter.shape, generator=generator, device=parameter.device, dtype=parameter.dtype)
            parameter.add_(noise * (gamma * norms))


@dataclass(frozen=True, kw_only=True)
class Lpf(Stateless):
    """LPF-SGD: the mean gradient over `draws` noises of size `gamma` (see `add_noise`), each on its share of the batch.

    So a step costs one of SGD whatever `draws` is. `gamma` grows along a cosine to `growth` times itself at step
    `steps`; 1 keeps it. The noise is a pure function of `seed` and the step. The paper's own: M = 1, gamma = 0.001.

    Raises:
        SettingsError: `gamma` < 0, `draws` < 1, `growth` < 1, or `clip_norm` is not > 0.
    """

    gamma: float
    seed: int
    steps: int
    draws: int = 1
    growth: float = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_sizes(gamma=self.gamma, growth=self.growth, clip_norm=self.clip_norm)
        for name in ("draws", "growth"):
            if getattr(self, name) < 1:
                raise SettingsError(f"`{name}` must be >= 1, got {getattr(self, name)}.")

    def gamma_at(self, k: int) -> float:
        """Return gamma (1 + (growth - 1) (1 - cos(pi k / steps)) / 2)."""
        risen = 0.5 * (1.0 - math.cos(math.pi * min(k, self.steps) / self.steps))
        return self.gamma * (1.0 + (self.growth - 1.0) * risen)

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: LossFunction, *, k: int
    ) -> Tensor:
        """Step along the averaged gradient and return the mean loss under the noise, which is the loss it minimises.

        Each sample passes once, so there is no loss at w itself to return, and BatchNorm's running statistics move once
        for each share. The weights come back bit for bit between the draws. With gamma = 0 and one draw this is SGD.

        Raises:
            SettingsError: more draws than samples in the batch.
        """
        optimizer.zero_grad(set_to_none=True)
        parameters, gamma = parameters_of(optimizer), self.gamma_at(k)
        generator = torch.Generator(parameters[0].device).manual_seed(derived_seed(self.seed, k, purpose=NOISE))
        losses = []
        for rows in shares(loss_function.size, self.draws):
            with restored(parameters):
                add_noise(parameters, gamma=gamma, generator=generator)
                loss = loss_function(rows) * ((rows.stop - rows.start) / loss_function.size)
                loss.backward()
            losses.append(loss.detach())
        descend(optimizer, clip_norm=self.clip_norm)
        return torch.stack(losses).sum()
