"""What two workers compute together, next to what one computes from the same start: `python distributed_cases.py OUT`.

Every worker writes OUT/RANK.pt; then worker 1 fails, and both have to say so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from small_nets import small_data, small_net
from solver_cases import bn_net, images
from torch import Tensor, nn

from fvm_core.distributed.batch_loss import ShareLoss, with_averaged_gradients
from fvm_core.distributed.batchnorm import synchronised
from fvm_core.distributed.environment import launched
from fvm_core.distributed.fisher import shared_fisher
from fvm_core.distributed.join import joined
from fvm_core.distributed.workers import Workers
from fvm_core.errors import DataError
from fvm_core.tuning.batches import Batches
from fvm_core.tuning.make_solver import make_solver
from fvm_core.tuning.precision import resolve_precision
from fvm_core.tuning.settings import TuneSettings
from fvm_core.tuning.tune import BatchLoss

SOLVERS = ("sgd", "sam", "asam", "fsam", "lpf")
SAMPLES, STEPS = 11, 4
CPU = resolve_precision("fp32", torch.device("cpu"))
Result = dict[str, Tensor]


class Idle(nn.Module):
    """A network with a parameter that takes no part in its output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.idle = bn_net(), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def tuned(solver: str, workers: Workers, *, dtype: torch.dtype, net: type[nn.Module] | None = None) -> Result:
    """Return weights, statistics and losses after a few steps on batches of 6 and 5 samples."""
    torch.manual_seed(1)
    model = (net() if net else bn_net()).to(dtype).train()
    x, y = images(SAMPLES)
    x = x.to(dtype)
    settings = TuneSettings(solver=solver, rho=0.1, lpf_draws=2, lpf_gamma=0.05, clip_norm=0.9, batch_size=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    step, batches, losses = make_solver(settings), Batches(SAMPLES, 8, 0), []
    with synchronised(model, workers):
        shared = with_averaged_gradients(model, x[:1]) if workers.size > 1 else None
        for k in range(STEPS):
            at = torch.from_numpy(batches.at(k))
            if shared is None:
                loss = step.step(model, optimizer, BatchLoss(model, x[at], y[at], CPU, k), k=k)
            else:

                def fetch(rows: slice, at: Tensor = at) -> tuple[Tensor, Tensor]:
                    return x[at[rows]], y[at[rows]]

                share = ShareLoss(shared, fetch, len(at), workers, CPU.autocast, k)
                loss = workers.sum_(step.step(model, optimizer, share, k=k) / workers.size)
            losses.append(loss)
    return {**{name: value.clone() for name, value in model.state_dict().items()}, "losses": torch.stack(losses)}


def fishers(workers: Workers) -> dict[str, Result]:
    """Return the Fisher of 7 samples, and of one sample, which the second worker has no share of."""
    model, found = small_net(), {}
    for name, count in (("fisher of seven", 7), ("fisher of one", 1)):
        x, y = small_data(count)
        mine = slice(workers.rank, None, workers.size)
        batches = [(x[mine], y[mine])] if len(x[mine]) else []
        found[name] = shared_fisher(model, batches, workers)
    return found


def everything(workers: Workers) -> dict[str, Result]:
    cases = {f"{solver} double": tuned(solver, workers, dtype=torch.float64) for solver in SOLVERS}
    cases |= {f"{solver} single": tuned(solver, workers, dtype=torch.float32) for solver in ("sgd", "sam")}
    cases["idle double"] = tuned("sam", workers, dtype=torch.float64, net=Idle)
    return cases | fishers(workers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    launch = launched()
    assert launch is not None
    with joined(launch) as workers:
        torch.save(everything(workers), Path(sys.argv[1]) / f"{workers.rank}.pt")
        if workers.rank == 1:
            raise DataError("image 7 of worker 1 is broken.")
        workers.sum_(torch.zeros(3))
