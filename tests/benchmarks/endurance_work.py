"""What the jobs of the endurance run do, and whether a disturbed one left what an undisturbed one left."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.influence.store import list_runs, read_scores
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.metrics import read_metrics
from fvm_core.models.checkpoint import load_model, read_state
from fvm_core.models.store import delete_model
from fvm_core.review.export import corrected_labels, write_export
from fvm_core.workspace import Workspace

SPEC = {"arch": "digits_cnn", "num_classes": 10, "width": 8, "in_channels": 1, "image_size": 8}
TRAIN = {"epochs": 8, "batch_size": 64, "lr": 0.05, "augment": False, "drop_epochs": [5], "checkpoint_epochs": [2, 8],
         "save_every": 8}  # fmt: skip
TUNE = {"steps": 120, "batch_size": 64, "save_every": 10, "snapshots": 4, "eval_every": 10, "sharpness_every": 30,
        "hessian_every": 60, "probe_size": 128}  # fmt: skip
SCORE = {"model": "base", "dataset": "digits", "validation": "digits-validation"}
VARYING = ("created", "seconds", "preparation_seconds", "samples_per_second", "job", "name")
WORKS = ("score-all", "score-shortlist", "score-curvature", "tune", "train", "export-folder", "export-zip")


def prepare(workspace: Workspace) -> None:
    """Add the digits and freeze their labels for the exports; the model `base` comes from the reference of `train`."""
    add_dataset(workspace, "digits", TRAINING)
    add_dataset(workspace, "digits-validation", VALIDATION)
    write_export(workspace, "frozen", corrected_labels(open_named(workspace, "digits"), {}), {"session": "endurance"})


def job_of(workspace: Workspace, work: str, name: str) -> tuple[str, dict[str, Any]]:
    """Return kind and arguments of a job whose result is called `name`."""
    if work == "train":
        options = {"dataset": "digits", "validation": "digits-validation", "model": SPEC, "settings": TRAIN}
        return "train", {"name": name, **options}
    if work == "tune":
        options = {"model": "base", "validation": "digits-validation", "dataset": "digits", "settings": TUNE}
        return "tune", {"name": name, **options}
    if work.startswith("export"):
        data = open_named(workspace, "digits")
        more = {"form": "imagefolder", "packed": work.endswith("zip"), "labels": "frozen.parquet"}
        return "export", {"spec": data.spec.to_json(), "fingerprint": data.fingerprint, "name": name, **more}
    methods, settings = {
        "score-all": (["influence", "loss", "confident", "el2n"], {"relabel": "all", "batch_size": 16}),
        "score-shortlist": (["influence", "margin"], {"relabel": "shortlist", "batch_size": 8}),
        "score-curvature": (["standard", "loss"], {"relabel": "none", "lissa_depth": 20, "batch_size": 32}),
    }[work]
    return "score", {**SCORE, "run": name, "methods": methods, "settings": {"damping": 1e-6, **settings}}


def expected_rows(workspace: Workspace) -> int:
    """Return how many rows every score file has to have."""
    return len(open_named(workspace, "digits"))


def wrongs(workspace: Workspace, work: str, job_id: str, name: str, reference: tuple[str, str]) -> list[str]:
    """Return what is wrong with the result of an ended job beside that of `reference` (job, name), in words."""
    found = _metrics(workspace, job_id, reference[0])
    if work.startswith("score"):
        found += _scores(workspace, work, name, reference[1])
    elif work.startswith("export"):
        found += _exported(workspace, work, name, reference[1])
    else:
        found += _model(workspace, name, reference[1])
    return found


def leftovers(workspace: Workspace, job_id: str, name: str) -> list[str]:
    """Return the temporary files that lie about in the job and in what it made."""
    places = [
        open_folder(workspace, job_id).root, workspace.scores / name, workspace.models / name, workspace.exports / name
    ]  # fmt: skip
    found = [path for place in places for path in place.rglob("*") if path.suffix in (".tmp", ".part")]
    found += [path for path in workspace.exports.glob(f".{name}*")]
    return [str(path.relative_to(workspace.root)) for path in found]


def remove(workspace: Workspace, work: str, name: str) -> None:
    """Remove what a job made, so that the small disk has room for the next."""
    import shutil

    if work in ("tune", "train"):
        delete_model(workspace, name)
    for path in (workspace.scores / name, workspace.exports / name):
        shutil.rmtree(path, ignore_errors=True)
    (workspace.exports / f"{name}.zip").unlink(missing_ok=True)


def _scores(workspace: Workspace, work: str, name: str, reference: str) -> list[str]:
    found: list[str] = []
    files = {info.method: info for info in list_runs(workspace) if info.run == name}
    wanted = {info.method: info for info in list_runs(workspace) if info.run == reference}
    if files.keys() != wanted.keys():
        found.append(f"score files {sorted(files)} instead of {sorted(wanted)}")
    for method in files.keys() & wanted.keys():
        table, whole = read_scores(files[method].path), read_scores(wanted[method].path)
        frame, right = table.frame, whole.frame
        lost, double = set(right["id"]) - set(frame["id"]), int(frame["id"].duplicated().sum())
        if lost or double:
            found.append(f"{method}: {len(lost)} rows lost, {double} double")
        elif list(frame["id"]) != list(right["id"]):
            found.append(f"{method}: rows in another order")
        else:
            try:
                pd.testing.assert_frame_equal(frame, right, check_exact=True)
            except AssertionError as error:
                apart = float(np.abs(frame["score"] - right["score"]).max())
                found.append(f"{method}: other values (scores apart by {apart:.3g}): {str(error).splitlines()[0]}")
        if _same(table.provenance) != _same(whole.provenance):
            found.append(f"{method}: another provenance")
    return found


def _model(workspace: Workspace, name: str, reference: str) -> list[str]:
    found = []
    record, right = load_model(workspace, name)[1], load_model(workspace, reference)[1]
    if _same(record.to_json()) != _same(right.to_json()):
        found.append("another record")
    there, wanted = _files(workspace.models / name), _files(workspace.models / reference)
    if there.keys() != wanted.keys():
        found.append(f"files differ: {sorted(there.keys() ^ wanted.keys())}")
    for file in sorted(key for key in there.keys() & wanted.keys() if key.endswith(".safetensors")):
        one, two = read_state(there[file]), read_state(wanted[file])
        if one.keys() != two.keys() or any(not one[key].equal(two[key]) for key in one):
            found.append(f"other weights in {file}")
    return found


def _exported(workspace: Workspace, work: str, name: str, reference: str) -> list[str]:
    contents = []
    for one in (name, reference):
        if work.endswith("zip"):
            with zipfile.ZipFile(workspace.exports / f"{one}.zip") as archive:
                names = archive.namelist()
                if len(set(names)) != len(names):
                    return ["a file stands twice in the zip"]
                contents.append({path.partition("/")[2]: archive.read(path) for path in names})
        else:
            contents.append({key: path.read_bytes() for key, path in _files(workspace.exports / one).items()})
    for files in contents:
        files["about.json"] = json.dumps(_same(json.loads(files["about.json"]))).encode()
    if contents[0].keys() != contents[1].keys():
        return [f"exported files differ: {sorted(contents[0].keys() ^ contents[1].keys())[:5]}"]
    return [f"exported {key} differs" for key, data in contents[0].items() if data != contents[1][key]][:5]


def _metrics(workspace: Workspace, job_id: str, reference: str) -> list[str]:
    found = []
    path = open_folder(workspace, job_id).metrics
    try:
        for line in path.read_text().splitlines() if path.exists() else ():
            json.loads(line)
    except ValueError:
        found.append("a torn line in metrics.jsonl")
    frame, right = read_metrics(workspace, job_id), read_metrics(workspace, reference)
    try:
        pd.testing.assert_frame_equal(frame, right, check_exact=True, check_like=True)
    except AssertionError as error:
        found.append(f"other metrics: {str(error).splitlines()[0]}")
    return found


def whole_files(workspace: Workspace, rows: int) -> list[str]:
    """Return what a reader of the score files would see wrong at this very moment."""
    found = []
    for info in list_runs(workspace):
        try:
            count = pq.read_metadata(info.path).num_rows
        except OSError:
            if Path(info.path).exists():
                found.append(f"{info.run}/{info.method}: cannot be read")
            continue
        if count != rows:
            found.append(f"{info.run}/{info.method}: {count} rows seen")
    return found


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _same(provenance: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in provenance.items() if key not in VARYING}
