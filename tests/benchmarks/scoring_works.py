"""The pieces of work that scoring_speed.py compares: same model, images and labels for all of them."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import LabelScores, all_labels, shortlist
from fvm_core.models.inputs import to_input
from fvm_core.models.resnet import BLOCKS, CifarResNet
from fvm_core.models.spec import ModelSpec
from fvm_core.tuning.precision import has_bf16

ROOT = Path(__file__).parents[2]
TRAINED = ROOT / "assets/cifar10n-worse/fvm"
DATA = ROOT / "../shared/data/cifar10n"


@dataclass(frozen=True)
class Case:
    """One model and batch. `trained`: folder of a model that the app tuned, taken with its head or one for 100
    subclasses. `steps`: so many steps on noisy labels from random weights, so that a shortlist has something to go by.
    """

    arch: str
    width: int
    batch: int
    classes: int = 10
    trained: Path | None = None
    steps: int = 0

    @property
    def name(self) -> str:
        after = "-trained" if self.trained else f"-{self.steps}steps" if self.steps else ""
        return f"{self.arch}-w{self.width}-b{self.batch}-k{self.classes}{after}"

    @property
    def relabeled(self) -> int:
        """Images that are relabeled: four batches at once, as the app does it; fewer with 100 labels, for the time."""
        return 4 * self.batch if self.classes == 10 else 2 * self.batch


def cases(wide: Path | None = None) -> list[Case]:
    """Return what is measured; `wide`: folder of a tuned ResNet-18 of width 16, which is not committed."""
    return [
        Case("cifar_resnet18", 8, 64, trained=TRAINED),
        *([Case("cifar_resnet18", 16, 64, trained=wide)] if wide else []),
        Case("cifar_resnet18", 16, 64, steps=100),
        Case("cifar_resnet18", 16, 64, steps=1000),
        Case("cifar_resnet34", 64, 16, steps=20),
        Case("cifar_resnet18", 8, 64, classes=100, trained=TRAINED),
    ]


IMAGES = 256
TRAININGS = {
    "train": torch.channels_last, "train_contiguous": torch.contiguous_format, "train_bf16": torch.channels_last,
}  # fmt: skip
"""Memory layout of each kind of training step."""


def images(name: str, n: int, label: str) -> tuple[Tensor, Tensor]:
    """n random images of CIFAR-10N's `name` split (it is sorted by class), normalised, and one column of labels."""
    spec = ModelSpec(**json.loads((TRAINED / "model.json").read_text())["spec"])
    table = pq.read_table(DATA / f"{name}.parquet", columns=["image", label])
    table = table.take(np.random.default_rng(0).permutation(len(table))[:n])
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(value.as_py()))) for value in table["image"]])
    return to_input(pixels, spec), torch.from_numpy(table[label].to_numpy().astype(np.int64))


@dataclass
class Bench:
    """A model with its data: x (IMAGES, 3, 32, 32), noisy labels y, and validation images."""

    case: Case
    model: nn.Module
    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor]


def make_bench(case: Case, *, validation: int = 1000) -> Bench:
    """Build the case; the 100 subclasses are k-means clusters of each class's features, with 40 % random labels."""
    torch.manual_seed(0)
    model = CifarResNet(BLOCKS[case.arch], num_classes=10 if case.trained else case.classes, width=case.width).eval()
    x, y = images("train", IMAGES, "worse_label")
    held = images("test", validation, "clean_label")
    if case.trained:
        model.load_state_dict(load_file(case.trained / "model.safetensors"))
    if case.steps:
        _train(model, case.steps)
    if case.trained and case.classes > 10:
        x, y, held = _subclasses(model, case.classes // 10, validation)
    return Bench(case, model, x, y, held)


def _train(model: nn.Module, steps: int) -> None:
    x, y = images("train", 32 * steps, "worse_label")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    model.train()
    for step in range(steps):
        rows = slice(32 * step, 32 * step + 32)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    model.zero_grad()
    model.eval()


def _subclasses(model: CifarResNet, each: int, validation: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    x, y = images("train", 6000, "clean_label")
    held, wanted = images("test", validation, "clean_label")
    with torch.no_grad():
        features, others = (torch.cat([model.features(part) for part in z.split(100)]) for z in (x, held))
    fine, fine_held = torch.zeros_like(y), torch.zeros_like(wanted)
    for label in range(10):
        clusters = KMeans(each, n_init=1, random_state=0).fit(features[y == label].numpy())
        fine[y == label] = torch.from_numpy(clusters.labels_).long() + each * label
        found = clusters.predict(others[wanted == label].numpy())
        fine_held[wanted == label] = torch.from_numpy(found).long() + each * label
    model.fc = nn.Linear(features.shape[1], 10 * each)
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model.fc(features), fine).backward()
        optimizer.step()
    given = fine[:IMAGES].clone()
    wrong = torch.rand(IMAGES) < 0.4
    given[wrong] = torch.randint(10 * each, (int(wrong.sum()),))
    return x[:IMAGES], given, (held, fine_held)


def weights_of(bench: Bench, engine: SquaredGradients) -> dict[str, Tensor]:
    """The inverse Fisher of the validation images, as a scoring run has it."""
    x, y = bench.validation
    fisher = fisher_diagonal(bench.model, zip(x.split(50), y.split(50), strict=True), engine=engine)
    return inverse_fisher(fisher, damping=1e-8)


def works_of(
    bench: Bench, weights: dict[str, Tensor] | None, chosen: Sequence[str] = (), *, rival: bool = True
) -> dict[str, tuple[Callable[[], object], int]]:
    """Return {name: (what to do, samples that it does)}; `chosen`: only these are prepared. `rival`: kronfluence is
    there."""
    case, model = bench.case, bench.model
    x, y = bench.x[: case.batch].clone(), bench.y[: case.batch]
    native = has_bf16(torch.device("cpu"))
    engine = cache(lambda precision: SquaredGradients(model, x, precision=precision))
    given = cache(lambda: weights or {name: torch.rand_like(value) for name, value in model.named_parameters()})
    totals = cache(lambda: {name: torch.zeros_like(v, dtype=torch.float64) for name, v in model.named_parameters()})
    count = case.relabeled
    several = bench.x[:count], bench.y[:count]

    def scores(precision: str) -> Callable[[], object]:
        made, weighed = engine(precision), given()
        return lambda: made.scores(x, y, weighed)

    def fisher(precision: str) -> Callable[[], object]:
        made, sums = engine(precision), totals()
        return lambda: made.sums(x, y, sums)

    def every() -> Callable[[], object]:
        made, weighed = engine("fp32"), given()
        batches = list(zip(*(value.split(case.batch) for value in several), strict=True))
        return lambda: [all_labels(made, *part, weighed) for part in batches]

    def few() -> Callable[[], object]:
        made, weighed = engine("fp32"), given()
        return lambda: [shortlist(made, *several, weighed, batch_size=case.batch)]

    def kronfluence() -> Callable[[], object]:
        from tests.benchmarks.kronfluence_work import self_scores

        return self_scores(bench, tempfile.mkdtemp(prefix="kronfluence"))

    makers: dict[str, tuple[Callable[[], Callable[[], object]], int]] = {
        name: (partial(_training, case, x, y, layout, half=name == "train_bf16"), case.batch)
        for name, layout in TRAININGS.items()
    }
    for precision, end in (("fp32", ""), ("bf16", "_bf16")):
        makers[f"score{end}"] = partial(scores, precision), case.batch
        makers[f"fisher{end}"] = partial(fisher, precision), case.batch
    makers |= {
        "all": (every, count), "shortlist": (few, count),
        "vmap": (partial(_vmap, model, x, y, weights), case.batch), "kronfluence": (kronfluence, case.batch * 4),
    }  # fmt: skip
    able = [
        name for name in makers if (native or not name.endswith("bf16")) and (rival or name != "kronfluence")
    ]  # fmt: skip
    return {name: (makers[name][0](), makers[name][1]) for name in able if not chosen or name in chosen}


def _training(
    case: Case, x: Tensor, y: Tensor, layout: torch.memory_format, *, half: bool = False
) -> Callable[[], object]:
    model = CifarResNet(BLOCKS[case.arch], num_classes=case.classes, width=case.width).train()
    model, x = model.to(memory_format=layout), x.contiguous(memory_format=layout)  # type: ignore[call-overload]

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.cross_entropy(model(x), y)
        loss.backward()

    return step


def _vmap(model: nn.Module, x: Tensor, y: Tensor, weights: dict[str, Tensor] | None) -> Callable[[], Tensor]:
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())
    given = weights or {name: torch.rand_like(value) for name, value in parameters.items()}

    def loss(values: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (sample[None],)), label[None])

    def run() -> Tensor:
        grads = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        return torch.stack([(g.square_() * given[name]).flatten(1).sum(1) for name, g in grads.items()]).sum(0)

    return run


def exactness(every: list[LabelScores], short: list[LabelScores]) -> dict[str, float]:
    """Share of images whose suggestion is the same, and labels a sample that were taken exactly by the shortlist."""
    suggested, quick = (torch.cat([part.suggested for part in parts]) for parts in (every, short))
    tried = torch.cat([part.exact.sum(1) for part in short])
    return {
        "shortlist_same": float((suggested == quick).float().mean()),
        "shortlist_exact_labels": float(tried.float().mean()),
    }
