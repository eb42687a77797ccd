"""The numbers of a chart as short lists with their digest, by which a browser draws the chart once and not twice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray


def settle(figure: go.Figure) -> go.Figure:
    """Turn the arrays of `figure` into lists of numbers with 7 digits, and give it their digest as `datarevision`.

    Streamlit's component hands plotly a copy of each figure as soon as the figure is drawn. Without a revision, or
    with arrays (sent packed), plotly takes the copy for new data and draws all of it again: half of what a chart of
    many panels costs. O(numbers) once, so for a figure that stays in the cache.
    """
    digest = hashlib.sha256()
    for trace in figure.data:
        for path, numbers in _arrays(trace.to_plotly_json()):
            trace[path] = None  # a list that equals the array would be passed over
            trace[path] = short(numbers)
        digest.update(json.dumps(trace.to_plotly_json(), default=str).encode())
    figure.layout.datarevision = digest.hexdigest()[:16]
    return figure


def _arrays(properties: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the path and the array of each property, at any depth, that is an array of numbers."""
    for name, value in properties.items():
        if isinstance(value, Mapping):
            yield from _arrays(value, f"{above}{name}.")
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            yield f"{above}{name}", value


def short(numbers: NDArray[Any]) -> list[Any]:
    """Return `numbers` (any shape) as nested lists, floats with 7 digits; what is not finite is None, a gap.

    >>> short(np.array([[1 / 3, np.nan], [2e-9, 1e6]]))
    [[0.3333333, None], [2e-09, 1000000.0]]
    """
    if numbers.ndim > 1:
        return [short(part) for part in numbers]
    if numbers.dtype.kind != "f":
        return numbers.tolist()
    return [float(f"{number:.7g}") if math.isfinite(number) else None for number in numbers.tolist()]
