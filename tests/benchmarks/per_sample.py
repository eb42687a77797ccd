"""Samples per second of s for the given label, for all labels, of vmap(grad), and of plain forward + backward.

    PYTHONPATH=. python tests/benchmarks/per_sample.py --width 8 --batch 64 --threads 2

Random CIFAR-sized input, cifar_resnet18, fp32, CPU. Best of `--repeats`. With one thread the clock is the processor
time, which other work on the machine disturbs less. Also prints the largest relative difference of s from vmap's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.models.resnet import BLOCKS, CifarResNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("width", 8), ("batch", 64), ("classes", 10), ("threads", 2), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = CifarResNet(BLOCKS["cifar_resnet18"], num_classes=args.classes, width=args.width).eval()
    x, y = torch.randn(args.batch, 3, 32, 32), torch.randint(0, args.classes, (args.batch,))
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x)
    labels = torch.arange(args.classes).expand(args.batch, args.classes)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(values: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (sample[None],)), label[None])

    def by_vmap() -> Tensor:
        grads = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        return torch.stack([(g.square() * weights[name]).flatten(1).sum(1) for name, g in grads.items()]).sum(0)

    def forward_backward() -> None:
        model.zero_grad()
        F.cross_entropy(model(x), y, reduction="sum").backward()

    clock = time.process_time if args.threads == 1 else time.perf_counter

    def rate(work: Callable[[], object], count: int) -> float:
        work()
        taken = []
        for _ in range(args.repeats):
            begin = clock()
            work()
            taken.append(clock() - begin)
        return count / min(taken)

    ours, reference = engine.scores(x, y, weights)[0], by_vmap().double()
    print(f"largest relative difference from vmap: {((ours - reference).abs() / reference).max():.1e}")
    print(f"forward + backward       {rate(forward_backward, args.batch):8.0f} samples/s")
    print(f"vmap(grad)               {rate(by_vmap, args.batch):8.0f} samples/s")
    print(f"s, given label           {rate(lambda: engine.scores(x, y, weights), args.batch):8.0f} samples/s")
    pairs = rate(lambda: engine.label_scores(x, labels, weights), args.batch * args.classes)
    print(f"s, all {args.classes} labels         {pairs:8.0f} (sample, label) pairs/s")


if __name__ == "__main__":
    main()
