"""The pages of the app in the order of the workflow, and links between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PageInfo:
    """One page: its file below the app's folder, its name in the navigation and its icon."""

    path: str
    title: str
    icon: str


PAGES: dict[str, PageInfo] = {
    "home": PageInfo("pages/home.py", "Home", ":material/home:"),
    "load": PageInfo("pages/load.py", "Load", ":material/upload_file:"),
    "tune": PageInfo("pages/tune.py", "Tune", ":material/tune:"),
    "score": PageInfo("pages/score.py", "Score", ":material/scoreboard:"),
    "compare": PageInfo("pages/compare.py", "Compare", ":material/compare_arrows:"),
    "map": PageInfo("pages/map.py", "Map", ":material/scatter_plot:"),
    "noise": PageInfo("pages/noise.py", "Label noise", ":material/grid_on:"),
    "review": PageInfo("pages/review.py", "Review", ":material/fact_check:"),
    "generation": PageInfo("pages/generation.py", "Generation", ":material/auto_awesome:"),
    "learn": PageInfo("pages/learn.py", "Learn", ":material/school:"),
    "experiments": PageInfo("pages/experiments.py", "Experiments", ":material/science:"),
    "jobs": PageInfo("pages/jobs.py", "Jobs", ":material/manufacturing:"),
}


def link(key: str, label: str | None = None, *, help: str | None = None) -> None:
    """Draw a link to a page; `label` is Markdown of ours, by default the page's name."""
    page = PAGES[key]
    st.page_link(page.path, label=label or page.title, icon=page.icon, help=help)
