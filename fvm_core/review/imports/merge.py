"""A whole log taken into a review, with every name and time: beside what was decided here, or as its latest word."""

from __future__ import annotations

import pandas as pd

from fvm_core.data.dataset import LabeledImages
from fvm_core.provenance import digest
from fvm_core.review.assign import Given, assign
from fvm_core.review.log import DecisionLog
from fvm_core.review.log_file import Imported, import_log
from fvm_core.review.session import ReviewSession


def merge_log(
    log: DecisionLog, session: ReviewSession, frame: pd.DataFrame, dataset: LabeledImages, *, blind: bool, by: str
) -> Imported:
    """Take in a log (`fvm_core.review.log_file.read_log`); the same one again adds nothing, and goes on where it was
    cut off.

    `blind` marks its images as decided without knowing this review (and gives them to nobody): differences are then
    disputes for an adjudicator. Otherwise what was taken in is the latest decision on each image.

    Raises:
        ReviewError: see `import_log`; nothing is written. StorageError: what was written stays.
    """
    found = import_log(log, session, frame, dataset)
    if blind:
        marks = [Given(sample, by, True, withdrawn=True) for sample in found.samples]
        assign(log, session.id, marks, by=by, batch=f"import-{digest(sorted(found.samples))[:32]}")
    return found
