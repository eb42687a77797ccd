"""Score page: the settings of DataInf, EK-FAC and random vectors come with the methods that use them."""

from __future__ import annotations

from typing import Any

import pytest
from app_pages import add_digits, add_model, button, ended_job, open_page

from fvm_core.influence.methods import METHODS
from fvm_core.influence.settings import ScoreSettings
from fvm_core.workspace import Workspace
from pages.ui.figures import DASHES
from pages.ui.score_sets import SHORT
from pages.ui.score_settings import CURVATURE
from pages.ui.tab_distributions import UNITS


def shown(app: Any) -> set[str]:
    keys = {str(item.key).removeprefix("score_") for item in app.number_input}
    return keys & {*CURVATURE, "lissa_depth"}


def test_settings_come_with_their_methods_and_reach_the_job(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        started.append(args)
        return ended_job(workspace, kind, args, title=title, state="done").id

    monkeypatch.setattr("pages.ui.score_jobs.start_job", start)
    add_digits(workspace)
    add_model(workspace, "d-fvm", "fvm")
    app = open_page("score")
    assert shown(app) == {"lissa_depth"}
    for methods, expected in (
        (["influence_lissa"], {"lissa_depth", "random_vectors"}),
        (["influence_ekfac"], {"ekfac_damping"}),
        (["first_val"], set()),
        (["second_train"], {"curvature_samples"}),
        (["datainf", "ekfac", "influence_datainf"], set(CURVATURE)),
    ):
        app.get("button_group")[0].set_value(methods).run()
        assert not app.exception and shown(app) == expected, methods
    app.number_input(key="score_curvature_samples").set_value(500)
    app.number_input(key="score_datainf_damping").set_value(0.2)
    app.number_input(key="score_random_vectors").set_value(9)
    button(app, "Score with 1 model").click().run()
    settings = ScoreSettings.from_json(started[0]["settings"])
    assert settings == ScoreSettings(curvature_samples=500, datainf_damping=0.2, random_vectors=9)
    assert started[0]["methods"] == ["datainf", "ekfac", "influence_datainf"]
    app.number_input(key="score_datainf_damping").set_value(0.0).run()
    assert "`datainf_damping` must be" in app.error[0].value


def test_every_method_has_a_short_name_a_unit_and_a_line_of_its_own() -> None:
    assert set(SHORT) == set(METHODS) == set(UNITS)
    assert len(set(SHORT.values())) == len(SHORT)
    dashes = [DASHES.get(method, "solid") for method in METHODS]
    assert len(set(dashes)) == len(dashes)
