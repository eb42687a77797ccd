"""The pairs that were kept, to take home or to tune on again, and every verdict."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from fvm_core.generation.pair_review import PairExport, kept_pairs, scored_pairs, write_pair_export
from fvm_core.generation.score_store import ScoreRun
from fvm_core.generation.store import write_pairs
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui.errors import shown
from pages.ui.text import plain

FILES = {
    "jsonl": ("Pairs, JSONL", "application/x-ndjson"),
    "parquet": ("Pairs, Parquet", "application/vnd.apache.parquet"),
    "verdicts": ("Verdicts, CSV", "text/csv"),
    "decisions": ("All decisions, CSV", "text/csv"),
    "provenance": ("Provenance", "application/json"),
}


@st.fragment
def draw(workspace: Workspace, log: DecisionLog, session: ReviewSession, run: ScoreRun) -> None:
    """Draw the buttons. Files go to the workspace's exports folder first; the browser may download them from there."""
    st.subheader("Take the pairs home")
    st.markdown("All training pairs but those called wrong; undecided and skipped ones stay in.")
    key = f"pairs_exported_{session.id}"
    left, right = st.columns(2, gap="large")
    with left, shown(stop=False):
        if st.button("Write JSONL, Parquet and CSV", type="primary", icon=":material/save:", key="gen_export"):
            time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            name = f"{session.dataset[:24]}-{session.name[:16]}-{time}"
            st.session_state[key] = write_pair_export(
                workspace, name, scored_pairs(workspace, run), log, session, run.provenance
            )
    with right, shown(stop=False), st.form("gen_use", border=False):
        a, b = st.columns([2, 1.2], vertical_alignment="bottom")
        wanted = a.text_input("Name of a set with these pairs", value=f"{session.dataset}-kept", max_chars=64)
        if b.form_submit_button("Use as a set", icon=":material/database:", width="stretch"):
            kept = kept_pairs(scored_pairs(workspace, run), outcome_of(log, session.id).states)
            st.success(plain(f"{write_pairs(workspace, wanted, kept)}: {len(kept):,} pairs, ready to tune on."))
    _downloads(st.session_state.get(key))


def _downloads(files: PairExport | None) -> None:
    if files is None or not files.jsonl.exists():
        return
    st.success(f"Written to {plain(files.jsonl.parent)}", icon=":material/check:")
    with st.container(horizontal=True):
        for name, (word, kind) in FILES.items():
            path = getattr(files, name)
            st.download_button(
                word, path.read_bytes, file_name=path.name, mime=kind, icon=":material/download:", on_click="ignore",
                key=f"gen_download_{name}",
            )  # fmt: skip
