"""Which score files exist, what to call them, and which may be compared: those of one dataset fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import streamlit as st

from fvm_core.influence.methods import METHODS
from fvm_core.influence.store import RunInfo, display_name, list_runs
from fvm_core.workspace import Workspace
from pages.ui.figures import DASHES, LineStyle
from pages.ui.theme import NEUTRAL, role_colour

ROLE_ORDER = ("base", "imported", "vm", "fvm")
SHORT = {
    "influence": "Influence", "standard": "Standard", "loss": "Loss", "margin": "Margin", "el2n": "EL2N",
    "confident": "Confident", "datainf": "DataInf", "ekfac": "EK-FAC", "influence_ekfac": "Influence by EK-FAC",
    "influence_lissa": "Influence by LiSSA", "influence_datainf": "Influence by DataInf",
    "first_train": "1st order, training", "first_val": "1st order, validation", "second_train": "2nd order, training",
    "tracin": "TracIn", "gex": "GEX", "posterior": "Posterior", "error_influence": "Label error",
    "typical_influence": "Typical error", "logit_margin": "Logit margin",
}  # fmt: skip
BASELINES = ("loss", "margin", "logit_margin", "el2n", "confident")
SPARE_COLOURS = ("#CC79A7", "#0072B2", "#D55E00", NEUTRAL)

FileKey = tuple[str, int]


@dataclass(frozen=True)
class ScoreFile:
    """One method's scores under one model. `modified` (ns) tells a rewritten file from the one in the cache."""

    run: str
    method: str
    path: str
    modified: int
    label: str
    provenance: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def key(self) -> FileKey:
        return self.path, self.modified

    @property
    def role(self) -> str:
        return str(self.provenance.get("model", {}).get("role", ""))

    @property
    def solver(self) -> str:
        return str(self.provenance.get("model", {}).get("solver", ""))

    @property
    def model(self) -> str:
        return str(self.provenance.get("model", {}).get("name", ""))

    @property
    def model_hash(self) -> str:
        return str(self.provenance.get("model", {}).get("sha256", ""))

    @property
    def final(self) -> bool:
        return self.provenance.get("model", {}).get("epoch") is None

    @property
    def dataset(self) -> str:
        return str(self.provenance.get("dataset", {}).get("name", ""))

    @property
    def fingerprint(self) -> str:
        return str(self.provenance.get("dataset", {}).get("fingerprint", ""))


def modified(path: str | Path) -> int:
    """Return when a file was last written, in ns; 0 when it is gone."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def score_files(workspace: Workspace) -> list[ScoreFile]:
    """Return every score file: base, VM, FVM, and within a model in the order of METHODS.

    Labels are unique among the files of one dataset.
    """
    files = [_described(info) for info in list_runs(workspace) if info.method in METHODS]
    order = list(METHODS)
    files.sort(key=lambda item: (_rank(item.role), item.run, order.index(item.method)))
    labels = {item.path: item.label for group in by_fingerprint(files).values() for item in unique_labels(group)}
    return [replace(item, label=labels[item.path]) for item in files]


def _described(info: RunInfo) -> ScoreFile:
    label = display_name(info.provenance)
    if info.method in METHODS:
        label = label.replace(METHODS[info.method].title, SHORT[info.method])
    return ScoreFile(info.run, info.method, info.path, modified(info.path), label, info.provenance)


def _rank(role: str) -> int:
    return ROLE_ORDER.index(role) if role in ROLE_ORDER else len(ROLE_ORDER)


def unique_labels(files: Sequence[ScoreFile]) -> list[ScoreFile]:
    """Add the run's name to labels that two of the files would share."""
    seen = [item.label for item in files]
    return [replace(item, label=f"{item.label} ({item.run})") if seen.count(item.label) > 1 else item for item in files]


def labels_of(files: Iterable[ScoreFile]) -> tuple[str, ...]:
    """Return the labels, which another file in the workspace may change: part of the key of what shows them."""
    return tuple(item.label for item in files)


def posterior_file(file: ScoreFile, files: Iterable[ScoreFile]) -> ScoreFile | None:
    """Return the posterior's scores of the same dataset, by the same model if there are such, else by a tuned one."""
    same = [item for item in files if item.method == "posterior" and item.fingerprint == file.fingerprint]
    return min(
        same, key=lambda item: (item.model_hash != file.model_hash, item.role != "fvm", item.role != "vm"), default=None
    )


def by_fingerprint(files: Iterable[ScoreFile]) -> dict[str, list[ScoreFile]]:
    """Group files by the dataset they score; the group with most files first."""
    groups: dict[str, list[ScoreFile]] = {}
    for item in files:
        groups.setdefault(item.fingerprint, []).append(item)
    return dict(sorted(groups.items(), key=lambda pair: -len(pair[1])))


def by_run(files: Iterable[ScoreFile]) -> dict[str, list[ScoreFile]]:
    """Group files by run, in their order."""
    groups: dict[str, list[ScoreFile]] = {}
    for item in files:
        groups.setdefault(item.run, []).append(item)
    return groups


def default_methods(files: Sequence[ScoreFile]) -> list[str]:
    """Return the methods of one run to start with: standard for the base model, influence and posterior for the tuned
    ones, and the plain baselines of the same model; everything there is when none of these exist."""
    plain = [method for method in BASELINES if method != "logit_margin"]  # six panels are what a row has room for
    wanted = {"base": ("standard", *plain), "imported": ("standard", *plain)}
    chosen = [
        item.method for item in files if item.method in wanted.get(item.role, ("influence", "posterior", *plain))
    ]  # fmt: skip
    return chosen or [item.method for item in files]


def line_styles(files: Sequence[ScoreFile]) -> dict[str, LineStyle]:
    """Give each label a look: colour for the model (a second model of one role gets a spare), dash for the method."""
    colours: dict[str, str] = {}
    for run in by_run(files):
        role = next(item.role for item in files if item.run == run)
        spare = [colour for colour in SPARE_COLOURS if colour not in colours.values()]
        colour = role_colour(role)
        colours[run] = colour if colour not in colours.values() else (spare or [NEUTRAL])[0]
    return {
        item.label: LineStyle(
            colours[item.run], DASHES.get(item.method, "solid"), 1.7 if item.method in BASELINES else 3.0
        )
        for item in files
    }


def snapshot_files(workspace: Workspace) -> list[ScoreFile]:
    """Return the files of scores over tuning snapshots, newest first."""
    found = [_described(info) for info in list_runs(workspace) if info.method == "snapshots"]
    return sorted(found, key=lambda item: -item.modified)


def selected_runs(runs: Mapping[str, Sequence[ScoreFile]]) -> list[str]:
    """Return the runs to start with: the newest of each role, in the order base, VM, FVM; final weights, if scored,
    before those from the middle of a training run."""
    newest: dict[str, str] = {}
    for run, files in sorted(runs.items(), key=lambda pair: (pair[1][0].final, max(item.modified for item in pair[1]))):
        newest[files[0].role] = run
    return [run for run in runs if run in newest.values()]


def workspace_stamp(workspace: Workspace) -> tuple[FileKey, ...]:
    """Return what changes when any score file does: paths and times below scores/."""
    return tuple(sorted((str(path), modified(path)) for path in workspace.scores.glob("*/*.parquet")))


@st.cache_data(show_spinner=False, max_entries=4)
def _listed(root: str, stamp: tuple[FileKey, ...]) -> tuple[list[ScoreFile], list[ScoreFile]]:
    workspace = Workspace(Path(root))
    return score_files(workspace), snapshot_files(workspace)


def listed(workspace: Workspace) -> tuple[list[ScoreFile], list[ScoreFile]]:
    """Return (score files, snapshot files); the footers are read again only when a file changed."""
    return _listed(str(workspace.root), workspace_stamp(workspace))
