"""The transition matrix against planted confusions, the posterior against Bayes' rule, both passes against vmap."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fvm_core.distributed.workers import ALONE
from fvm_core.errors import DataError
from fvm_core.influence.noise import estimate_transition, posterior
from fvm_core.influence.passes.noise import NoisePass
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.settings import ScoreSettings
from fvm_core.influence.task import Shared

PLANTED = torch.tensor([[0.8, 0.19, 0.01], [0.3, 0.65, 0.05], [0.0, 0.1, 0.9]], dtype=torch.float64)


def drawn(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return honest probabilities, true labels drawn from them, and given labels drawn by PLANTED."""
    generator = torch.Generator().manual_seed(seed)
    p = (3 * torch.randn(n, 3, generator=generator, dtype=torch.float64)).softmax(1)
    true = torch.multinomial(p, 1, generator=generator).squeeze(1)
    given = torch.multinomial(PLANTED[true], 1, generator=generator).squeeze(1)
    return p, true, given


def test_posterior_is_bayes_rule() -> None:
    p, _, given = drawn(50)
    q = posterior(p, given, PLANTED)
    for i in range(50):
        joint = [float(p[i, k]) * float(PLANTED[k, given[i]]) for k in range(3)]
        np.testing.assert_allclose(q[i], np.array(joint) / sum(joint), rtol=1e-12)


def test_estimate_transition_finds_planted_confusions_and_rate() -> None:
    p, true, given = drawn(40_000)
    made = estimate_transition(p, given, steps=200, tolerance=1e-6)
    np.testing.assert_allclose(made.matrix, PLANTED, atol=0.02)
    assert made.noise == pytest.approx(float((true != given).double().mean()), abs=0.01)
    torch.testing.assert_close(made.matrix.sum(1), torch.ones(3, dtype=torch.float64))


def test_estimate_transition_never_lowers_the_likelihood() -> None:
    p, _, given = drawn(500, seed=3)
    found = []
    for steps in range(1, 12):
        matrix = estimate_transition(p, given, steps=steps, tolerance=0, smoothing=1e-12).matrix
        found.append(float((p * matrix[:, given].t()).sum(1).log().sum()))
    assert (np.diff(found) >= -1e-9).all() and found[-1] > found[0]


def test_estimate_transition_stops_when_nothing_moves() -> None:
    p, _, given = drawn(500)
    made = estimate_transition(p, given, steps=10_000, tolerance=1e-3)
    assert made.steps < 1000 and made.change <= 1e-3


@pytest.mark.parametrize(
    ("labels", "message"),
    [(torch.tensor([0, 3]), r"must be in 0..2, got 0 to 3"), (torch.tensor([0]), r"one label for each row")],
)
def test_estimate_transition_refuses_labels_that_do_not_fit(labels: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        estimate_transition(torch.full((2, 3), 1 / 3), labels)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def task_of(model: nn.Module, x: Tensor, y: Tensor, classes: int) -> SimpleNamespace:
    class Rows:
        def __len__(self) -> int:
            return len(x)

        def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
            return x[rows], y[rows]

    return SimpleNamespace(
        model=model, train=Rows(), validation=Rows(), rows=np.arange(len(x)), classes=classes,
        settings=ScoreSettings(batch_size=8, damping=1e-3), validation_batches=lambda workers: iter([(x, y)]),
        engine=lambda: SquaredGradients(model, x[:5]), shared=Shared(), made_fisher=None,
        context=SimpleNamespace(workers=ALONE),
    )  # fmt: skip


def test_pass_gives_posterior_and_the_error_s_quadratic_form(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    x, y = torch.randn(30, 1, 5, 5), torch.randint(3, (30,))
    task = task_of(model, x, y, classes=3)  # the head has one output more than the dataset has classes
    item = NoisePass()
    kept = item.prepare(task, None, lambda units, message: None)
    again = NoisePass()
    again.prepare(task, kept, lambda units, message: pytest.fail("made again what was kept"))
    found = again.columns(task, x, y)

    p = model(x).detach()[:, :3].double().softmax(1)
    matrix = estimate_transition(p, y).matrix
    q = posterior(p, y, matrix)
    torch.testing.assert_close(found["posterior"].score, -q.gather(1, y[:, None]).squeeze(1).log())
    assert torch.equal(found["posterior"].suggested, q.argmax(1))

    values = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def pulled(values: dict[str, Tensor], one: Tensor, pull: Tensor) -> Tensor:
        return (functional_call(model, {**values, **buffers}, (one[None],))[0] * pull).sum()

    def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (one[None],)), label[None])

    fisher = {k: v.square().mean(0) for k, v in vmap(grad(loss), in_dims=(None, 0, 0))(values, x, y).items()}
    pull = torch.cat([q - F.one_hot(y, 3), torch.zeros(30, 1)], dim=1).float()
    grads = vmap(grad(pulled), in_dims=(None, 0, 0))(values, x, pull)
    exact = sum((g.double().square() / (fisher[k] + 1e-3)).flatten(1).sum(1) for k, g in grads.items())
    torch.testing.assert_close(found["error_influence"].score, exact, rtol=1e-4, atol=1e-12)

    every = [
        vmap(grad(pulled), in_dims=(None, 0, None))(values, x, F.one_hot(torch.tensor(k), 4).float()) for k in range(3)
    ]
    rows = {k: torch.stack([g[k].flatten(1) for g in every], 1).double() for k in fisher}
    metric = (
        sum(torch.einsum("nap,p,nbp->ab", j, 1 / (fisher[k].flatten().double() + 1e-3), j) for k, j in rows.items())
        / 30
    )
    errors = q.unsqueeze(1) - torch.eye(3, dtype=torch.float64)  # of each label that could be the given one
    all_labels = torch.einsum("nka,ab,nkb->nk", errors, metric, errors)
    typical = found["typical_influence"]
    torch.testing.assert_close(typical.label_scores, all_labels, rtol=1e-4, atol=1e-12)
    torch.testing.assert_close(typical.score, all_labels.gather(1, y[:, None]).squeeze(1), rtol=1e-4, atol=1e-12)
    assert torch.equal(typical.suggested, all_labels.argmin(1))
    assert any("wrong labels" in note for note in again.notes)
