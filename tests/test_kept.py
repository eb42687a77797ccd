"""A widget that comes and goes keeps what a person chose, and follows its default where nobody chose."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from pages.ui.kept import kept

    options, default = st.session_state["given"]
    if st.session_state["shown"]:
        st.select_slider("k", options, key=kept("k", options, default), persist_state="session")


def run(app: AppTest, options: list[int], default: int, *, shown: bool = True) -> AppTest:
    app.session_state["given"], app.session_state["shown"] = (options, default), shown
    return app.run()


def test_a_choice_is_kept_until_it_is_no_option_and_a_default_follows() -> None:
    app = run(AppTest.from_function(page), [10, 100, 1000], 1000)
    assert app.select_slider[0].value == 1000
    assert run(app, [10, 100, 400, 1000], 400).select_slider[0].value == 400, "nobody chose 1000"
    app.select_slider[0].set_value(100).run()
    run(app, [10, 100, 400], 400, shown=False)
    assert run(app, [10, 100, 200], 200).select_slider[0].value == 100, "chosen"
    assert run(app, [10, 200], 200).select_slider[0].value == 200, "no option any more"
