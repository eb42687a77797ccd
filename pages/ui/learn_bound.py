"""Learn page: Theorem 3.2 with the numbers of a run, and what its assumptions leave out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.errors import DataError, FVMError
from fvm_core.learn.bound import Bound, bound_of, perturbed_risk, sample_term
from fvm_core.workspace import Workspace
from pages.ui import learn_questions, take_away
from pages.ui.figures import finish
from pages.ui.learn_fading import choose, frame_of
from pages.ui.score_choice import scored_dataset
from pages.ui.score_sets import ScoreFile
from pages.ui.theme import CLEAN, MISLABELED
from pages.ui.tune_watch import model_metrics

LEFT_OUT = (
    r"**The target is a guess.** The true sign of the influence, $\mathcal I^*$, would need a retraining for each "
    "sample. Here, as in Section 4.1, right labels count as helpful and wrong ones as harmful.",
    r"**The proof puts the true change in place of the estimate** (Eq. 38: $\mathcal I=R(\theta_z)-R(\theta)$). "
    "An estimate that is that right has no sign error left to bound; for a real estimate Eq. 39 is a hope.",
    "**It is never small.** Where Eq. 10 holds, the two means have zero between them, so μ is at most half of the "
    "range and Eq. 37 never below exp(−1/2) = 0.61: Hoeffding's inequality for one draw. Eq. 11 goes lower only where "
    "the risk is less than the range, and there Eq. 39 does not hold. A coin has an error of 0.5.",
    "**Units.** Eq. 6 drops the weight of one sample, 1/N. Eq. 11 compares the influence with a risk in nats, so there "
    "the 1/N matters, and with it the bound says nothing (it is 1).",
    "**Averages, not samples.** Eq. 10 asks the means of both kinds to have the right signs; where it fails, the "
    "theorem is silent. The paper's own score (Eq. 21) is never negative, so the theorem does not speak of it at all.",
    "**γ and the maximum.** γ should be the longest parameter change of any sample; here it is the radius at which the "
    "tuning measured its sharpness, and one ascent step finds less than the maximum of Eq. 12.",
    "**An infimum and suprema over all data** are read off a sample.",
)


def bounds_over_steps(frame: pd.DataFrame, metrics: pd.DataFrame, *, epsilon: float) -> dict[int, Bound]:
    """Return {step: Theorem 3.2's quantities} of the standard influence at each snapshot of `frame`, with the perturbed
    risk from the tuning's `metrics` (columns step, val_loss, sam_gap).

    Raises:
        DataError: no known truth of both kinds, or no SAM gap was measured.
    """
    part = frame[(frame["method"] == "standard") & frame["mislabeled"].notna()]
    if not {"step", "val_loss", "sam_gap"} <= set(metrics.columns):
        raise DataError("the tuning measured no SAM gap. Tune with `sharpness_every` > 0.")
    steps, losses, gaps = (metrics[name].to_numpy(dtype=float) for name in ("step", "val_loss", "sam_gap"))
    out = {}
    for step, rows in part.groupby("step", sort=True):
        risk = perturbed_risk(steps, losses, gaps, float(str(step)))
        values, wrong = rows["score"].to_numpy(dtype=float), rows["mislabeled"].to_numpy(dtype=bool)
        out[int(str(step))] = bound_of(values, wrong, risk=risk, epsilon=epsilon)
    if not out:
        raise DataError("the snapshots hold no standard influence of samples whose true label is known.")
    return out


def draw(workspace: Workspace, snapshots: Sequence[ScoreFile]) -> None:
    """Draw Theorem 3.2 with the run's numbers."""
    st.markdown("Theorem 3.2 bounds how often the *sign* of an influence is wrong by the perturbed validation risk:")
    st.latex(
        r"\mathcal E(\mathcal I)\le\exp\!\left(-\frac{2\mu^2}{\hat R^{\gamma}_{val}(\theta)^2}\right)\;\text{(Eq. 11)}"
    )
    st.latex(
        r"\mu=\min\big(|\mathbb E_{\mathcal D_+}\mathcal I|,\,|\mathbb E_{\mathcal D_-}\mathcal I|\big),\qquad "
        r"\hat R^{\gamma}_{val}(\theta)=\max_{\lVert\Delta\rVert\le\gamma}\hat R_{val}(\theta+\Delta)\;\text{(Eq. 12)}"
    )
    chosen = choose(snapshots, "bound_file")
    if chosen is None:
        return
    frame, metrics = frame_of(chosen.key), model_metrics(workspace.models / chosen.model)
    training = _training(chosen)
    weight = st.segmented_control(
        "A removal counts as", ("whole", "share") if training else ("whole",), default="whole", required=True,
        key="bound_weight",
        format_func=lambda item: "1, as Eq. 6 writes it" if item == "whole" else f"1/N = 1/{training}, as in Eq. 38",
    )  # fmt: skip
    epsilon = 1.0 / training if weight == "share" and training else 1.0
    found = bounds_over_steps(frame, metrics, epsilon=epsilon)
    take_away.draw(
        bound_chart(found), name="bound", data=bound_table(found), alt="The bounds and the sign error over steps"
    )
    step = (
        st.select_slider("Step of the tuning", list(found), value=max(found), key="bound_step")
        if len(found) > 1
        else max(found)
    )
    st.markdown(words(found[step]))
    st.markdown("##### What the assumptions leave out")
    st.markdown("\n".join(f"- {line}" for line in LEFT_OUT))
    learn_questions.draw("bound")


def bound_table(found: dict[int, Bound]) -> pd.DataFrame:
    """Return one row a step with every quantity."""
    return pd.DataFrame(
        [{"step": step, "holds": item.holds, "spanned": item.spanned, **item.__dict__} for step, item in found.items()]
    )


def words(item: Bound) -> str:
    """Return a list in Markdown: each quantity of the theorem with a sentence of what it means."""
    holds = "so Eq. 10 holds" if item.holds else "so **Eq. 10 fails** and the theorem says nothing here"
    spans, follows = ("no more than", "follows") if item.spanned else ("more than", "does **not** follow")
    return "\n".join(
        f"- {line}"
        for line in (
            f"**Means**: right labels {item.mean_right:+.3g}, wrong ones {item.mean_wrong:+.3g}, {holds}.",
            f"**μ = {item.mu:.3g}**: how far the weaker of the two means is from zero. Fading drives it to 0.",
            f"**Perturbed risk = {item.risk:.3g} nats**: validation loss plus SAM's gap. Tuning lowers it.",
            f"**Bound by the risk (Eq. 11) = {item.by_risk:.4f}**: at 1 it allows any error.",
            f"**Bound by the range (Eq. 37) = {item.by_range:.4f}**: before the risk comes in. The influence spans "
            f"{item.reach:.3g}, {spans} the perturbed risk, so Eq. 11 {follows} from it (Eq. 39).",
            f"**Measured sign error = {item.sign_error:.1%}**: {item.error_right:.1%} of the right labels and "
            f"{item.error_wrong:.1%} of the wrong ones, over {item.samples:,} samples. Corollary 3.3 adds "
            f"{sample_term(samples=item.samples, delta=0.05):.3f} for a sample this small (δ = 0.05).",
        )
    )


def bound_chart(found: dict[int, Bound]) -> go.Figure:
    """Return bounds and measured error over the steps of the tuning."""
    steps = list(found)
    figure = go.Figure()
    for name, values, colour, dash in (
        ("bound by the risk (Eq. 11)", [item.by_risk for item in found.values()], CLEAN, "solid"),
        ("bound by the range (Eq. 37)", [item.by_range for item in found.values()], CLEAN, "dot"),
        ("measured sign error", [item.sign_error for item in found.values()], MISLABELED, "solid"),
    ):
        figure.add_scatter(
            x=steps, y=values, mode="lines+markers", name=name, line={"color": colour, "dash": dash, "width": 3}
        )
    figure.update_xaxes(title_text="Tuning step")
    figure.update_yaxes(title_text="share of signs", range=[0, 1.05])
    return finish(figure, height=380, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})


def _training(chosen: ScoreFile) -> int | None:
    """Return N, the samples of the scored dataset, or None where it cannot be opened any more."""
    try:
        return len(scored_dataset(chosen))
    except (FVMError, KeyError):
        return None
