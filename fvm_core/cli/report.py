"""`report`: one HTML file about scores and a review, for people who were not there."""

from __future__ import annotations

import argparse

from fvm_core.cli.foreground import run_and_print
from fvm_core.workspace import Workspace


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("report", help="write an HTML report of scores and a review")
    parser.add_argument("--scores", required=True, metavar="RUN/METHOD", help="such as cats-fvm/posterior")
    parser.add_argument("--review", help="name of a review of the scored dataset; default: scores alone")
    parser.add_argument("--flagged", type=int, default=60, metavar="N", help="images shown; default: %(default)s")
    parser.add_argument("--name", help="name of the file in the exports folder; default: report-RUN-METHOD")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    session = _session(workspace, args.scores, args.review) if args.review else ""
    name = args.name or f"report-{args.scores}"
    work = {"scores": args.scores, "session": session, "flagged": args.flagged, "name": name}
    return run_and_print(workspace, "report", work, title=f"Report of {args.scores}")


def _session(workspace: Workspace, scores: str, review: str) -> str:
    from fvm_core.errors import ReviewError
    from fvm_core.influence.store import list_runs
    from fvm_core.review.log import DecisionLog
    from fvm_core.review.session import list_sessions

    prints = [
        one.provenance["dataset"]["fingerprint"] for one in list_runs(workspace) if f"{one.run}/{one.method}" == scores
    ]
    log = DecisionLog(workspace.review_url)
    try:
        found = {one.name: one.id for one in list_sessions(log, fingerprint=prints[0])} if prints else {}
    finally:
        log.close()
    if review not in found:
        raise ReviewError(f"`review` must be one of {sorted(found) or 'none yet'} of these scores, got {review!r}.")
    return found[review]
