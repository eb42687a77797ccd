"""FVM Studio: `streamlit run app.py`. This file only navigates; the pages are in `pages/`."""

from __future__ import annotations

import streamlit as st

from fvm_core.workspace import current_workspace
from pages.ui import collector, read_only, sign_in, tour
from pages.ui.links import PAGES, ROOT
from pages.ui.narrow import NARROW
from pages.ui.refused_number import REFUSED
from pages.ui.theme import QUIET, SIDEBAR

st.set_page_config(
    page_title="FVM Studio", page_icon=str(ROOT / "assets" / "icon.svg"), layout="wide", initial_sidebar_state=SIDEBAR
)
collector.leave_out_modules()
st.html(QUIET + NARROW + REFUSED)
st.logo(str(ROOT / "assets" / "logo.svg"), size="large", icon_image=str(ROOT / "assets" / "icon.svg"))

# The pages are known to Streamlit in every case, for without a navigation it would list its own; only `run` opens one.
closed = read_only.asked() or not sign_in.passed()
page = st.navigation(
    [
        st.Page(
            page.path, title=page.title, icon=page.icon, url_path=key if key != "home" else None, default=key == "home"
        )
        for key, page in PAGES.items()
    ],
    position="hidden" if closed else "sidebar",
)
if read_only.draw_link(current_workspace()):
    st.stop()
sign_in.gate()
tour.draw(current_workspace(), page.url_path or "home")
page.run()
