"""The score files there are, each with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages.ui.score_sets import ScoreFile
from pages.ui.times import ago, duration


def provenance_table(files: Sequence[ScoreFile]) -> pd.DataFrame:
    """Return one row a file: what was scored by which weights with which settings, on which machine, how fast."""
    rows = []
    for item in files:
        known = item.provenance
        settings = known.get("settings", {})
        validation = known.get("validation") or {}
        rows.append(
            {
                "Scores": item.label,
                "Run": item.run,
                "Dataset": item.dataset,
                "Validation set": validation.get("name", ""),
                "Speed (samples/s)": known.get("samples_per_second"),
                "Took": duration(known.get("seconds")),
                "Made": ago(known.get("created")),
                "Damping": f"{settings['damping']:.3g}" if _number(settings.get("damping")) else "",
                "Relabel": str(settings.get("relabel") or ""),
                "Limit": str(settings.get("limit") or "all"),
                "Model SHA-256": item.model_hash[:12],
                "Dataset fingerprint": item.fingerprint[:12],
                "Machine": str(known.get("machine", "")),
                "Version": str(known.get("version", "")),
                "Notes": "; ".join(map(str, known.get("notes") or ())),
            }
        )
    return pd.DataFrame(rows)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def draw(files: Sequence[ScoreFile]) -> None:
    """Draw the list and, for a chosen file, its whole provenance."""
    st.dataframe(
        provenance_table(files),
        hide_index=True,
        alt="Score files with their provenance",
        column_config={"Speed (samples/s)": st.column_config.NumberColumn(format="%.1f")},
    )
    labels = {f"{item.run}/{item.method}": item for item in files}
    with st.expander("Full provenance of one file", icon=":material/receipt_long:"):
        chosen = st.selectbox(
            "Score file",
            list(labels),
            format_func=lambda key: f"{labels[key].label} · {labels[key].run}",
            key="provenance_file",
        )
        if chosen:
            st.code(json.dumps(labels[chosen].provenance, indent=2, ensure_ascii=False), language="json", height=320)
