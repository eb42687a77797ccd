"""Sign-in by OpenID Connect for a shared server: Streamlit's own, off unless `.streamlit/secrets.toml` has `[auth]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from pages.ui.text import message, plain

SECTION = "fvm_studio"
HELP = (
    "Sign-in is on, for `.streamlit/secrets.toml` has a section `auth`. It needs a list of who may come in too: in the "
    "section `fvm_studio`, `allowed` with addresses, domains such as `@example.org`, or `*` for everybody whom the "
    "provider lets in."
)


def wanted() -> bool:
    """Return whether the secrets have a section `auth`; a secrets file that cannot be read counts as on."""
    return "auth" in _secrets()


def passed() -> bool:
    """Return whether sign-in is off, or somebody who may come in is signed in."""
    return not wanted() or (find_spec("authlib") is not None and permitted(_user(), _allowed()))


def gate() -> None:
    """Let only permitted people past this line while sign-in is on; call it before any page is drawn.

    Whatever is missing or wrong keeps the door shut: Authlib, the list of who may come in, an e-mail address that the
    provider has not verified.
    """
    if not wanted():
        return
    if find_spec("authlib") is None:
        _shut("Sign-in is on, but its library is missing. Install Authlib and start the app again.")
    if not _allowed():
        _shut(HELP)
    user = _user()
    if not user:
        st.title("FVM Studio")
        st.markdown("This server is shared. Sign in to go on.")
        st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login, key="sign_in")
        st.stop()
    if not passed():
        st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign_out")
        _shut(f"{user.get('email') or 'This account'} may not use this server. Ask whoever runs it.")
    with st.sidebar:
        st.caption(plain(user.get("name") or user.get("email") or "signed in", limit=80))
        st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign_out")


def permitted(user: Mapping[str, Any], allowed: Sequence[str]) -> bool:
    """Return whether the claims of a signed-in person are on the list: an address, "@domain", or "*" for everybody.

    An address counts only if the provider does not call it unverified; case does not matter.

    >>> permitted({"email": "Ada@Example.org"}, ["@example.org"]), permitted({"email": "x@evil.org"}, ["@example.org"])
    (True, False)
    """
    if "*" in allowed:
        return bool(user)
    address = str(user.get("email") or "").strip().casefold()
    if "@" not in address or user.get("email_verified") in (False, "false"):
        return False
    rules = {one.strip().casefold() for one in allowed}
    return address in rules or f"@{address.rpartition('@')[2]}" in rules


def _allowed() -> list[str]:
    """Return who may come in; nobody where the list is missing or malformed."""
    section = _secrets().get(SECTION)
    listed = section.get("allowed") if isinstance(section, Mapping) else None
    fits = isinstance(listed, Sequence) and not isinstance(listed, str) and all(isinstance(one, str) for one in listed)
    return [str(one) for one in listed or ()] if fits else []


def _user() -> dict[str, Any]:
    """Return the claims of whoever is signed in, {} before."""
    return dict(st.user.to_dict()) if st.user.is_logged_in else {}


def _shut(text: str) -> None:
    st.error(message(text), icon=":material/lock:")
    st.stop()


def _secrets() -> dict[str, Any]:
    try:
        return {str(key): value for key, value in st.secrets.items()}
    except StreamlitSecretNotFoundError as error:
        missing = "No secrets found" in str(error) or "No secrets files found" in str(error)
        return {} if missing else {"auth": {}}
