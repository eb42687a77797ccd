"""The job that writes a review in one of the forms: into the workspace's exports, whole or not at all."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError, ReviewError, StorageError
from fvm_core.files import atomic_write, move_file, read_json, slug, write_json
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.review.exports.bundle import make_bundle, read_labels
from fvm_core.review.exports.forms import form_of, write_form
from fvm_core.workspace import Workspace

ABOUT = "about.json"


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write the labels that `write_export` left in exports/`args["labels"]`. Job of kind `export`.

    `args`: "spec" and "fingerprint" of the reviewed dataset; "form" (a key of FORMS); "name" of the result; "rows" (a
    key of ROWS) with "ids", a JSON file that lists ids, for "ids"; "packed": a folder becomes one zip. The labels are
    frozen in that file: decisions made later do not change what a resumed job writes.

    Returns {"path", "form", "samples", "unreadable": count, "bytes"}. Images that cannot be read are left out; their
    ids and reasons are in about.json.

    Raises:
        ReviewError: an unknown form, labels of another dataset, no row, or a folder of that name exists.
        DataError: the dataset cannot be opened or has changed. StorageError: the disk refused.
    """
    form = form_of(args["form"])
    context.progress(0, 0, "opening the dataset")
    dataset = open_dataset(DatasetSpec.from_json(args["spec"]))
    if dataset.fingerprint != args["fingerprint"]:
        raise DataError("the dataset must be as it was when it was reviewed, but has changed. Review it anew.")
    frame, provenance = read_labels(workspace.exports / Path(str(args["labels"])).name)
    rows = str(args.get("rows", "all"))
    bundle = make_bundle(dataset, frame, provenance, rows=rows, ids=_ids(args) if rows == "ids" else ())

    def tell(done: int, total: int) -> None:
        context.progress(done, total, f"writing {form.title}: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    name = slug(str(args["name"]))
    packed = bool(args.get("packed")) and not form.suffix
    target = workspace.exports / (name + (".zip" if packed else form.suffix))
    said: dict[str, Any] | None
    if form.suffix:
        said = write_form(form, bundle, target, tell)
    else:
        said = _made_before(target, context.folder.name)
        if said is None and target.is_dir():
            raise ReviewError(f"`name` must be new, but a folder `{target}` exists. Choose another name or remove it.")
        if said is None:
            staged = context.path("out", name, ABOUT).parent
            said = write_form(form, bundle, staged, tell)
            about = {"form": form.key, "rows": rows, "loads": form.loads, "job": context.folder.name, **said}
            write_json(staged / ABOUT, {**provenance, **about})
            if packed:
                pack(staged, whole := context.path("out", target.name), tell)
                move_file(whole, target)
                shutil.rmtree(staged, ignore_errors=True)
            else:
                _move(staged, target)
    size = target.stat().st_size if target.is_file() else sum(f.stat().st_size for f in target.rglob("*"))
    unreadable = len(said["unreadable"])
    return {"path": str(target), "form": form.key, "samples": said["samples"], "unreadable": unreadable, "bytes": size}


def _made_before(folder: Path, job: str) -> dict[str, Any] | None:
    """Return what this very job said of the folder if it was killed between moving it there and its last words."""
    if not (folder / ABOUT).is_file():
        return None
    about = read_json(folder / ABOUT, what="the export's record")
    return {key: about[key] for key in ("samples", "unreadable")} if about.get("job") == job else None


def pack(folder: Path, target: Path, tell: Any) -> None:
    """Write the files below `folder` into one zip, uncompressed (PNG and Parquet are), under `folder`'s own name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(files):
            if number % 512 == 0:
                tell(number, len(files))
            archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")


def _ids(args: dict[str, Any]) -> list[str]:
    ids = read_json(str(args.get("ids", "")), what="the list of chosen images")
    if not isinstance(ids, list):
        raise ReviewError(f"`ids` must be a JSON list of ids, got {ids!r:.100}. Choose the images again.")
    return [str(one) for one in ids]


def _move(staged: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(staged, target)
    except OSError as error:
        raise StorageError(f"the export could not be moved to `{target}` ({error}). Free disk space.") from error
