"""`export`: the labels of a review as CSV and Parquet, as the Review page writes them."""

from __future__ import annotations

import argparse

from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("export", help="write the labels of a review as CSV and Parquet")
    parser.add_argument("--dataset", required=True, help="name of the reviewed dataset")
    parser.add_argument("--review", required=True, help="name of the review")
    parser.add_argument("--name", help="name of the files in the exports folder; default: DATASET-REVIEW")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.errors import ReviewError
    from fvm_core.review.export import corrected_labels, export_provenance, write_export
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.session import list_sessions

    dataset = open_named(workspace, args.dataset)
    log = DecisionLog(workspace.review_url)
    try:
        sessions = {session.name: session for session in list_sessions(log, fingerprint=dataset.fingerprint)}
        if args.review not in sessions:
            known = sorted(sessions) or "none yet"
            raise ReviewError(f"`review` must be one of {known} of dataset {args.dataset!r}, got {args.review!r}.")
        session = sessions[args.review]
        replay = log.replay(session.id)
    finally:
        log.close()
    frame = corrected_labels(dataset, replay.states())
    about = export_provenance(session, dataset, replay.counts(len(dataset)), None)
    files = write_export(workspace, args.name or f"{args.dataset}-{session.name}", frame, about)
    for path in (files.csv, files.parquet, files.provenance):
        print(path)
    return 0
