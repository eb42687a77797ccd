"""What a read-only link shows: one report, no page, no button."""

from __future__ import annotations

import streamlit as st

from fvm_core.review.shared import list_links, make_link, open_link, revoke_link
from fvm_core.workspace import Workspace
from pages.ui.text import plain

PARAMETER = "view"


def asked() -> bool:
    """Return whether the address has a token, right or wrong."""
    return PARAMETER in st.query_params


def draw_link(workspace: Workspace) -> bool:
    """Draw the report that the address's `?view=TOKEN` opens, alone, and return True; False without such an address.

    Asked in every run, before sign-in: an address without the token meets the sign-in again. The report's own policy
    names the two scripts that may run in it (`fvm_core.report.document`): none of the data's, none from elsewhere.
    """
    token = st.query_params.get(PARAMETER)
    if token is None:
        return False
    path = open_link(workspace, str(token))
    if path is None:
        st.error("This link does not open anything. It may have been taken back.", icon=":material/link_off:")
        return True
    st.iframe(path.read_text(encoding="utf-8"), height=1200, alt="Report of a label review")
    return True


def links_part(workspace: Workspace, report: str) -> None:
    """Draw the button that makes a link to `report`, and those that take links back."""
    st.caption(
        "A read-only link opens this report alone. Where sign-in is on, it lets in whoever has it, without sign-in; "
        "where it is off, everybody who reaches this server can open all of it anyway."
    )
    if st.button("Make a read-only link", icon=":material/link:", key="link_make"):
        base = str(st.context.url or "").split("?")[0].rsplit("/review", 1)[0].rstrip("/")
        st.code(f"{base}/?{PARAMETER}={make_link(workspace, report)}", language=None)
        st.caption("Copy it now: the server keeps only its hash.")
    for link in list_links(workspace):
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(f"{plain(link.report)}, made {plain(link.made)}")
        right.button(
            "Take back", key=f"link_{link.key[:16]}", on_click=revoke_link, args=(workspace, link.key),
            icon=":material/link_off:", width="stretch",
        )  # fmt: skip
