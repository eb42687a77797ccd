"""What the Label noise page knows of the images of one score file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.review.confusion import Confusion, by_chance, by_flags, by_truth, posterior_chances
from pages.ui.score_choice import score_frame
from pages.ui.score_sets import FileKey, ScoreFile

SOURCES = {"flags": "Flags", "posterior": "Posterior", "truth": "Truth"}


@dataclass(frozen=True)
class Noise:
    """`flagged` (n,): the most suspicious images; `confusions` by the keys of SOURCES, those that can be told."""

    frame: pd.DataFrame
    flagged: NDArray[np.bool_]
    confusions: dict[str, Confusion]

    def pair(self, true: int, given: int) -> list[str]:
        """Return the ids of flagged images given one label and suggested another, the most suspicious first."""
        frame = self.frame[
            self.flagged & (self.frame["label"] == given).to_numpy() & (self.frame["suggested"] == true).to_numpy()
        ]  # fmt: skip
        return frame.sort_values("suspicion", ascending=False, kind="stable")["id"].tolist()


@st.cache_resource(max_entries=8, show_spinner="Reading the posterior …")
def expected(key: FileKey, classes: int) -> tuple[Confusion, float]:
    """Return the confusion by the posterior over its images, and the share of wrong labels that it expects.

    Raises:
        DataError: the file is damaged.
    """
    chances, given = posterior_chances(key[0]), score_frame(key)["label"].to_numpy(np.int64)
    wide = np.zeros((len(chances), max(classes, chances.shape[1])))
    wide[:, : chances.shape[1]] = chances
    confusion = by_chance(wide, given)
    return confusion, confusion.noise


def noise_of(file: ScoreFile, posterior: ScoreFile | None, share: float, classes: int) -> Noise:
    """Return what the `share` (0 to 1) most suspicious images imply, beside the posterior and the truth.

    Raises:
        DataError: a file is damaged.
    """
    frame = score_frame(file.key)
    given, suggested, truth = (frame[key].to_numpy(np.int64) for key in ("label", "suggested", "clean_label"))
    order = np.argsort(-frame["suspicion"].to_numpy(np.float64), kind="stable")
    flagged = np.zeros(len(frame), bool)
    flagged[order[: round(share * len(frame))]] = True
    confusions = {}
    if (suggested >= 0).any():
        confusions["flags"] = by_flags(given, suggested, flagged, classes)
    if posterior is not None:
        confusions["posterior"] = expected(posterior.key, classes)[0]
    if (truth >= 0).any():
        confusions["truth"] = by_truth(truth, given, classes)
    return Noise(frame, flagged, confusions)
