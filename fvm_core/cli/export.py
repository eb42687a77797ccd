"""`export`: the labels of a review as CSV and Parquet, and in the forms of other tools, as on the Review page."""

from __future__ import annotations

import argparse
import sys

from fvm_core.cli.foreground import run_and_print
from fvm_core.review.exports.forms import FORMS, ROWS
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("export", help="write the labels of a review")
    parser.add_argument("--dataset", required=True, help="name of the reviewed dataset")
    parser.add_argument("--review", required=True, help="name of the review")
    parser.add_argument("--name", help="name of the files in the exports folder; default: DATASET-REVIEW")
    parser.add_argument("--form", choices=tuple(FORMS), help="one form more beside CSV and Parquet, by a job")
    parser.add_argument("--rows", choices=tuple(row for row in ROWS if row != "ids"), default="all", help="of the form")
    parser.add_argument("--zip", action="store_true", help="a form that is a folder becomes one zip")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.errors import ReviewError
    from fvm_core.review.export import corrected_labels, export_provenance, write_export
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.outcome import outcome_of
    from fvm_core.review.session import list_sessions

    dataset = open_named(workspace, args.dataset)
    log = DecisionLog(workspace.review_url)
    try:
        sessions = {session.name: session for session in list_sessions(log, fingerprint=dataset.fingerprint)}
        if args.review not in sessions:
            known = sorted(sessions) or "none yet"
            raise ReviewError(f"`review` must be one of {known} of dataset {args.dataset!r}, got {args.review!r}.")
        session = sessions[args.review]
        outcome = outcome_of(log, session.id)
    finally:
        log.close()
    frame = corrected_labels(dataset, outcome.states, outcomes=outcome.kinds)
    about = export_provenance(session, dataset, outcome.counts(len(dataset)), None, outcome=outcome)
    files = write_export(workspace, args.name or f"{args.dataset}-{session.name}", frame, about)
    for path in (files.csv, files.parquet, files.provenance):
        print(path)
    if outcome.open:
        told = f"{len(outcome.open):,} disputed images that nobody has settled keep their given label (column outcome)"
        print(told, file=sys.stderr)
    if not args.form:
        return 0
    work = {
        "spec": dataset.spec.to_json(), "fingerprint": dataset.fingerprint, "labels": files.parquet.name,
        "form": args.form, "name": f"{files.csv.stem}-{args.form}", "rows": args.rows, "packed": args.zip,
    }  # fmt: skip
    return run_and_print(workspace, "export", work, title=f"Export {args.dataset}: {args.form}")
