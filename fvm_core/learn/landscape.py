"""Directions and planes in the space of a network's weights, and the network put to any point of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.errors import DataError
from fvm_core.tuning.batches import DIRECTIONS, derived_seed

State = Mapping[str, Tensor]
BATCHNORM = (
    "BatchNorm runs with its running statistics, as for the scores. Along random directions they are the model's own; "
    "on the plane they go with the weights: means along a straight line, variances along one of their logarithms, so "
    "that they are exact at the three models and never negative."
)


def filter_normalised(model: nn.Module, *, seed: int, number: int) -> dict[str, Tensor]:
    """Return direction `number` {parameter: tensor}: Gaussian, each filter as long as the model's (Li et al., 2018).

    A filter is p[f] of a parameter of two or more dimensions; those of one (biases, norm layers) do not move. A filter
    of zeros stays zero. A pure function of seed, number and the model.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, number, purpose=DIRECTIONS))
    out = {}
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device, value.dtype)
        if value.dim() < 2:
            out[name] = torch.zeros_like(value)
            continue
        kept = tuple(range(1, value.dim()))
        lengths = [torch.linalg.vector_norm(item, dim=kept, keepdim=True) for item in (value, drawn)]
        out[name] = drawn * lengths[0] / lengths[1].clamp_min(torch.finfo(value.dtype).tiny)
    return out


@torch.no_grad()
def move(model: nn.Module, centre: State, directions: tuple[State, State], x: float, y: float) -> None:
    """Put the parameters to centre + x first + y second, in place; what no direction names, and buffers, stay."""
    for name, parameter in model.named_parameters():
        parameter.copy_(centre[name] + x * directions[0][name] + y * directions[1][name])


@dataclass(frozen=True)
class Plane:
    """The plane through three states, with an orthonormal basis: the first axis from the first to the second one.

    `points` are the states' coordinates (x, y), Euclidean lengths over all parameters: (0, 0), (a, 0), (b, c), c > 0.
    """

    states: tuple[State, State, State]
    points: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    def shares(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the three states' shares (they add up to 1) at (x, y); exactly (1, 0, 0) etc. at the points."""
        (_, _), (a, _), (b, c) = self.points
        third = y / c
        second = (x - third * b) / a
        return 1.0 - second - third, second, third

    @torch.no_grad()
    def put(self, model: nn.Module, x: float, y: float) -> None:
        """Put the model's parameters and BatchNorm statistics to the point (x, y), in place; see BATCHNORM."""
        shares = self.shares(x, y)
        variances = {
            f"{name}.running_var" if name else "running_var"
            for name, module in model.named_modules()
            if isinstance(getattr(module, "running_var", None), Tensor)
        }
        for name, value in model.state_dict(keep_vars=True).items():
            held = [state[name] for state in self.states]
            exact = next((item for item, share in zip(held, shares, strict=True) if share == 1.0), None)
            if not value.is_floating_point():
                value.copy_(held[0])
            elif exact is not None:
                value.copy_(exact)
            elif name in variances:
                tiny = torch.finfo(value.dtype).tiny
                logs = sum(share * item.clamp_min(tiny).log() for share, item in zip(shares, held, strict=True))
                value.copy_(torch.as_tensor(logs).clamp(max=80.0).exp())
            else:
                value.copy_(torch.as_tensor(sum(share * item for share, item in zip(shares, held, strict=True))))


def plane_through(model: nn.Module, states: tuple[State, State, State]) -> Plane:
    """Return the plane through three states (state dicts) of `model`; its parameters alone make lengths and angles.

    Raises:
        DataError: the three lie on one line (two models are the same, say).
    """
    names = [name for name, _ in model.named_parameters()]
    origin, *others = (torch.cat([state[name].double().flatten() for name in names]) for state in states)
    first, second = (item - origin for item in others)
    a = float(torch.linalg.vector_norm(first))
    along = float(second @ first) / a if a else 0.0
    across = float(torch.linalg.vector_norm(second - along * first / a)) if a else 0.0
    if across <= 1e-9 * max(a, 1.0):
        raise DataError(
            "the three models must not lie on one line, but two are the same or all in a row. Choose others."
        )
    return Plane(states, ((0.0, 0.0), (a, 0.0), (along, across)))
