"""Learn page: the real landscape of the workspace's models, computed as a job and kept."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.jobs.find import find_jobs
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.learn.store import LANDSCAPE, landscape_key, learn_path, read_table
from fvm_core.models.store import list_models
from fvm_core.workspace import Workspace
from pages.ui import job_view, learn_questions, take_away
from pages.ui.learn_models import Family, families
from pages.ui.learn_surface import LOSSES, colour_range, surface_chart
from pages.ui.links import link
from pages.ui.open_data import open_cached
from pages.ui.text import plain
from pages.ui.theme import model_title


def draw(workspace: Workspace) -> None:
    """Draw the part: choices, the job, the panels."""
    st.markdown(
        "The loss of the real networks. **Around each model** along two random directions whose filters are as long as "
        "the model's own (Li et al., 2018), and **on the plane through all three**. One colour scale for all panels."
    )
    known = families(workspace)
    if not known:
        st.info(
            "There is no model with its datasets yet. The demo on the Home page makes three.",
            icon=":material/landscape:",
        )
        link("home", "Run the demo")
        return
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    family = known[bar.selectbox("Models of", list(known), key="landscape_family", width=260)]
    side = int(bar.number_input("Points a side", 5, 101, 21, step=2, key="landscape_side", width=160))
    samples = int(bar.number_input("Samples of each set", 8, 10_000, 256, step=64, key="landscape_samples", width=190))
    seed = int(bar.number_input("Seed", 0, 9999, 0, key="landscape_seed", width=130))
    settings = LandscapeSettings(side=side | 1, samples=samples, seed=seed)
    models = list_models(workspace)
    prints = [open_cached(workspace, name).fingerprint for name in (family.dataset, family.validation)]
    key = landscape_key([models[name].sha256 for name in family.models], prints[0], prints[1], settings)
    path = learn_path(workspace, "landscape", key)
    if not path.exists():
        _ask(workspace, family, settings, key)
        return
    found = read_table(path, LANDSCAPE)
    titles = {
        name: f"{model_title(models[name].role, models[name].settings.get('solver'))} · {name}"
        for name in family.models
    }
    _panels(found.frame, titles)
    st.caption(plain(" ".join(found.provenance["notes"]), limit=900))
    learn_questions.draw("landscape")


def _ask(workspace: Workspace, family: Family, settings: LandscapeSettings, key: str) -> None:
    jobs = find_jobs(workspace, "landscape", key=key)
    if jobs and job_view.watch(workspace, jobs[0].id, key="landscape").active:
        return
    if not jobs:
        job_view.show_error()
    args = {
        "models": list(family.models), "dataset": family.dataset, "validation": family.validation,
        "settings": settings.to_json(), "key": key,
    }  # fmt: skip
    st.button(
        "Compute the landscape", type="primary", icon=":material/landscape:", key="landscape_start",
        on_click=job_view.start, args=(workspace, "landscape", args, f"Landscape of {', '.join(args['models'])}"),
    )  # fmt: skip
    planes = len(family.models) + (len(family.models) == 3)
    st.caption(
        f"{planes} panels of {settings.side} × {settings.side} points, {2 * settings.samples} images at each: "
        f"{planes * settings.side**2 * 2 * settings.samples:,} forward passes. It is kept, and computed once."
    )


@st.fragment
def _panels(frame: pd.DataFrame, titles: dict[str, str]) -> None:
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    solid = bar.segmented_control(
        "Drawn as", (False, True), default=False, required=True, key="landscape_solid",
        format_func=lambda value: "3-D surface" if value else "Contour",
    )  # fmt: skip
    loss = bar.segmented_control(
        "Loss around each model", list(LOSSES), default="validation_loss", required=True, key="landscape_loss",
        format_func=LOSSES.__getitem__,
    )  # fmt: skip
    loss = loss or "validation_loss"
    spread = colour_range(frame)
    around = frame[frame["panel"] == "random"]
    st.markdown(f"##### Around each model: {LOSSES[loss].lower()}")
    panels = [(title, around[around["model"] == name], loss) for name, title in titles.items()]
    take_away.draw(
        surface_chart(panels, spread, solid=bool(solid), axes=("direction 1", "direction 2")),
        name="landscape-random", data=around, alt=f"Loss around {', '.join(titles)} along random directions",
    )  # fmt: skip
    points = frame[frame["panel"] == "point"]
    if points.empty:
        st.caption("The plane needs a base, a VM and an FVM that were tuned from it.")
        return
    st.markdown("##### The plane through the three models: both losses")
    plane = frame[frame["panel"] == "plane"]
    figure = surface_chart(
        [(title, plane, column) for column, title in LOSSES.items()], spread, solid=bool(solid),
        axes=("towards VM (length)", "across, towards FVM"), points=points, titles=titles,
    )  # fmt: skip
    take_away.draw(
        figure, name="landscape-plane", data=pd.concat([plane, points]), alt="Loss on the plane through three models"
    )
    st.dataframe(points.drop(columns="panel"), hide_index=True, key="landscape_points")
