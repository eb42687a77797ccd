"""Eq. 20 from one image to many: what each image of both sets says about its label, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.influence.explain_settings import SETS, ExplainSettings
from fvm_core.influence.explained_image import ExplainedImage, data_of, feed_of
from fvm_core.influence.meter import Meter
from fvm_core.influence.pairwise import (
    Vector,
    first_order,
    gauss_newton_directions,
    preconditioned,
    sample_gradient,
    sample_gradients,
    second_order,
)
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import Task

FORWARD_MODE, PAIR = 0.6, 4.0
"""Units of a sample's directional derivative, and of an exact second-order term."""
HELD_FLOATS = 2**24
"""Numbers in the gradients that are held at once."""
Positions = dict[str, NDArray[np.int64]]


def looked_at(task: Task, image: ExplainedImage, settings: ExplainSettings) -> Positions:
    """Return {set: positions in its feed} of the images that are asked, ascending; the image itself is none of them.

    The training set always; the validation set for a training image, where its samples stand in the objective.
    """
    chosen = {"training": task.rows}
    if image.of == "training":
        clean = np.arange(len(task.validation), dtype=np.int64)
        if settings.limit is not None and settings.limit < len(clean):
            clean = np.sort(np.random.default_rng(settings.seed).choice(clean, settings.limit, replace=False))
        chosen["validation"] = clean
    if image.of in chosen:
        chosen[image.of] = chosen[image.of][chosen[image.of] != image.position]
    return {name: chosen[name] for name in SETS if name in chosen}


def cost(task: Task, chosen: Positions, settings: ExplainSettings) -> float:
    """Return the units of `evidence`: a forward and backward pass of one sample each."""
    passes = task.classes if settings.second == "gauss-newton" else 1
    pairs = {"top": settings.top, "all": None}.get(settings.second, 0)
    exact = sum(len(item) if pairs is None else min(pairs, len(item)) for item in chosen.values())
    return FORWARD_MODE * passes * sum(map(len, chosen.values())) + PAIR * exact


def evidence(
    task: Task, image: ExplainedImage, chosen: Positions, weights: Vector, settings: ExplainSettings, meter: Meter
) -> pd.DataFrame:
    """Return the columns of the explanation's SCHEMA for all chosen images; see `pairwise` for the sign.

    Each image plays z_tr with the label that it has in its set.
    """
    direction = preconditioned(sample_gradient(task.model, image.x, image.label), weights)
    bent = gauss_newton_directions(task.model, image.x, weights) if settings.second == "gauss-newton" else None
    frames = []
    for name, positions in chosen.items():
        frame = _described(task, name, positions)
        frame["first"] = _given(task, name, positions, direction, meter, settings)
        frame["second"] = np.nan
        if bent is not None:
            squares = [_given(task, name, positions, item, meter, settings) ** 2 for item in bent]
            frame["second"] = 0.5 * settings.epsilon * np.sum(squares, axis=0)
        elif settings.second != "none":
            frame["second"] = _exact(task, image, name, positions, frame["first"].to_numpy(), weights, settings, meter)
        frame["influence"] = frame["first"] + (0.0 if settings.second == "none" else frame["second"])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _described(task: Task, name: str, positions: NDArray[np.int64]) -> pd.DataFrame:
    data, rows = data_of(task, name), feed_of(task, name).usable[positions]
    clean = np.full(len(rows), UNKNOWN) if data.clean_labels is None else data.clean_labels[rows]
    columns = {
        "set": name,
        "id": data.ids[rows].tolist(),
        "row": rows,
        "label": data.labels[rows],
        "clean_label": clean,
    }
    return pd.DataFrame(columns)


def _given(
    task: Task, name: str, positions: NDArray[np.int64], direction: Vector, meter: Meter, settings: ExplainSettings
) -> NDArray[np.float64]:
    """Return (n,) direction . g of the images with their labels in the set."""
    found = []
    for start in range(0, len(positions), settings.batch_size):
        x, y = feed_of(task, name).batch(positions[start : start + settings.batch_size])
        with meter.clock():
            scores = first_order(task.model, x, direction).gather(1, y.unsqueeze(1)).squeeze(1)
        found.append(scores.cpu().numpy())
        meter.advance(FORWARD_MODE * len(x), f"First-order terms, {name} set")
    return np.concatenate(found) if found else np.zeros(0)


def _exact(
    task: Task,
    image: ExplainedImage,
    name: str,
    positions: NDArray[np.int64],
    first: NDArray[np.float64],
    weights: Vector,
    settings: ExplainSettings,
    meter: Meter,
) -> NDArray[np.float64]:
    """Return (n,) second-order terms, NaN for images that are not among the `top` by |first-order term|."""
    order = np.argsort(-np.abs(first), kind="stable")
    order = order[: settings.top] if settings.second == "top" else order
    out = np.full(len(positions), np.nan)
    floats = sum(value.numel() for value in weights.values())
    size = max(1, min(settings.batch_size, HELD_FLOATS // floats))
    engine = SquaredGradients(task.model, image.x)
    for start in range(0, len(order), size):
        places = order[start : start + size]
        x, y = feed_of(task, name).batch(positions[places])
        with meter.clock():
            grads = sample_gradients(engine, x, y)
            moves = {key: value.mul_(weights[key]) for key, value in grads.items()}
            found = second_order(task.model, image.x, image.label, moves, epsilon=settings.epsilon)
        out[places] = found.cpu().numpy()
        meter.advance(PAIR * len(x), f"Second-order terms, {name} set")
    return out
