"""Batches of normalised images and labels from an open dataset, through the memory-mapped pixel cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fvm_core.data.cache import PixelCache
from fvm_core.data.dataset import LabeledImages
from fvm_core.data.validation import check_head
from fvm_core.distributed.workers import workers_of
from fvm_core.errors import DataError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.models.inputs import black, random_crop_flip, to_input
from fvm_core.models.spec import ModelSpec
from fvm_core.workspace import Workspace


@dataclass(frozen=True)
class Feed:
    """The usable samples of one dataset as a model wants them. `n` of them; unreadable images are left out."""

    spec: ModelSpec
    cache: PixelCache
    usable: NDArray[np.int64]
    labels: NDArray[np.int64]
    device: torch.device
    channels_last: bool

    def __len__(self) -> int:
        return len(self.usable)

    def batch(self, positions: NDArray[np.int64], *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return images (b, c, h, w) float32 and labels (b,) int64 of the usable samples at `positions`.

        With a `generator` the images are padded (4 black pixels), cropped and flipped at random.
        """
        rows = self.usable[positions]
        x = to_input(self.cache.read(rows), self.spec)
        if generator is not None:
            x = random_crop_flip(x, generator, fill=black(self.spec))
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        y = torch.from_numpy(self.labels[rows])
        return x.to(self.device, memory_format=memory_format), y.to(self.device)


def open_feed(
    dataset: LabeledImages,
    spec: ModelSpec,
    workspace: Workspace,
    context: JobContext,
    *,
    what: str,
    device: torch.device,
    channels_last: bool,
) -> Feed:
    """Decode what the cache lacks (with progress) and return a Feed. `what` names the dataset to the person. Several
    workers share the decoding.

    Raises:
        DataError: labels beyond the model's head, or no readable image.
        JobStopped: the person stopped while images were being decoded.
    """
    check_head(dataset, spec.num_classes, what=what)
    cache = PixelCache(dataset, size=spec.image_size, channels=spec.in_channels, folder=workspace.cache)

    def report(done: int, total: int) -> None:
        context.progress(done, total, f"Decoding the {what}: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    workers = workers_of(context)
    cache.fill(report, begin=workers.rank / workers.size)
    usable = np.asarray(cache.usable(), dtype=np.int64)
    if len(usable) == 0:
        raise DataError(f"the {what} has no readable image. Check the files, or choose another dataset.")
    return Feed(spec, cache, usable, np.asarray(dataset.labels, dtype=np.int64), device, channels_last)


def describe(name: str, dataset: LabeledImages) -> dict[str, Any]:
    """Return what a model record keeps about a dataset."""
    return {"name": name, "spec": dataset.spec.to_json(), "fingerprint": dataset.fingerprint}
