"""Charts of the Compare page: what is in the traces, axis titles, transparent background, escaping."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from pages.ui import theme
from pages.ui.distribution import Distribution, distribute, smooth
from pages.ui.figures import LineStyle, detection, overlap, rank_heatmap, snapshot_auc, snapshot_boxes
from pages.ui.figures_spread import histograms, violins
from pages.ui.multiples import Multiples
from pages.ui.scales import Scale, fit_scale, round_numbers

STYLES = {"FVM": LineStyle(theme.FVM), "Base <b>": LineStyle(theme.BASE, "dash")}


def spread(scale: Scale | None = None) -> Distribution:
    random = np.random.default_rng(0)
    wrong = np.arange(1000) < 400
    values = np.exp(random.normal(0, 3, 1000)) * np.where(wrong, 30, 1)
    groups = {"clean": ~wrong, "mislabeled": wrong}
    return distribute(values, groups, title="FVM <i>", axis="s →", scale=scale or fit_scale(values))


def curves() -> tuple[pd.DataFrame, pd.DataFrame]:
    x = np.linspace(0, 1, 5)
    roc = [pd.DataFrame({"method": label, "fpr": x, "tpr": np.sqrt(x)}) for label in STYLES]
    recall = [pd.DataFrame({"method": label, "recall": x, "precision": 1 - x / 2}) for label in STYLES]
    return pd.concat(roc), pd.concat(recall)


def boxes() -> pd.DataFrame:
    return pd.DataFrame(
        {"step": [100, 0], "low": [-1, -2], "q1": [0, -1], "median": [1, 0], "q3": [2, 1], "high": [3, 2]}
    )


def every_figure() -> dict[str, go.Figure]:
    shares = pd.DataFrame({"method": ["FVM"] * 3, "k": [10, 100, 1000], "overlap": [0.1, 0.5, 1.0]})
    matrix = pd.DataFrame([[1.0, -0.5], [-0.5, 1.0]], index=list(STYLES), columns=list(STYLES))
    aucs = pd.DataFrame(
        {"step": [0, 100] * 2, "method": ["standard"] * 2 + ["influence"] * 2, "auc": [0.8, 0.5, 0.7, 0.9]}
    )
    return {
        "histograms": histograms([spread(), None, spread(Scale())], columns=2),
        "violins": violins([spread()], columns=1),
        "detection": detection(*curves(), STYLES, 0.4),
        "overlap": overlap(shares, STYLES, total=1000, k=100),
        "heatmap": rank_heatmap(matrix),
        "auc": snapshot_auc(aucs),
        "boxes": snapshot_boxes(boxes(), axis="influence"),
    }


@pytest.mark.parametrize("name", ["histograms", "violins", "detection", "overlap", "heatmap", "auc", "boxes"])
def test_every_figure_is_transparent_and_escapes_labels(name: str) -> None:
    figure = every_figure()[name]
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    text = json.dumps(figure.to_plotly_json(), default=str)  # `to_json` writes every < in another way
    assert "<i>" not in text.replace("<b>FVM &lt;i&gt;</b>", "") and "Base <b>" not in text


def test_axes_carry_titles_with_units() -> None:
    figures = every_figure()
    titles = {name: {axis.title.text for axis in figure.select_yaxes()} for name, figure in figures.items()}
    assert titles["histograms"] == {"Share of group (%)"}
    assert titles["detection"] == {"True positive rate", "Precision"}
    assert titles["auc"] == {"ROC AUC (%)"} and titles["boxes"] == {"influence"}
    assert "s →" in words(figures["histograms"])


def words(figure: go.Figure) -> list[str]:
    return [word for trace in figure.data if trace.mode == "text" for word in trace.text]


def parts(figure: go.Figure, group: str) -> list[np.ndarray]:
    """The outlines (n, 2) of a group, one a chart."""
    (trace,) = [trace for trace in figure.data if trace.name == group and trace.fill == "toself"]
    x, y = np.array(trace.x, dtype=float), np.array(trace.y, dtype=float)
    return [np.c_[x, y][part] for part in np.split(np.arange(len(x)), np.flatnonzero(np.isnan(x))) if len(part) > 1]


def test_histograms_leave_a_gap_and_ship_bins_not_samples() -> None:
    """Three places in two columns, the second empty: a chart in the first place of each row, drawn to scale."""
    figure, panel = every_figure()["histograms"], spread()
    assert len(list(figure.select_xaxes())) == 1
    left = figure.layout.xaxis.range[1] / 2
    first, second = (part[~np.isnan(part[:, 0])] for part in parts(figure, "clean"))
    assert len(first) == 2 * len(panel.edges)
    assert first[:, 0].max() <= left and second[:, 0].max() <= left
    assert first[:, 1].min() > second[:, 1].max(), "the second row is below the first"
    heights = first[1:-1, 1] - first[0, 1]
    tallest = max(share.max() for share in panel.shares.values())
    assert np.allclose(heights, 150 * np.repeat(panel.shares["clean"], 2) / (1.05 * tallest), atol=1e-3)


def test_histograms_same_height_gives_all_panels_one_range() -> None:
    """A share of the same height stands as high in each chart."""
    panel = spread()
    flat = replace(panel, shares={"clean": np.full(60, 1.0)})
    per_percent = []
    for part, each in zip(parts(histograms([panel, flat], same_height=True), "clean"), (panel, flat), strict=True):
        per_percent.append((np.nanmax(part[:, 1]) - np.nanmin(part[:, 1])) / each.shares["clean"].max())
    assert np.isclose(*per_percent, rtol=1e-4)
    (alone,) = parts(histograms([flat]), "clean")
    assert np.isclose(np.nanmax(alone[:, 1]) - np.nanmin(alone[:, 1]), 150 / 1.05, rtol=1e-4)


def test_ticks_of_a_histogram_stand_where_their_numbers_are() -> None:
    """By the outline: a number's tick stands where its bin is drawn."""
    panel = spread(Scale())
    figure = histograms([panel], columns=1)
    (trace,) = [trace for trace in figure.data if trace.mode == "text" and panel.axis in trace.text]
    ticks = [
        (x, float(word.replace("−", "-"))) for x, word in zip(trace.x, trace.text, strict=True) if word != panel.axis
    ]
    assert len(ticks) >= 3
    outline = parts(figure, "clean")[0]
    outline = outline[~np.isnan(outline[:, 0])]
    for x, number in ticks:
        expected = np.interp(number, panel.scale.inverse(panel.edges), outline[::2, 0])
        assert abs(x - expected) < 1e-3


def test_ticks_that_would_run_into_each_other_are_left_out() -> None:
    many = Multiples(1, 6, height=100)
    many.ticks_across(0, [0.1, 0.45, 0.5, 0.9], ["−1", "−10⁻²", "0", "1"])
    assert words(many.figure([])) == ["−1", "−10⁻²", "1"]


def test_round_numbers_far_from_zero_can_be_told_apart() -> None:
    for low, high in ((1 + 1e-10, 1 + 3e-10), (123456789012, 123456789052), (-1e9 - 3, -1e9)):
        numbers, words = round_numbers(low, high, 4)
        assert 2 <= len(numbers) <= 4 and len(set(words)) == len(words)
        assert [float(word.replace("−", "-")) for word in words] == numbers


def test_violins_turn_clean_to_the_left_and_name_their_medians() -> None:
    panel = spread()
    figure = violins([panel], columns=1)
    clean, wrong = (parts(figure, group)[0] for group in ("clean", "mislabeled"))
    assert np.nanmax(clean[:, 0]) <= np.nanmin(wrong[:, 0]) + 1e-9
    hover = [text for trace in figure.data if trace.mode == "markers" for text in trace.customdata]
    assert any(f"median {panel.quartiles['clean'][1]:.3g}" in text for text in hover)


def test_detection_draws_each_method_in_both_panels_with_one_legend_entry() -> None:
    figure = detection(*curves(), STYLES, 0.4)
    fvm = [trace for trace in figure.data if trace.name == "FVM"]
    assert [trace.xaxis for trace in fvm] == ["x", "x2"]
    assert [bool(trace.showlegend) for trace in fvm] == [True, False]
    assert all(trace.line.color == theme.FVM for trace in fvm)
    chance = [trace for trace in figure.data if trace.name == "chance"]
    assert list(chance[1].y) == [0.4, 0.4]


def test_snapshot_boxes_use_given_quartiles_in_the_order_of_steps() -> None:
    box = snapshot_boxes(boxes(), axis="influence").data[0]
    assert list(box.x) == ["0", "100"]
    assert list(box.q1) == [-1, 0] and list(box.lowerfence) == [-2, -1] and list(box.upperfence) == [2, 3]
    assert box.y is None


def test_k_is_named_where_its_line_stands_on_the_log_axis() -> None:
    frame = pd.DataFrame({"method": "loss", "k": [10, 100, 1000], "overlap": [0.1, 0.5, 1.0]})
    figure = overlap(frame, {"loss": LineStyle("#0072B2")}, total=1000, k=100)
    assert figure.layout.xaxis.type == "log" and figure.layout.shapes[0].x0 == 100
    (named,) = figure.layout.annotations
    assert named.text == "k = 100" and named.x == 2  # 100 would be 10 ** 100, and the axis would reach to it


def test_heatmap_keeps_the_sign_fixed_around_zero() -> None:
    heat = every_figure()["heatmap"].data[0]
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert heat.text[1][0] == "−0.50" and heat.text[0][0] == "1.00"
    assert heat.text[0][1] == ""  # said below the diagonal


def test_distribution_counts_every_finite_sample_once() -> None:
    values = np.array([0.0, 1.0, 5.0, np.nan, np.inf, 1e9])
    everyone = np.ones(6, bool)
    found = distribute(values, {"all": everyone, "none": ~everyone}, title="t", axis="a", scale=Scale(), limits=(0, 10))
    assert found.counts == {"all": 4}
    assert np.isclose(found.shares["all"].sum(), 100)
    assert found.shares["all"][-1] == 25
    assert found.frame()["bin_to"].iloc[-1] == 10


def test_distribution_of_a_constant_has_a_bin_to_be_in() -> None:
    found = distribute(np.full(5, 3.0), {"all": np.ones(5, bool)}, title="t", axis="a", scale=Scale())
    assert np.isclose(found.shares["all"].sum(), 100) and found.edges[0] < 3 < found.edges[-1]


def test_smooth_matches_scipy() -> None:
    from scipy.ndimage import gaussian_filter1d

    shares = np.random.default_rng(0).random(60)
    expected = gaussian_filter1d(shares, 1.5, mode="constant", truncate=4.0)
    assert np.allclose(smooth(shares), expected, atol=1e-12)


@pytest.mark.parametrize("scale", [Scale(), Scale("log", 1e-6), Scale("symlog", 1e-3)])
def test_scale_inverse_undoes_forward(scale: Scale) -> None:
    values = np.array([1e-5, 0.02, 3.0, 4e6]) * np.array([1, -1, 1, -1] if scale.kind == "symlog" else [1, 1, 1, 1])
    assert np.allclose(scale.inverse(scale.forward(values)), values)
    assert (np.diff(scale.forward(np.sort(values))) > 0).all()


def test_scale_ticks_lie_inside_and_read_as_powers() -> None:
    assert Scale().ticks(0, 1) is None
    assert Scale("log").ticks(-2, 2, most=5) == ([-2.0, -1.0, 0.0, 1.0, 2.0], ["10⁻²", "10⁻¹", "1", "10", "10²"])
    ticks = Scale("symlog", 1e-3).ticks(-3, 2, most=6)
    assert ticks is not None
    positions, texts = ticks
    assert "0" in texts and texts[0].startswith("−") and min(positions) >= -3 and max(positions) <= 2
    assert np.isclose(positions[texts.index("0")], 0)


def test_fit_scale_survives_odd_input() -> None:
    assert fit_scale([]).kind == "linear"
    assert fit_scale([0.0, 0.0]).kind == "linear"
    assert fit_scale([np.nan, np.inf, 1.0, 1000.0]).kind == "log"


def test_snapshot_boxes_on_a_symlog_axis_keep_their_order_and_label_powers() -> None:
    scale = Scale("symlog", 1e-3)
    wide = boxes().assign(low=-1e3, q1=-1e-2, median=0.0, q3=0.5, high=1e4)
    figure = snapshot_boxes(wide, axis="influence", scale=scale)
    box = figure.data[0]
    parts = [box[name][0] for name in ("lowerfence", "q1", "median", "q3", "upperfence")]
    assert np.allclose(scale.inverse(parts), [-1e3, -1e-2, 0.0, 0.5, 1e4])
    assert parts == sorted(parts) and box.upperfence[0] < 10
    assert "0" in figure.layout.yaxis.ticktext


@pytest.mark.parametrize("kind", ["linear", "log", "symlog"])
def test_distribute_counts_as_numpy_does(kind: str) -> None:
    random = np.random.default_rng(3)
    values = np.exp(random.normal(0, 2, 5000)) * (1 if kind == "log" else random.choice([-1, 1], 5000))
    values[:20], values[20:40] = np.nan, np.inf
    wrong = random.random(5000) < 0.3
    scale = Scale(kind, 0.1)
    low, high = (float(end) for end in scale.forward([-0.5 if kind != "log" else 0.5, 3.0]))
    found = distribute(
        values, {"clean": ~wrong, "mislabeled": wrong}, title="", axis="", scale=scale, limits=(low, high)
    )
    for group, mask in (("clean", ~wrong), ("mislabeled", wrong)):
        inside = values[mask & np.isfinite(values)]
        heights, _ = np.histogram(np.clip(scale.forward(inside), low, high), bins=found.edges)
        assert np.allclose(found.shares[group], 100 * heights / len(inside)) and found.counts[group] == len(inside)
        assert found.quartiles[group] == pytest.approx(np.quantile(inside, [0.25, 0.5, 0.75]))


def test_words_too_long_for_a_chart_take_two_lines_for_which_there_is_room() -> None:
    long = replace(spread(), title="FVM · Posterior (a-run-of-mine)", axis="s (LiSSA, random vectors) →")
    short, tall = (histograms([panel] * 3, columns=3, width=450) for panel in (spread(), long))
    assert {"FVM · Posterior<br>(a-run-of-mine)", "s (LiSSA, random<br>vectors) →"} <= set(words(tall))
    assert tall.layout.height - short.layout.height == 2 * 17
    assert "FVM · Posterior (a-run-of-mine)" in words(histograms([long] * 3, columns=3, width=900))
