"""From what is asked to cells and parts: what tables share, which seeds and rows, and the expected time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from score_files import ArraySource

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.errors import CheckpointError, DataError, SettingsError
from fvm_core.experiments import plan as planning
from fvm_core.experiments.grid import Grid
from fvm_core.experiments.plan import make_plan, minutes_of
from fvm_core.experiments.presets import FIELDS, PRESETS, Preset
from fvm_core.experiments.sources import VALIDATION as CLEAN
from fvm_core.experiments.sources import all_rows, draw
from fvm_core.experiments.store import open_store
from fvm_core.influence.methods import METHODS
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.workspace import Workspace


@pytest.fixture
def data(workspace: Workspace) -> Workspace:
    add_dataset(workspace, "d", TRAINING)
    add_dataset(workspace, "e", replace(TRAINING, options={**TRAINING.options, "seed": 1}))
    add_dataset(workspace, "v", VALIDATION)
    return workspace


def grid(*what: str, **changes: Any) -> Grid:
    return Grid(**{"what": what, "data": ("d",), "validation": "v", "preset": "digits", "seeds": (0, 1), **changes})


def keys(workspace: Workspace, *what: str, **changes: Any) -> set[str]:
    return {part.key for part in make_plan(grid(*what, **changes), workspace).work()}


def test_tables_share_models_and_scores(data: Workspace) -> None:
    one, two, ten = keys(data, "table1"), keys(data, "table2"), keys(data, "table10")
    assert two == one - (one - two) and two <= one, "table 2 needs nothing that table 1 has not"
    fresh = [part for part in make_plan(grid("table10"), data).work() if part.key in ten - one]
    assert {part.args["methods"][0] for part in fresh} == {"ekfac"}
    assert keys(data, "table1", "table2", "table10") == one | ten


def test_keys_follow_content_and_nothing_else(data: Workspace) -> None:
    base = keys(data, "table1")
    assert keys(data, "table1", name="other", changes={"rate": 1.0}) == base
    assert keys(data, "table1", changes={"score.gex_members": 9}) ^ base, "GEX is another"
    changed = make_plan(grid("table1", changes={"score.gex_members": 9}), data)
    fresh = [part for part in changed.work() if part.key not in base]
    assert {part.args["methods"][0] for part in fresh} == {"gex"}
    assert not keys(data, "table1", changes={"train.epochs": 2}) & base
    assert not keys(data, "table1", data=("e",)) & base
    assert not keys(data, "table1", seeds=(2,)) & base


def test_every_part_comes_after_those_it_needs(data: Workspace) -> None:
    work = make_plan(grid("all"), data).work()
    places = {part.key: place for place, part in enumerate(work)}
    assert all(places[need] < places[part.key] for part in work for need in part.needs)
    assert all(part.seconds > 0 and part.outputs for part in work)
    kinds = {part.kind for part in work}
    assert kinds == {"train", "tune", "score", "snapshots", "accuracy", "steps"}


def test_starred_rows_try_the_checkpoints_and_the_last_one_is_the_model_itself(data: Workspace) -> None:
    plan = make_plan(grid("table1"), data)
    by = {cell.row.label: cell for cell in plan.cells if cell.seed == 0}
    assert [each.epoch for each in by["LiSSA*"].candidates] == [6, 12, 18, 24, 30]
    assert by["LiSSA*"].candidates[-1].part == by["LiSSA"].candidates[0].part
    few = make_plan(grid("table1", changes={"starred": [12, 30]}), data)
    assert [each.epoch for each in next(c for c in few.cells if c.row.starred).candidates] == [12, 30]


def test_other_datasets_get_fewer_seeds_only_where_it_is_said(data: Workspace) -> None:
    def pairs(**changes: Any) -> set[tuple[str, int]]:
        plan = make_plan(grid("table1", data=("d", "e"), **changes), data)
        return {(cell.dataset, cell.seed) for cell in plan.cells}

    every = {(name, seed) for name in ("d", "e") for seed in (0, 1)}
    assert pairs() == every
    assert pairs(seeds_elsewhere=1) == pairs(changes={"seeds_elsewhere": 1}) == every - {("e", 1)}


def test_rows_are_drawn_by_the_seed_and_smaller_draws_lie_in_larger_ones(data: Workspace) -> None:
    one, other = (all_rows(name, open_named(data, name)) for name in ("d", "e"))
    drawn = [draw(one, size, seed=3, purpose=CLEAN).dataset.ids.tolist() for size in (400, 40)]
    assert set(drawn[1]) < set(drawn[0]) and drawn[0] == sorted(drawn[0])
    assert draw(other, 40, seed=3, purpose=CLEAN).dataset.ids.tolist() == drawn[1], "the same images, other labels"
    assert draw(one, 40, seed=4, purpose=CLEAN).dataset.ids.tolist() != drawn[1]
    assert draw(one, None, seed=3, purpose=CLEAN) is draw(one, 10_000, seed=3, purpose=CLEAN) is one


def test_registered_rows_open_again_as_they_were_drawn(data: Workspace) -> None:
    store = open_store(data)
    rows = draw(all_rows("d", open_named(data, "d")), 30, seed=0, purpose=CLEAN)
    name = rows.register(store)
    again = open_named(store, name)
    assert again.fingerprint == rows.fingerprint and len(again) == 30


def test_table_11_takes_shares_of_the_validation_set(data: Workspace) -> None:
    plan = make_plan(grid("table11", seeds=(0,)), data)
    assert [cell.validation_size for cell in plan.cells] == 3 * [500, 250, 100, 50]
    fewer = make_plan(grid("table11", seeds=(0,), changes={"validation": 200}), data)
    assert [cell.validation_size for cell in fewer.cells[:4]] == [200, 100, 40, 20]


def test_an_existing_model_is_copied_not_trained(data: Workspace) -> None:
    spec = ModelSpec("digits_cnn", 10, width=16, in_channels=1, image_size=8)
    (data.models / "mine").mkdir(parents=True)
    write_record(data, ModelRecord("mine", "imported", spec, sha256="abc"))
    plan = make_plan(grid("table1", "figure2", model="mine", changes={"subset": 50}), data)
    kinds = [part.kind for part in plan.work()]
    assert kinds.count("adopt") == 1 and "train" not in kinds
    starred = [cell for cell in plan.cells if cell.row.starred]
    assert starred and all("`LiSSA*` needs checkpoints" in c.lacks or "`DataInf*` needs" in c.lacks for c in starred)
    assert "Figure 2 needs checkpoints" in plan.figures[0].lacks
    assert len(plan.parts.all) and all(len(rows) == rows.whole for rows in plan.rows), "the model saw all rows"
    tuned = {part.args["settings"]["seed"] for part in plan.work() if part.kind == "tune"}
    assert tuned == {0, 1}
    with pytest.raises(CheckpointError, match="no model named 'gone'"):
        make_plan(grid("table1", model="gone"), data)


def test_a_dataset_without_truth_is_refused_before_any_work(data: Workspace) -> None:
    for spec in (VALIDATION, replace(TRAINING, label="clean")):
        add_dataset(data, "x", spec, replace=True)
        with pytest.raises(DataError, match="dataset 'x' must have known clean labels that differ"):
            make_plan(grid("table1", data=("x",)), data)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"preset": "gpu"}, "`preset` must be one of"),
        ({"seeds": ()}, "`seeds` must be whole numbers"),
        ({"seeds": (0, 0)}, "`seeds` must be .* each once"),
        ({"data": ("d", "d")}, "`data` must be names of datasets, each once"),
        ({"seeds_elsewhere": 0}, "`seeds_elsewhere` must be >= 1"),
    ],
)
def test_grid_names_what_is_wrong(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        grid("table1", **changes)


def test_grid_goes_through_json_and_refuses_other_keys() -> None:
    asked = grid("table1", "figure2", changes={"tune.steps": 3})
    assert Grid.from_json(asked.to_json()) == asked
    assert (asked.title, grid("all", model="Mine").title, grid("all", name="My run").title) == (
        "digits", "digits-mine", "my-run",
    )  # fmt: skip
    with pytest.raises(SettingsError, match="an experiment must have `what`, `data`, `validation`"):
        Grid.from_json({**asked.to_json(), "speed": 1})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 3}, r"unknown settings of a preset \['epochs'\]"),
        ({"train.speed": 3}, r"unknown settings \['speed'\]"),
        ({"speed.x": 3}, "`speed.x` is no setting of a preset"),
        ({"tune.steps": 0}, "`steps` must be >= 1"),
        ({"score.damping": -1}, "`damping` must be >= 0"),
        ({"methods.magic.damping": 1.0}, "`magic` is no method|is no setting|`methods` must be among"),
        ({"methods.gex.gex_members": 0}, "`gex_members` must be >= 1"),
        ({"subset": 0}, "`subset` must be a whole number >= 1"),
        ({"figure1_lengths": []}, "`figure1_lengths` must be lengths > 0"),
        ({"figure1_probe": 0}, "`figure1_probe` must be a whole number >= 1"),
    ],
)
def test_preset_names_what_is_wrong(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        PRESETS["cpu"].with_changes(changes)


def test_presets_go_through_json_and_know_every_method_of_the_tables() -> None:
    for preset in PRESETS.values():
        assert Preset.from_json(preset.to_json()) == preset
    assert set(FIELDS) - {"snapshots"} <= set(METHODS)
    paper = PRESETS["paper"]
    assert (paper.build.arch, paper.build.width, paper.train.epochs, paper.tune.steps) == (
        "cifar_resnet34",
        64,
        100,
        1000,
    )
    assert paper.scoring("gex", seed=1, relabel=True) == {
        "batch_size": 64, "limit": None, "seed": 1, "gex_members": 32, "gex_steps": 1000, "gex_lr": 0.01,
    }  # fmt: skip
    assert paper.tuning("sam", seed=0, classes=100).rho == 0.1 and paper.tuning("asam", seed=0, classes=10).rho == 0.5


def test_the_cpu_preset_fits_into_an_hour_and_a_half(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the cost model, at the rates measured on two Zen 3 cores: all of CIFAR-10N, three seeds on worse."""

    def opened(_: Workspace, name: str) -> LabeledImages:
        n = 10_000 if name == "test" else 50_000
        clean = np.arange(n, dtype=np.int64) % 10
        given = clean if name == "test" else np.where(np.arange(n) % 5 == 0, (clean + 1) % 10, clean)
        pixels = ArraySource(np.zeros((1, 8, 8), np.uint8))
        ids = np.array([f"{row:05d}" for row in range(n)])
        names = tuple("abcdefghij")
        return LabeledImages(DatasetSpec("npz", name), ids, given, names, pixels, np.arange(n), clean)

    monkeypatch.setattr(planning, "open_named", opened)
    monkeypatch.setattr(Grid, "settings", lambda self, _: [*self.data])
    asked = Grid(what=("all",), data=("worse", "aggre", "random1"), validation="test", seeds=(0, 1, 2))
    rows = minutes_of(make_plan(asked, workspace))
    assert [name for name, *_ in rows][:2] == ["table1", "table2"] and rows[1][2:] == (0, 0)
    assert 45 < sum(minutes for *_, minutes in rows) < 90
