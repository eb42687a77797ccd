"""Validation accuracy of a base model after each epoch whose weights were kept: the black curve of Figure 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.registry import open_named
from fvm_core.data.validation import check_validation, with_names_of
from fvm_core.files import atomic_write
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.models.checkpoint import load_model
from fvm_core.models.store import checkpoint_at, read_record
from fvm_core.tuning.evaluate import evaluate
from fvm_core.tuning.feed import open_feed
from fvm_core.tuning.precision import pick_device
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write result.parquet (epoch, accuracy in [0, 1], loss in nats) over the whole of `args["validation"]`, for each
    of `args["epochs"]` of `args["model"]`.

    Raises:
        FVMError: the model kept no weights at an epoch, or the data cannot be used.
        JobStopped: the person asked to stop.
    """
    device, custom = pick_device(), bool(args.get("allow_custom"))
    record = read_record(workspace, str(args["model"]))
    names, classes = record.spec.class_names, record.spec.num_classes
    validation = with_names_of(open_named(workspace, str(args["validation"])), names, num_classes=classes)
    check_validation(validation, classes, class_names=names)
    feed = open_feed(
        validation, record.spec, workspace, context, what="validation set", device=device, channels_last=False
    )
    rows = []
    for number, epoch in enumerate(args["epochs"]):
        context.progress(number, len(args["epochs"]), f"epoch {epoch}")
        if context.checkpoint():
            raise JobStopped
        file = str(checkpoint_at(record, int(epoch))["file"])
        model = load_model(workspace, record.name, file=file, allow_custom=custom)[0].to(device)
        loss, accuracy = evaluate(model, feed.batch, np.arange(len(feed)))
        rows.append({"epoch": int(epoch), "accuracy": accuracy, "loss": loss})
    with atomic_write(context.path("result.parquet")) as file_handle:
        pq.write_table(pa.Table.from_pylist(rows), file_handle)
    return {"epochs": len(rows)}
