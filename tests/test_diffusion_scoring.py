"""The image side in the jobs of tuning and scoring: a small model of ours, and one that diffusers made."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_diffusion import add_lora, image_folder, image_pairs, tiny_pixels, tiny_stable_diffusion

from fvm_core.errors import DataError
from fvm_core.generation.ask_job import run as ask
from fvm_core.generation.diffusion_settings import DiffusionSettings
from fvm_core.generation.diffusion_task import DiffusionTask, open_task
from fvm_core.generation.image_data import add_image_folder
from fvm_core.generation.kinds import pretrain
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.generation.pair_scores import fisher_weights, pair_influence
from fvm_core.generation.pairs import text_pairs
from fvm_core.generation.register import register_base
from fvm_core.generation.score_job import run as score
from fvm_core.generation.score_store import answer_folder, read_answer, read_matrix, read_samples
from fvm_core.generation.settings import LoraSettings
from fvm_core.generation.store import model_path, read_pairs, read_record, write_pairs
from fvm_core.generation.tune_job import run as tune
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace

TUNING = {"role": "lora", "steps": 4, "batch_size": 4, "lr": 0.03, "eval_every": 2, "sharpness_every": 4}
WATCHED = {"train_loss", "val_loss", "noisy_loss", "random_sharpness"}


def context(folder: Path) -> MemoryContext:
    folder.mkdir(parents=True)
    return MemoryContext(folder=folder)


def chain_of(tmp_path: Path, workspace: Workspace, *, base: str, channels: int, side: int) -> dict[str, object]:
    """Tune LoRA, then FVM, and score; return the last job's result."""
    for name, count in (("train", 6), ("val", 4)):
        add_image_folder(workspace, name, image_folder(tmp_path / name, count=count, channels=channels, side=side))
    steps = (
        {"model": base, "name": "adapter", "settings": TUNING, "options": {"draws": 2}},
        {"model": "adapter", "name": "flat", "settings": {**TUNING, "role": "fvm", "lr": 1e-3}},
    )
    for number, work in enumerate(steps):
        job = context(tmp_path / "jobs" / str(number))
        tune(job, {**work, "training": "train", "validation": "val"}, workspace)
        assert {key for row in job.metrics for key in row} >= WATCHED
    methods = {"methods": "influence,tracin,datainf", "batch_size": 3}
    return score(context(tmp_path / "jobs/score"), {"model": "flat", "settings": methods}, workspace)


def drawn_task(folder: Path) -> DiffusionTask:
    """A tiny model whose LoRA has values that are not 0, with three draws a sample."""
    model = tiny_pixels()
    tuned = add_lora(model)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return DiffusionTask(model, tuned, image_pairs(folder), DiffusionSettings(draws=3))


def test_gradients_of_each_sample_are_those_of_autograd(tmp_path: Path) -> None:
    task = drawn_task(tmp_path)
    tuned, layout = task.model, layout_of(task.model)
    losses, found = sample_gradients(task, [3, 0, 1], layout)
    for place, row in enumerate((3, 0, 1)):
        loss = task.losses(task.batch([row]))[0]
        named = {name: value for name, value in tuned.named_parameters() if value.requires_grad}
        grads = torch.autograd.grad(loss, list(named.values()))
        expected = torch.cat([grad.flatten() for grad in grads])
        got = torch.cat([layout.split(found[place])[name] for name in named])
        assert torch.allclose(got, expected, rtol=1e-3, atol=1e-6) and expected.norm() > 1e-3
        assert losses[place] == pytest.approx(loss.item(), rel=1e-5)


def test_second_order_takes_each_draw_for_a_term_of_the_loss(tmp_path: Path) -> None:
    task = drawn_task(tmp_path)
    terms = [torch.stack([_gradient(one, row) for row in (0, 1)]) for one in task.single_draws()]
    whole = torch.stack([_gradient(task, row) for row in (0, 1)])
    assert torch.allclose(torch.stack(terms).mean(0), whole, rtol=1e-3, atol=1e-6)
    seen = torch.stack([_gradient(task, row) for row in (2, 3)]).double()
    weights, _ = fisher_weights(whole, damping=0.1)
    inverse = torch.diag(weights.double())
    for place in range(2):
        hessian = sum(torch.outer(one[place], one[place]).double() for one in terms) / 3
        moved = inverse @ seen.t()
        expected = whole[place].double() @ moved + 0.5 * 0.01 * (moved * (hessian @ moved)).sum(0)
        found = pair_influence(seen.float(), terms, weights, epsilon=0.01)[:, place]
        assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))


def test_a_pipeline_made_by_diffusers_is_tuned_and_scored(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    register_base(workspace, "sd", tiny_stable_diffusion(tmp_path / "sd"), kind="image")
    result = chain_of(tmp_path, workspace, base="sd", channels=3, side=16)
    assert result["run"] == "flat" and set(result["table"]) == {"influence", "tracin", "datainf"}
    record = read_record(workspace, "flat")
    assert (record.kind, record.base, record.settings["options"]["draws"]) == ("image", "sd", 2)
    frame = read_samples(workspace, "flat", "training")
    assert list(frame["target"]) == [f"{number}.png" for number in range(6)]
    assert (frame["suspicion_influence"] >= 0).all()
    pairs = {name: read_pairs(workspace, name) for name in ("train", "val")}
    task = open_task(
        tmp_path / "sd", model_path(workspace, "flat"), pairs["train"], lora=LoraSettings(), options={"draws": 2}
    )
    gradients = {
        name: torch.stack([_gradient(task.with_pairs(one), row) for row in range(len(one))])
        for name, one in pairs.items()
    }
    expected = gradients["train"] @ gradients["val"].t()
    asked = ask(context(tmp_path / "jobs/ask"), {"model": "flat", "prompt": "a red cross", "seed": 5}, workspace)
    _, answer = read_answer(workspace, asked["key"])
    assert asked["answer"] == "answer.png" and list(answer["id"]) == list(frame["id"]) and answer["influence"].std() > 0
    drawn = Image.open(answer_folder(workspace, asked["key"]) / "answer.png")
    assert drawn.tobytes() == task.generate("a red cross", seed=5).tobytes()
    got = torch.from_numpy(read_matrix(workspace, "flat", "tracin"))
    assert torch.allclose(got, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def _gradient(task: DiffusionTask, row: int) -> torch.Tensor:
    values = [value for value in task.model.parameters() if value.requires_grad]
    loss = task.losses(task.batch([row]))[0]
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, values)])


def test_a_model_pretrained_here_is_tuned_and_scored_by_the_same_jobs(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    add_image_folder(workspace, "many", image_folder(tmp_path / "many", count=8))
    shape = {"side": 8, "widths": [8, 16], "heads": 1, "text_width": 8, "text_layers": 1, "context": 16, "merges": 8}
    work = {"kind": "image", "name": "small", "pairs": "many", "validation": "many",
            "settings": {"steps": 3, "batch_size": 4, **shape}}  # fmt: skip
    job = context(tmp_path / "jobs/pretrain")
    assert pretrain(job, work, workspace)["model"] == "small"
    assert pretrain(job, work, workspace)["model"] == "small"  # the finished job, asked once more
    record = read_record(workspace, "small")
    assert (record.kind, record.role, record.settings["widths"]) == ("image", "base", [8, 16])
    assert {"train_loss", "val_loss", "lr"} <= {key for row in job.metrics for key in row}
    assert set(chain_of(tmp_path, workspace, base="small", channels=1, side=8)["table"]) == {
        "influence", "tracin", "datainf",
    }  # fmt: skip


def test_texts_are_no_pairs_of_a_diffusion_model(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    register_base(workspace, "sd", tiny_stable_diffusion(tmp_path / "sd"), kind="image")
    write_pairs(workspace, "words", text_pairs(["a"], ["b"]))
    work = {"model": "sd", "name": "a", "training": "words", "settings": TUNING}
    with pytest.raises(DataError, match="must be image-text pairs, got 'text'"):
        tune(context(tmp_path / "job"), work, workspace)
