"""Sign-in with a real OpenID Connect provider (signed tokens, own pages): who comes in, under which name, and out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from app_server import PATIENCE, Server, free_port, running_app, screenshot, settle
from playwright.sync_api import Browser, BrowserContext, Page, expect
from review_gallery import decisions, make, open_review, pictures, saved

from fvm_core.report.document import Report
from fvm_core.review.shared import make_link

provider = pytest.importorskip("oidc_provider_mock", reason="tests/requirements.txt has it")
pytestmark = pytest.mark.browser
PEOPLE = {
    "ada": {"name": "Ada Lovelace", "email": "Ada@Example.org", "email_verified": True},
    "eve": {"name": "Eve", "email": "eve@evil.example", "email_verified": True},
    "mallory": {"name": "Mallory", "email": "mallory@example.org", "email_verified": False},
}
SECRETS = """[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "of this test alone, long enough to sign"
client_id = "fvm-studio"
client_secret = "of this test alone"
server_metadata_url = "http://localhost:{provider}/.well-known/openid-configuration"
[fvm_studio]
allowed = ["@example.org"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app with sign-in by a provider that runs beside it, and something to review."""
    root, port = tmp_path_factory.mktemp("guarded"), free_port()
    users = [provider.User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    with provider.run_server_in_thread(user_claims=users) as running:
        (secrets := root / "secrets.toml").write_text(SECRETS.format(port=port, provider=running.server_port))
        with running_app(root, options=["--secrets.files", str(secrets)], port=port) as app:
            given = np.arange(24) % 3
            scores = np.random.default_rng(0).lognormal(0, 1, (24, 3))
            make(app, "animals", pictures(24), ["ant", "bee", "cat"], given, scores)
            yield app


def signed_in(server: Server, context: BrowserContext, who: str, path: str = "") -> Page:
    """Go to a page of the app, through the door, and return the tab once the provider has sent it back."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    server.goto(page, path)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=who, exact=True).click()
    page.wait_for_url(f"{server.url}/**")
    page.wait_for_selector('[data-testid="stMain"]')
    settle(page)
    return page


def sign_out(page: Page) -> None:
    """Sign out here, and at the provider, which asks and sends the tab back."""
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()
    expect(page.get_by_text("Sign in to go on")).to_be_visible()


def shut(page: Page) -> None:
    """Check that the tab shows neither pages nor anything of the workspace."""
    assert page.locator('[data-testid="stSidebarNav"]').count() == 0
    assert page.get_by_text("animals").count() == 0


def test_an_allowed_person_comes_in_reviews_under_their_own_name_and_goes_out(
    guarded: Server, context: BrowserContext
) -> None:
    page = signed_in(guarded, context, "ada")
    side = page.locator('[data-testid="stSidebar"]')
    expect(side).to_contain_text("Ada Lovelace")
    expect(page.locator('[data-testid="stSidebarNav"]')).to_be_visible()
    guarded.goto(page, "review")
    expect(page.get_by_role("button", name="Start the review")).to_be_visible()
    assert page.get_by_label("Your name").count() == 0, "who is signed in is not asked"
    grid = open_review(guarded, page, "animals · FVM")
    expect(page.get_by_text("you are Ada Lovelace")).to_be_visible()
    page.keyboard.press("k")
    saved(page, 1)
    expect(grid).to_be_focused()
    screenshot(page, "signed-in-review")
    assert [(one.reviewer, one.action) for one in decisions(guarded)] == [("Ada Lovelace", "keep")]
    page.get_by_text("you are Ada Lovelace").click()
    expect(page.get_by_role("button", name="Assign")).to_be_visible()
    assert page.get_by_label("Your name at this browser").count() == 0, "who is signed in has no other name"

    page.reload()
    expect(side).to_contain_text("Ada Lovelace")
    sign_out(page)
    shut(page)
    guarded.goto(page, "review")
    expect(page.get_by_text("Sign in to go on")).to_be_visible()
    shut(page)


@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_who_is_not_on_the_list_or_not_verified_stays_out(guarded: Server, context: BrowserContext, who: str) -> None:
    page = signed_in(guarded, context, who, "review")
    expect(page.get_by_text(f"{PEOPLE[who]['email']} may not use this server.")).to_be_visible()
    shut(page)
    for path in ("review", "load", "jobs"):
        guarded.goto(page, path)
        expect(page.get_by_text("may not use this server.")).to_be_visible()
        shut(page)
    screenshot(page, f"signed-in-{who}")
    sign_out(page)


def test_a_refusal_at_the_provider_leads_back_to_the_door(guarded: Server, context: BrowserContext) -> None:
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    guarded.goto(page, "review")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Deny").click()
    page.wait_for_url(f"{guarded.url}/**")
    expect(page.get_by_text("Sign in to go on")).to_be_visible()
    shut(page)


def test_a_read_only_link_needs_no_sign_in_and_opens_nothing_else(guarded: Server, browser: Browser) -> None:
    report = Report("Report")
    report.section("Figures", report.figure([{"y": [1, 2]}], {}))
    guarded.workspace.exports.mkdir(exist_ok=True)
    path = guarded.workspace.exports / "r.html"
    path.write_text(report.html(), encoding="utf-8")
    stranger = browser.new_context()
    try:
        page = stranger.new_page()
        page.set_default_timeout(PATIENCE)
        guarded.goto(page, f"?view={make_link(guarded.workspace, path)}")
        page.frame_locator("iframe").locator("body[data-drawn=yes]").wait_for()
        shut(page)
        assert page.locator('[data-testid="stMain"] button').count() == 0
        guarded.goto(page, "review")
        expect(page.get_by_text("Sign in to go on")).to_be_visible()
    finally:
        stranger.close()
