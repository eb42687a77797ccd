"""What a map is made from: a model, its head, and the images it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import open_named
from fvm_core.embedding.features import find_head, penultimate
from fvm_core.embedding.store import Seen, features_path
from fvm_core.errors import DataError, StorageError
from fvm_core.files import atomic_write, file_sha256
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.spec import require_classes
from fvm_core.models.store import WEIGHTS_FILE, ModelRecord, checkpoint_at, model_folder, read_record
from fvm_core.tuning.feed import Feed, describe, open_feed
from fvm_core.tuning.precision import fit_threads, pick_device
from fvm_core.workspace import Workspace

KEPT = 6
"""Feature files, the newest ones: 4 * d bytes an image each."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """`described` is what provenance says of model and dataset; `seen` names them in the cache."""

    model: nn.Module
    record: ModelRecord
    dataset: LabeledImages
    feed: Feed
    described: Mapping[str, Any]

    @property
    def seen(self) -> Seen:
        return Seen.behind(self.described)


def open_source(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> Source:
    """Load `args["model"]` (its weights after the epoch `args["checkpoint"]`, if given) and open `args["dataset"]`.

    `args["expected"]`, {"model", "dataset"}: hashes that must still hold.

    Raises:
        FVMError: a name or image cannot be used.
        DataError: the model or the dataset changed since.
    """
    epoch, name = args.get("checkpoint"), str(args["model"])
    record = read_record(workspace, name)
    file = WEIGHTS_FILE if epoch is None else str(checkpoint_at(record, epoch)["file"])
    sha = record.sha256 if epoch is None else file_sha256(model_folder(workspace, name) / file)
    dataset = open_named(workspace, str(args["dataset"]))
    described = {
        "model": {"name": record.name, "role": record.role, "sha256": sha, "spec": record.spec.to_json()}
        | ({} if epoch is None else {"epoch": epoch}),
        "dataset": describe(str(args["dataset"]), dataset),
    }
    hashes = {"model": sha, "dataset": dataset.fingerprint}
    changed = [key for key, value in (args.get("expected") or {}).items() if hashes.get(key) != value]
    if changed:
        raise DataError(
            f"the {' and the '.join(changed)} changed since these scores were made: the map would be of something "
            "else. Score again, then make the map."
        )
    device = pick_device()
    model, record = load_model(workspace, name, file=file, allow_custom=bool(args.get("allow_custom")))
    model = model.to(device)
    fit_threads(sum(parameter.numel() for parameter in model.parameters()), device)
    require_classes(record.spec, dataset.class_names)
    feed = open_feed(dataset, record.spec, workspace, context, what="dataset", device=device, channels_last=False)
    return Source(model, record, dataset, feed, described)


def cached_features(
    context: JobContext, source: Source, workspace: Workspace, *, batch_size: int, told: Callable[[int], None]
) -> Floats:
    """Return the (m, d) penultimate features of the readable images, from the cache or made and put there.

    Finished batches stay in the job's folder, so a job that was stopped does only what is missing. `told(images done)`
    may raise to stop. Cost: a forward pass an image.

    Raises:
        CheckpointError: the model has no linear head.
        StorageError: the disk refused.
    """
    path = features_path(workspace, source.seen)
    kept = _read(path, len(source.feed))
    if kept is not None:
        path.touch()
        return kept
    head, width = find_head(source.model, source.feed.batch(np.arange(1))[0])
    part = context.path(f"{path.stem}.part")
    try:
        with part.open("a+b") as file:
            done = file.tell() // (4 * width)
            file.truncate(4 * width * done)
            while done < len(source.feed):
                x, _ = source.feed.batch(np.arange(done, min(done + batch_size, len(source.feed))))
                file.write(penultimate(source.model, head, x).cpu().numpy().tobytes())
                file.flush()
                done += len(x)
                told(done)
        made = np.fromfile(part, np.float32).reshape(-1, width)
    except OSError as error:
        raise StorageError(
            f"`{part}` could not be written ({error.strerror or error}). Free disk space, then resume the job."
        ) from error
    _check_finite(made, source)
    with atomic_write(path) as file:
        np.save(file, made, allow_pickle=False)
    part.unlink(missing_ok=True)
    for old in sorted(path.parent.glob("*.npy"), key=_modified, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)
    return made


def _check_finite(features: Floats, source: Source) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    if len(bad):
        raise DataError(
            f"the features of image {str(source.dataset.ids[source.feed.usable[bad[0]]])!r} are not finite: the model "
            "overflows on it. Check the model's normalisation, or use another checkpoint."
        )


def _read(path: Path, count: int) -> Floats | None:
    """Return the kept features, None for none, a damaged file or another number of images."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and len(found) == count and found.dtype == np.float32 else None


def _modified(path: Path) -> int:
    """Return when a file was last used, in ns; 0 when another job has removed it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
