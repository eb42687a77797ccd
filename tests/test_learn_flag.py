"""The terms behind a flag against autograd, and their sum against the score file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_job import arguments, fill, frames
from small_nets import label_gradients, small_data, small_net

from fvm_core.cli.main import main
from fvm_core.data.registry import open_named
from fvm_core.errors import DataError, SettingsError
from fvm_core.influence import score
from fvm_core.influence.explanations import Question
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.store import read_scores
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.learn import flag_job
from fvm_core.learn.flag_key import flag_key
from fvm_core.learn.flag_terms import flag_terms
from fvm_core.learn.settings import FlagSettings
from fvm_core.learn.store import FLAG, read_table
from fvm_core.workspace import Workspace

DAMPING = 1e-6


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    return fill(workspace, tmp_path)


def asked(**changes: Any) -> dict[str, Any]:
    args = {"model": "m", "dataset": "digits", "validation": "clean", "settings": {"damping": DAMPING, "top": 3}}
    return {**args, **changes}


def test_terms_are_those_of_autograd() -> None:
    model = small_net()
    x, _ = small_data(1)
    generator = torch.Generator().manual_seed(5)
    fisher = {
        name: torch.rand(value.shape, generator=generator, dtype=torch.float64)
        for name, value in model.named_parameters()
    }
    frame = flag_terms(SquaredGradients(model, x), x, fisher, damping=0.01, classes=3, top=4)
    assert set(frame["label"]) == {0, 1, 2}
    for label in range(3):
        exact = label_gradients(model, x, torch.tensor([label]))
        for name, value in exact.items():
            g, f = value[0].flatten(), fisher[name].flatten()
            terms = (g**2 / (f + 0.01)).numpy()
            rows = frame[(frame["label"] == label) & (frame["parameter"] == name)]
            whole, listed = rows[rows["index"] < 0], rows[rows["index"] >= 0]
            assert whole["term"].item() == pytest.approx(terms.sum(), rel=1e-8)
            assert whole["gradient"].item() == pytest.approx(float(g.norm()), rel=1e-8)
            assert whole["fisher"].item() == pytest.approx(float(f.mean()))
            np.testing.assert_allclose(listed["term"], np.sort(terms)[::-1][:4], rtol=1e-8)
            np.testing.assert_allclose(listed["gradient"], g.numpy()[listed["index"]], rtol=1e-7, atol=1e-14)


def test_the_sum_is_the_score_of_the_file_for_every_label(ready: Workspace) -> None:
    score.run(MemoryContext(), arguments(methods=["influence"]), ready)
    rows = frames(ready, "run-1")["influence"]
    for place in (0, 17):
        row = rows.iloc[place]
        result = flag_job.run(MemoryContext(), asked(id=row["id"]), ready)
        frame = read_table(Path(result["file"]), FLAG).frame
        sums = frame[frame["index"] < 0].groupby("label")["term"].sum()
        np.testing.assert_allclose(sums, row["label_scores"], rtol=1e-4)
        assert sums[row["label"]] == pytest.approx(row["score"], rel=1e-4)
        assert result["suggested"] == str(row["suggested"])
        assert list(result["s"].values()) == pytest.approx(sums.tolist())


def test_the_key_is_the_one_that_the_page_computes(ready: Workspace) -> None:
    score.run(MemoryContext(), arguments(methods=["influence"]), ready)
    provenance = read_scores(ready.scores / "run-1" / "influence.parquet").provenance
    name = str(open_named(ready, "digits").ids[3])
    question = Question.about(provenance, of="training", id=name, label=7)
    result = flag_job.run(MemoryContext(), asked(id=name, expected=question.hashes()), ready)
    assert result["key"] == flag_key(question, FlagSettings(damping=DAMPING, top=3))
    with pytest.raises(DataError, match="the dataset changed since this image was scored"):
        flag_job.run(MemoryContext(), asked(id=name, expected={"dataset": "x"}), ready)


def test_the_job_stops_and_the_command_line_does_it_too(ready: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(open_named(ready, "digits").ids[3])
    context = MemoryContext(stop_at=4)
    with pytest.raises(JobStopped):
        flag_job.run(context, asked(id=name), ready)
    command = ["flag", "--model", "m", "--dataset", "digits", "--validation", "clean", "--id", name]
    assert main([*command, "--set", "top=2"]) == 0
    assert '"suggested"' in capsys.readouterr().out


def test_errors_say_what_to_change(ready: Workspace) -> None:
    with pytest.raises(DataError, match="`id` must be that of an image in the training set"):
        flag_job.run(MemoryContext(), asked(id="nobody"), ready)
    for key, bad in (("damping", -1.0), ("top", 0), ("batch_size", 0)):
        with pytest.raises(SettingsError, match=f"`{key}` must be"):
            FlagSettings(**{key: bad})
    with pytest.raises(SettingsError, match="unknown settings"):
        FlagSettings.from_json({"depth": 3})
