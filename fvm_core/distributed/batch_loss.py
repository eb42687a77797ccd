"""A batch that is shared by the workers, as the solvers want its loss; gradients are averaged by DDP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from fvm_core.distributed.workers import Workers
from fvm_core.errors import SettingsError
from fvm_core.tuning.evaluate import eval_mode

Fetch = Callable[[slice], tuple[Tensor, Tensor]]


def with_averaged_gradients(model: nn.Module, example: Tensor) -> DistributedDataParallel:
    """Return `model` in torch's DDP: every backward pass through it leaves the workers' mean gradient in `grad`.

    That is all the solvers need, also SAM's two passes: the climb at w uses the whole batch's gradient, so every worker
    climbs to the same w + e, and weights are never sent. Buffers are not sent either: `batchnorm.synchronised` keeps
    them the same. `example` (b, ...) finds out whether a parameter takes no part, which DDP has to be told.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with eval_mode(model), torch.enable_grad():
        found = torch.autograd.grad(model(example).sum(), parameters, allow_unused=True)
    return DistributedDataParallel(
        model,
        device_ids=[torch.cuda.current_device()] if example.device.type == "cuda" else None,
        forward_sync_buffers=False,
        find_unused_parameters=any(gradient is None for gradient in found),
    )


@dataclass
class ShareLoss:
    """This worker's part of the mean loss of one batch of `size` samples (see `solver.LossFunction`).

    Of any `rows` each worker takes its share and returns the sum of their losses over the number of all of them, times
    the workers: DDP's mean of the gradients is then that of the whole batch, however unevenly it is shared. `fetch`
    gives the samples of a slice of the batch, `model` is the one in DDP. Dropout draws other masks than one process.
    """

    model: nn.Module
    fetch: Fetch
    size: int
    workers: Workers
    autocast: Callable[[], AbstractContextManager[object]]
    seed: int
    _held: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __call__(self, rows: slice | None = None) -> Tensor:
        whole = slice(0, self.size) if rows is None else rows
        part = self.workers.share(whole.stop - whole.start)
        start, stop = whole.start + part.start, whole.start + part.stop
        if (start, stop) not in self._held:
            self._held[start, stop] = self.fetch(slice(start, stop))
        x, y = self._held[start, stop]
        torch.manual_seed(self.seed + start)
        with self.autocast():
            total = F.cross_entropy(self.model(x), y, reduction="sum")
        return total * (self.workers.size / (whole.stop - whole.start))


def check_shares(smallest: int, workers: Workers, *, draws: int = 1) -> None:
    """Refuse batches, or an LPF draw's share of one, of which a worker would get no sample.

    Raises:
        SettingsError: naming `batch_size`.
    """
    if smallest // draws < workers.size:
        among = f" in {draws} draws" if draws > 1 else ""
        raise SettingsError(
            f"`batch_size` must give each of {workers.size} workers a sample, got batches of {smallest}{among}. Raise "
            "`batch_size`, or start fewer workers."
        )
