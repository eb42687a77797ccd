"""`import-decisions`: take decisions out of a file into a review, once however often it is done."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fvm_core.workspace import Workspace

if TYPE_CHECKING:
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.session import ReviewSession

SHOWN = 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "import-decisions",
        help="take decisions into a review: exported labels, a review's log, Label Studio's JSON, cleanlab's table",
    )
    parser.add_argument("file", help="CSV, Parquet or JSON")
    parser.add_argument("--dataset", required=True, help="name of the reviewed dataset")
    parser.add_argument("--review", required=True, help="name of the review")
    parser.add_argument("--reviewer", help="who takes them in; default: whoever began the review")
    parser.add_argument("--new", action="store_true", help="begin the review if there is none (needs --reviewer)")
    parser.add_argument(
        "--blind", action="store_true", help="of a log: made without knowing this review, differences are disputes"
    )
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    from fvm_core.data.registry import open_named
    from fvm_core.review.imports.decision_file import read_decisions
    from fvm_core.review.imports.decisions import import_decisions
    from fvm_core.review.imports.merge import merge_log
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.log_file import is_log, read_log
    from fvm_core.visible import visible

    dataset = open_named(workspace, args.dataset)
    whole = not args.file.lower().endswith(".json") and is_log(args.file)
    frame = read_log(args.file) if whole else read_decisions(args.file, dataset)
    log = DecisionLog(workspace.review_url)
    try:
        session = _session(log, args, dataset.fingerprint)
        by = args.reviewer or session.reviewer
        if whole:
            found = merge_log(log, session, frame, dataset, blind=args.blind, by=by)
            print(f"{found.new:,} new, {found.known:,} known already, of {', '.join(map(visible, found.reviewers))}")
            return 0
        taken = import_decisions(log, session.id, frame, dataset, reviewer=by)
    finally:
        log.close()
    print(f"{taken.words}, as {visible(by)}")
    for one in taken.refused[:SHOWN]:
        print(f"refused {visible(one.sample)}: {visible(one.why, limit=300)}", file=sys.stderr)
    if len(taken.refused) > SHOWN:
        print(f"refused {len(taken.refused) - SHOWN:,} more", file=sys.stderr)
    return 0


def _session(log: DecisionLog, args: argparse.Namespace, fingerprint: str) -> ReviewSession:
    from fvm_core.errors import ReviewError
    from fvm_core.review.session import list_sessions, open_session

    sessions = {session.name: session for session in list_sessions(log, fingerprint=fingerprint)}
    if args.new and args.reviewer and args.review not in sessions:
        return open_session(
            log, name=args.review, reviewer=args.reviewer, dataset=args.dataset, fingerprint=fingerprint
        )
    if args.review not in sessions:
        known = sorted(sessions) or "none yet"
        raise ReviewError(
            f"`review` must be one of {known} of dataset {args.dataset!r}, got {args.review!r}. "
            "Begin it with --new --reviewer NAME."
        )
    return sessions[args.review]
