"""The solvers by name, and which settings count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from solver_cases import Point, quadratic

from fvm_core.files import read_json
from fvm_core.models.store import ModelRecord
from fvm_core.tuning.make_solver import make_solver
from fvm_core.tuning.settings import SOLVERS, TuneSettings, effective
from fvm_core.tuning.solvers import SETTING_HELP, SOLVER_INFO, default_radius, name_with_solver, role_of

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def test_every_setting_of_a_solver_exists_and_has_a_sentence() -> None:
    fields = TuneSettings().to_json()
    for info in SOLVER_INFO.values():
        wanted = {*info.own, *([info.reach] if info.reach else [])}
        assert wanted <= set(fields) & set(SETTING_HELP)
        assert info.title and info.sentence.endswith(".")
    assert all(text.endswith(".") for text in SETTING_HELP.values()) and set(SETTING_HELP) <= set(fields)


def test_defaults_are_those_of_the_papers() -> None:
    settings = TuneSettings()
    assert (settings.asam_eta, settings.fsam_sigma, settings.fsam_lambda) == (0.01, 1.0, 0.9)
    assert (settings.lpf_gamma, settings.lpf_draws, settings.clip_norm) == (0.001, 1, None)
    assert [default_radius(name) for name in ("sam", "asam", "fsam")] == [0.05, 0.5, 0.1]
    assert [default_radius(name, hundred_classes=True) for name in ("sam", "asam", "fsam")] == [0.1, 1.0, 0.1]
    assert [default_radius(name) for name in ("sgd", "lpf", "nobody")] == [0.05] * 3


def test_every_sharpness_aware_solver_makes_an_fvm() -> None:
    assert {name: role_of(name) for name in SOLVERS} == {
        "sgd": "vm", "sam": "fvm", "asam": "fvm", "fsam": "fvm", "lpf": "fvm",
    }  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_step_takes_as_many_passes_of_its_batch_as_the_table_says(solver: str) -> None:
    point = Point(weight=[3.0, 1.0])
    loss = quadratic(point, torch.eye(2, dtype=torch.float64), size=8)
    settings = TuneSettings(solver=solver, steps=4, lpf_draws=2 if solver == "lpf" else 1)
    make_solver(settings).step(point, torch.optim.SGD(point.parameters(), lr=0.1), loss, k=0)
    assert sum(rows.stop - rows.start for rows in loss.rows) == 8 * SOLVER_INFO[solver].passes


@pytest.mark.parametrize(
    ("solver", "name"),
    [("sam", "FVM"), ("asam", "FVM (ASAM)"), ("fsam", "FVM (F-SAM)"), ("lpf", "FVM (LPF)"), (None, "FVM"),
     ("<b>", "FVM"), (["lpf"], "FVM")],
)  # fmt: skip
def test_a_name_tells_the_solver_unless_it_is_sam(solver: object, name: str) -> None:
    assert name_with_solver("FVM", solver) == name


def test_settings_of_other_solvers_and_switched_off_ones_do_not_count() -> None:
    first = set(effective(TuneSettings(solver="sam").to_json()))
    assert first == set(effective(TuneSettings(solver="sgd").to_json()))
    added = {name: set(effective(TuneSettings(solver=name).to_json())) - first for name in SOLVERS}
    assert added == {
        "sgd": set(), "sam": set(), "asam": {"asam_eta"}, "fsam": {"fsam_sigma", "fsam_lambda"},
        "lpf": {"lpf_gamma", "lpf_draws", "lpf_growth"},
    }  # fmt: skip
    on = effective(TuneSettings(clip_norm=1.0, sharpness_rho=0.2).to_json())
    assert set(on) - first == {"clip_norm", "sharpness_rho"}


@pytest.mark.parametrize("name", ["vm", "fvm"])
def test_committed_models_are_those_of_todays_settings(name: str) -> None:
    """Their records were written before there was a choice of solvers."""
    record = ModelRecord.from_json(read_json(ASSETS / "cifar10n-worse" / name / "model.json", what="record"))
    known = {key: value for key, value in record.settings.items() if key in TuneSettings.__dataclass_fields__}
    assert "asam_eta" not in known
    settings = TuneSettings.from_json(known)
    assert effective(settings.to_json()) == known and settings.measured_rho == record.settings["rho"] == 0.05


@pytest.mark.parametrize(
    ("given", "radius"),
    [({"solver": "sam", "rho": 0.2}, 0.2), ({"solver": "sgd", "rho": 0.2}, 0.2), ({"solver": "lpf", "rho": 0.2}, 0.2),
     ({"solver": "asam", "rho": 0.5}, 0.05), ({"solver": "fsam", "rho": 0.1}, 0.05),
     ({"solver": "asam", "rho": 0.5, "sharpness_rho": 0.0}, 0.0), ({"solver": "sam", "sharpness_rho": 0.3}, 0.3)],
)  # fmt: skip
def test_measured_radius_is_comparable_unless_it_is_set(given: dict[str, object], radius: float) -> None:
    assert TuneSettings.from_json(given).measured_rho == radius
