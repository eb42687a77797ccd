"""The job that writes the report of a review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fvm_core.errors import DataError
from fvm_core.files import atomic_write, slug
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.provenance import now
from fvm_core.report import sections
from fvm_core.report.document import Report
from fvm_core.report.source import open_source
from fvm_core.workspace import Workspace

MOST = 500


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write exports/`args["name"]`.html about the scores `args["scores"]` ("RUN/METHOD"). Job of kind `report`.

    `args["session"]` is the id of a review ("" for none), `args["flagged"]` how many images are shown (1 to 500).
    Returns {"path", "bytes", "flagged"}. The file needs nothing else, runs no script but plotly.js and the few lines
    that draw with it, and loads nothing from anywhere: a policy in it holds browsers to that.

    Raises:
        DataError: see `open_source`; `flagged` out of range. StorageError: the disk refused.
    """
    most = int(args.get("flagged", 60))
    if not 1 <= most <= MOST:
        raise DataError(f"`flagged` must be 1 to {MOST}, got {most}.")
    context.progress(0, 0, "reading scores and decisions")
    source = open_source(workspace, str(args["scores"]), str(args.get("session") or ""))

    def tell(done: int, total: int) -> None:
        context.progress(done, total, f"making thumbnails: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    report = Report(f"Labels of {source.provenance['dataset']['name']}, {now()}")
    sections.summary(report, source)
    sections.flagged(report, source, min(most, len(source.scores)), tell)
    sections.scores(report, source, workspace)
    sections.confusion(report, source)
    sections.data_and_model(report, source, workspace)
    sections.origin(report, source)
    path = workspace.exports / f"{slug(str(args['name']))}.html"
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(report.html())
    return {"path": str(path), "bytes": path.stat().st_size, "flagged": min(most, len(source.scores))}
