"""What tuning and scoring ask of a generating model with a LoRA adapter, whether it makes text or images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from fvm_core.generation.pairs import PairSet

if TYPE_CHECKING:
    from PIL.Image import Image


class GenerationTask(Protocol):
    """A model, its pairs, and the loss of each of them.

    `batch` and `losses` are pure: the same rows at the same weights give the same losses, whatever the other rows of
    the batch are and whenever they are asked (images draw their noise from seed and id alone). Samples never interact.
    Whatever a Linear layer with LoRA sees in `losses` is sample-major: its input (b d, ..., features) holds d >= 1 rows
    of the first sample, then d of the second, so that reshaping it to (b, -1, features) gives each sample its own.
    """

    @property
    def model(self) -> nn.Module:
        """The model in eval mode (no dropout), every parameter frozen but those of LoRA."""

    @property
    def pairs(self) -> PairSet:
        """The samples that `batch` takes its rows from."""

    def with_pairs(self, pairs: PairSet) -> GenerationTask:
        """Return a task of the same model (the same object, not a copy) over other pairs.

        Raises:
            DataError: pairs of another kind, or one that the model cannot take (longer than its context).
        """

    def batch(self, rows: Sequence[int]) -> Any:
        """Return the inputs of the pairs at `rows` (b of them), on the model's device."""

    def losses(self, batch: Any) -> Tensor:
        """Return (b,) the negative log-likelihood of each sample, differentiable in LoRA's parameters.

        Text: the sum over the target's tokens, in nats (B.2). Image: the mean squared error of the noise over pixels
        and over the sample's fixed draws of (time step, noise), a bound of the likelihood up to a factor (B.3).
        """

    def generate(self, prompt: str, *, seed: int) -> str | Image:
        """Return what the model makes of `prompt`; the same seed gives the same.

        Raises:
            DataError: a prompt that is empty or longer than the model's context.
        """

    def describe(self) -> dict[str, Any]:
        """Return what provenance keeps of how losses are made: kind, settings, hashes of base and adapter."""
