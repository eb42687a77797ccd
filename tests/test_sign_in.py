"""Sign-in and read-only links: the door is shut unless everything is right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from app_pages import ROOT, texts
from streamlit.testing.v1 import AppTest

from fvm_core.errors import DataError
from fvm_core.review.shared import list_links, make_link, open_link, revoke_link
from fvm_core.workspace import Workspace
from pages.ui import sign_in

AUTH = {"redirect_uri": "http://127.0.0.1:8501/oauth2callback", "cookie_secret": "x", "client_id": "i",
        "client_secret": "s", "server_metadata_url": "http://127.0.0.1:1/none"}  # fmt: skip


class User:
    """st.user as it is after sign-in with these claims; {} before."""

    def __init__(self, **claims: Any) -> None:
        self.claims = claims
        self.is_logged_in = bool(claims)

    def to_dict(self) -> dict[str, Any]:
        return self.claims


def opened(monkeypatch: pytest.MonkeyPatch, user: User, *, secrets: dict[str, Any] | None, **query: str) -> AppTest:
    monkeypatch.setattr(st, "user", user)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in (secrets or {}).items():
        app.secrets[key] = value
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception
    return app


def drawn(app: AppTest) -> bool:
    """Return whether a page of the app was drawn."""
    return "Home" in texts(app) or any(element.value == "FVM Studio" and len(app.button) > 1 for element in app.title)


def test_without_auth_everything_is_open(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(monkeypatch, User(), secrets=None)
    assert not app.get("error") and not [one for one in app.button if one.key in ("sign_in", "sign_out")]
    assert len(texts(app)) > 200


def test_no_page_is_drawn_before_sign_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(monkeypatch, User(), secrets={"auth": AUTH, "fvm_studio": {"allowed": ["*"]}})
    assert [one.key for one in app.button] == ["sign_in"] and len(texts(app)) < 200
    assert not app.selectbox and not app.text_input


@pytest.mark.parametrize(
    "user", [User(email="eve@evil.org"), User(email="ada@example.org", email_verified=False), User(name="Ada")]
)
def test_people_who_are_not_on_the_list_stay_outside(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, user: User
) -> None:
    app = opened(monkeypatch, user, secrets={"auth": AUTH, "fvm_studio": {"allowed": ["@example.org"]}})
    assert "may not use this server" in app.error[0].value and [one.key for one in app.button] == ["sign_out"]


def test_people_on_the_list_come_in_and_can_sign_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"auth": AUTH, "fvm_studio": {"allowed": ["ada@example.org"]}}
    app = opened(monkeypatch, User(name="Ada *L*", email="Ada@Example.org"), secrets=secrets)
    assert not app.error and len(texts(app)) > 200
    assert [one.key for one in app.sidebar.button] == ["sign_out"] and "Ada \\*L\\*" in app.sidebar.caption[0].value


@pytest.mark.parametrize("section", [None, {}, {"allowed": "ada@example.org"}, {"allowed": [1]}])
def test_sign_in_without_a_list_lets_nobody_in(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any] | None
) -> None:
    secrets = {"auth": AUTH, **({} if section is None else {"fvm_studio": section})}
    app = opened(monkeypatch, User(email="ada@example.org"), secrets=secrets)
    assert "needs a list of who may come in too" in app.error[0].value and not app.button


def test_sign_in_without_its_library_lets_nobody_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "find_spec", lambda name: None)
    secrets = {"auth": AUTH, "fvm_studio": {"allowed": ["*"]}}
    app = opened(monkeypatch, User(email="ada@example.org"), secrets=secrets)
    assert "Install Authlib" in app.error[0].value and not app.button


def test_damaged_secrets_keep_the_door_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.errors import StreamlitSecretNotFoundError

    class Damaged:
        def items(self) -> Any:
            raise StreamlitSecretNotFoundError("Error parsing secrets file at x: bad toml")

    monkeypatch.setattr(st, "secrets", Damaged())
    assert sign_in.wanted()


def report(workspace: Workspace) -> Path:
    workspace.exports.mkdir(exist_ok=True)
    (path := workspace.exports / "r.html").write_text("<p>figures</p>")
    return path


def test_a_link_opens_its_report_until_it_is_taken_back(workspace: Workspace) -> None:
    token = make_link(workspace, report(workspace))
    assert len(token) == 43 and open_link(workspace, token) == workspace.exports / "r.html"
    (link,) = list_links(workspace)
    assert link.key == hashlib.sha256(token.encode()).hexdigest()
    assert token not in "".join(path.read_text() for path in (workspace.root / "links").iterdir())
    for other in ("", "../../etc/passwd", token[:-1], token[:-1] + ("a" if token[-1] != "a" else "b"), link.key):
        assert open_link(workspace, other) is None
    file = workspace.root / "links" / f"{link.key}.json"
    file.write_text(json.dumps({"key": link.key, "report": "../datasets/x.json", "made": ""}))
    assert open_link(workspace, token) is None, "a link leads nowhere but to an HTML file in exports"
    revoke_link(workspace, link.key)
    assert open_link(workspace, token) is None and list_links(workspace) == []
    with pytest.raises(DataError, match="`report` must be an HTML report"):
        make_link(workspace, "/etc/passwd")


def test_a_link_shows_the_report_alone_without_any_button_or_page(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_link(workspace, report(workspace))
    secrets = {"auth": AUTH, "fvm_studio": {"allowed": ["*"]}}
    app = opened(monkeypatch, User(), secrets=secrets, view=token)
    assert not app.button and not app.error and texts(app).strip() == ""
    assert str(app.main.children[0].proto).count("<p>figures</p>") == 1
    wrong = opened(monkeypatch, User(), secrets=secrets, view="x" * 43)
    assert "does not open anything" in wrong.error[0].value and not wrong.button
    assert [one.key for one in opened(monkeypatch, User(), secrets=secrets).button] == ["sign_in"]
