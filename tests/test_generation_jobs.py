"""The generation part from end to end by its commands, on a model of a few thousand weights; records and names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from tiny_language import PAIRS, tiny_task, write_base

from fvm_core.cli.main import main
from fvm_core.errors import CheckpointError, DataError, JobError, SettingsError
from fvm_core.generation.detection import detection
from fvm_core.generation.lora import save_adapter
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.generation.pair_file import write_pair_file
from fvm_core.generation.pairs import text_pairs
from fvm_core.generation.register import register_adapter, register_base
from fvm_core.generation.score_job import run as score
from fvm_core.generation.score_store import (
    list_score_runs,
    method_title,
    read_answer,
    read_column,
    read_matrix,
    read_run,
    read_samples,
)
from fvm_core.generation.store import (
    delete_record,
    generation_folder,
    lineage,
    list_pairs,
    list_records,
    read_pairs,
    read_record,
    write_pairs,
)
from fvm_core.generation.table import influence_table, wrong_table
from fvm_core.generation.tune_job import run as tune
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import Workspace

COMMAND = "generation"


def go(*words: str) -> int:
    return main([COMMAND, *words])


def small_set(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a base, adapters of every role, and scores at each of them."""
    root = tmp_path_factory.mktemp("generation")
    shape = small_set("hidden=16", "layers=2", "heads=2", "feed_forward=16", "batch_size=4", "steps=3", "eval_every=2")
    place = ["--workspace", str(root)]
    assert main([*place, COMMAND, "pretrain", "--name", "base", "--set", "eval_pairs=1", *shape]) == 0
    assert main([*place, COMMAND, "data", "sentences", "--training", "3", "--validation", "1", "--wrong", "0.2"]) == 0
    sets = ["--training", "sentences-train", "--validation", "sentences-val"]
    quick = small_set("epochs=1", "batch_size=16", "lr=0.01")
    lora = ["tune", "--model", "base", "--name", "a-lora", *sets, *quick, "--set", "answers=2"]
    assert main([*place, COMMAND, *lora]) == 0
    for role in ("vm", "fvm"):
        assert (
            main([*place, COMMAND, "tune", "--role", role, "--model", "a-lora", "--name", f"a-{role}", *sets, *quick])
            == 0
        )
        assert main([*place, COMMAND, "score", "--model", f"a-{role}"]) == 0
    assert main([*place, COMMAND, "score", "--model", "a-lora", "--set", "methods=tracin,datainf,influence"]) == 0
    return Workspace(root)


def test_records_tell_their_descent_and_what_they_were_made_with(made: Workspace) -> None:
    chain = lineage(made, "a-fvm")
    assert [(one.name, one.role) for one in chain] == [("a-fvm", "fvm"), ("a-lora", "lora"), ("base", "base")]
    assert chain[0].base_identity == chain[2].identity != chain[0].identity
    assert chain[1].settings["lr"] == 0.01 and chain[1].settings["task"]["kind"] == "text"
    assert chain[0].training["fingerprint"] == read_pairs(made, "sentences-train").fingerprint
    assert set(chain[1].metrics) == {"noisy_loss", "val_loss", "exact_match", "exact_match_by_class"}
    assert (generation_folder(made, "models", "base") / "tokenizer.json").is_file()
    assert list(list_records(made)) == ["base", "a-lora", "a-vm", "a-fvm"]


def test_score_files_hold_what_the_gradients_say(made: Workspace) -> None:
    """TracIn of the stored matrix, by gradients taken anew from the stored adapter."""
    from fvm_core.generation.score_job import open_tuned

    training, validation = read_pairs(made, "sentences-train"), read_pairs(made, "sentences-val")
    task = open_tuned(made, lineage(made, "a-lora"), training)
    layout = layout_of(task.model)
    _, rows = sample_gradients(task, [0, 7], layout)
    losses, columns = sample_gradients(task.with_pairs(validation), [0, 3], layout)
    matrix = read_matrix(made, "a-lora", "tracin")
    assert matrix.shape == (30, 10)
    np.testing.assert_allclose(matrix[np.ix_([0, 7], [0, 3])], (rows @ columns.T).numpy(), rtol=1e-3, atol=1e-4)
    assert read_column(made, "a-lora", "tracin", validation.ids[3]).tolist() == matrix[:, 3].tolist()
    frame = read_samples(made, "a-lora", "validation")
    assert frame["loss"][[0, 3]].tolist() == pytest.approx(losses.tolist(), rel=1e-4)
    assert frame["id"].tolist() == list(validation.ids)


def test_suspicions_are_the_scores_turned_so_that_large_is_suspicious(made: Workspace) -> None:
    frame = read_samples(made, "a-lora", "training")
    matrix = read_matrix(made, "a-lora", "datainf")
    np.testing.assert_allclose(frame["suspicion_datainf"], -matrix.mean(1), rtol=1e-4, atol=1e-5)
    assert frame["suspicion_loss"].tolist() == frame["loss"].tolist()
    assert (frame["suspicion_influence"] > 0).all() and frame["wrong"].sum() == 6


def test_tables_name_the_methods_as_the_paper(made: Workspace) -> None:
    table = influence_table(made).set_index(["run", "method"])
    at_lora = {("a-lora", "DataInf"), ("a-lora", "Eq. 20 · LoRA"), ("a-lora", "TracIn")}
    assert set(table.index) == {("a-fvm", "FVM"), ("a-vm", "VM"), *at_lora}
    classes = [list(read_samples(made, "a-vm", part)["class"]) for part in ("training", "validation")]
    wanted = detection(read_matrix(made, "a-vm", "influence"), *classes).summary()
    assert table.loc[("a-vm", "VM"), "auc_mean"] == pytest.approx(wanted["auc_mean"])
    planted = wrong_table(made, ["a-vm"]).set_index("method")
    assert set(planted.index) == {"loss", "influence"} and set(planted["role"]) == {"vm"}
    frame = read_samples(made, "a-vm", "training")
    wrong, count = frame["wrong"].astype(bool), int(frame["wrong"].sum())
    for method, row in planted.iterrows():
        first = frame.nlargest(count, f"suspicion_{method}").index
        assert row["planted"] == count and row["found"] == pytest.approx(100 * wrong[first].sum() / count)
    assert method_title(read_run(made, "a-lora"), "tracin") == "TracIn"
    assert set(list_score_runs(made)) == {"a-lora", "a-vm", "a-fvm"}


def test_table_and_csv_are_printed(made: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "--workspace",
                str(made.root),
                COMMAND,
                "table",
                "--csv",
                str(tmp_path / "t.csv"),
                "--wrong-csv",
                str(tmp_path / "w.csv"),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "auc_mean" in printed and "suspicion" not in printed and "DataInf" in printed
    assert (tmp_path / "t.csv").read_text().startswith("run,model,training,method,auc_mean")
    wrong = pd.read_csv(tmp_path / "w.csv").set_index(["run", "method"])
    truth = read_samples(made, "a-lora", "training")
    wanted = 100 * roc_auc_score(truth["wrong"].astype(bool), truth["loss"])
    assert wrong.loc[("a-lora", "loss"), "auc"] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("model", ["a-lora", "a-fvm"])
def test_a_validation_prompt_with_its_target_gets_its_own_column(made: Workspace, model: str) -> None:
    validation = read_pairs(made, "sentences-val")
    words = ["ask", validation.prompts[4], "--model", model, "--target", validation.targets[4]]
    assert main(["--workspace", str(made.root), COMMAND, *words]) == 0
    key = sorted(generation_folder(made, "answers").iterdir(), key=lambda path: path.stat().st_mtime)[-1].name
    about, frame = read_answer(made, key)
    assert (
        about["given"]
        and about["answer"] == validation.targets[4]
        and frame["id"].tolist() == list(read_pairs(made, "sentences-train").ids)
    )
    for method in about["methods"]:
        np.testing.assert_allclose(frame[method], read_matrix(made, model, method)[:, 4], rtol=2e-3, atol=1e-3)


def test_a_base_cannot_be_scored_or_asked(made: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["score"], ["ask", "hello"]):
        assert main(["--workspace", str(made.root), COMMAND, *words, "--model", "base"]) == 2
        assert "`model` must be a tuned adapter, got the base 'base'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"model": "a-lora", "settings": {"role": "lora"}}, r"`model` must be a base model for the role `lora`"),
        (
            {"model": "base", "settings": {"role": "vm"}},
            r"must be an adapter tuned on training pairs for the role `vm`",
        ),
        ({"model": "a-vm", "settings": {"role": "fvm"}}, r"got 'a-vm' of role `vm`. Tune one with the role `lora`"),
        ({"model": "base", "settings": {}}, r"`training` must name a set of pairs for the role `lora`, got none"),
    ],
)
def test_roles_start_where_they_may(made: Workspace, args: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        tune(MemoryContext(), {"name": "new", **args}, made)


def test_names_are_taken_once(made: Workspace) -> None:
    with pytest.raises(CheckpointError, match=r"`name` must be new: a generating model `a-vm` exists"):
        tune(MemoryContext(), {"name": "a-vm", "model": "base", "settings": {}}, made)
    with pytest.raises(CheckpointError, match=r"there is no generating model named 'gone'; there are: base, a-lora"):
        read_record(made, "gone")
    with pytest.raises(CheckpointError, match=r"`model` must be a name of a-z"):
        read_record(made, "../base")
    with pytest.raises(DataError, match=r"there is no set of pairs named 'gone'; there are: sentences-train"):
        read_pairs(made, "gone")
    with pytest.raises(DataError, match=r"`name` must be new: other pairs are kept as `sentences-val`"):
        write_pairs(made, "sentences-val", PAIRS)
    with pytest.raises(DataError, match=r"`run` must be a name"):
        read_run(made, "../x")


def test_a_base_with_heirs_stays(made: Workspace) -> None:
    with pytest.raises(JobError, match=r"'a-lora' is needed by a-vm, a-fvm. Delete these first"):
        delete_record(made, "a-lora")


def test_a_stopped_scoring_writes_nothing_and_starts_anew(made: Workspace) -> None:
    context = MemoryContext(stop_at=1)
    args = {"model": "a-vm", "run": "stopped", "settings": {"batch_size": 4}}
    with pytest.raises(JobStopped):
        score(context, args, made)
    assert not generation_folder(made, "scores", "stopped").exists()


def test_damaged_scores_are_said(made: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = generation_folder(workspace, "scores", "x")
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot be read .* Score these pairs again"):
        read_run(workspace, "x")
    (folder / "training.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"cannot be read .* Score these pairs again"):
        read_run(workspace, "x")
    assert list_score_runs(workspace) == {}
    with pytest.raises(DataError, match=r"there are no scores of pairs yet"):
        influence_table(workspace)


def test_models_and_adapters_of_others_are_registered_and_used(workspace: Workspace, tmp_path: Path) -> None:
    task = tiny_task(tmp_path / "llama")
    save_adapter(task.model, tmp_path / "adapter")
    write_pair_file(tmp_path / "mine.jsonl", PAIRS)
    options = ["--adapter", str(tmp_path / "adapter"), *small_set("template={prompt} = ")]
    assert go("add", str(tmp_path / "llama"), "--name", "llama", *options) == 0
    assert go("data", str(tmp_path / "mine.jsonl")) == 0
    assert list_pairs(workspace) == ["mine"]
    sets = ["--training", "mine", "--validation", "mine"]
    assert go("tune", "--role", "vm", "--model", "llama-lora", "--name", "vm", *sets, "--set", "epochs=1") == 0
    record = read_record(workspace, "vm")
    assert (
        record.settings["options"] == {"template": "{prompt} = "}
        and record.settings["task"]["template"] == "{prompt} = "
    )
    assert not list(generation_folder(workspace, "models", "llama").glob("*.safetensors"))
    delete_record(workspace, "vm")
    delete_record(workspace, "llama-lora")
    delete_record(workspace, "llama")
    assert (tmp_path / "llama" / "model.safetensors").is_file() and list_records(workspace) == {}


def test_an_adapter_for_another_base_is_told_when_it_is_opened(workspace: Workspace, tmp_path: Path) -> None:
    save_adapter(tiny_task(tmp_path / "one").model, tmp_path / "adapter")
    register_base(workspace, "two", write_base(tmp_path / "two", hidden=24), kind="text")
    register_adapter(workspace, "lora", tmp_path / "adapter", base="two", options={})
    write_pairs(workspace, "mine", PAIRS)
    args = {"model": "lora", "training": "mine", "validation": "mine"}
    with pytest.raises(CheckpointError, match=r"must be for this base model, but belongs to another"):
        score(MemoryContext(), args, workspace)


def test_folders_that_are_no_models_are_not_registered(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must hold config.json for a model of kind 'text'"):
        register_base(workspace, "x", tmp_path, kind="text")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"must hold its weights as \*.safetensors, but has none"):
        register_base(workspace, "x", tmp_path, kind="text")
    register_base(workspace, "base", write_base(tmp_path / "base"), kind="text")
    with pytest.raises(CheckpointError, match=r"must hold `adapter_config.json`"):
        register_adapter(workspace, "y", tmp_path, base="base", options={})
    assert list(list_records(workspace)) == ["base"]


def test_pairs_without_classes_are_scored_but_not_tabled(workspace: Workspace, tmp_path: Path) -> None:
    save_adapter(tiny_task(tmp_path / "base").model, tmp_path / "adapter")
    register_base(workspace, "base", tmp_path / "base", kind="text")
    register_adapter(workspace, "lora", tmp_path / "adapter", base="base", options={})
    write_pairs(workspace, "mine", text_pairs(["a", "b", "c"], ["x", "y", "z"]))
    result = score(MemoryContext(), {"model": "lora", "training": "mine", "validation": "mine"}, workspace)
    assert result == {"run": "lora", "methods": ["tracin", "datainf"], "table": {}}
    assert influence_table(workspace).empty and wrong_table(workspace).empty
    provenance = read_run(workspace, "lora").provenance
    assert json.dumps(provenance) and provenance["training"]["samples"] == 3


def test_without_pairs_of_its_own_a_model_needs_their_names(workspace: Workspace, tmp_path: Path) -> None:
    save_adapter(tiny_task(tmp_path / "base").model, tmp_path / "adapter")
    register_base(workspace, "base", tmp_path / "base", kind="text")
    register_adapter(workspace, "lora", tmp_path / "adapter", base="base", options={})
    with pytest.raises(SettingsError, match=r"`training` must name a set of pairs: model 'lora' knows of none"):
        score(MemoryContext(), {"model": "lora"}, workspace)
