"""Tuning and asking on the Generation page in a real browser: live curves, then an answer and the pairs behind it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from app_server import Server, screenshot, settle
from playwright.sync_api import Page, expect

from fvm_core.generation.answer_list import list_answers
from fvm_core.generation.example import SHIPPED
from fvm_core.generation.score_store import read_answer
from fvm_core.generation.sentences import sentence_pairs
from fvm_core.generation.store import generation_folder, read_record, write_pairs
from fvm_core.jobs.metrics import read_metrics
from fvm_core.jobs.status import JobStatus, list_jobs
from fvm_core.workspace import Workspace

pytestmark = pytest.mark.browser
STEPS = 8
MINUTES = 60_000


def newest(workspace: Workspace) -> JobStatus:
    return list_jobs(workspace)[0]


def measured(workspace: Workspace, metric: str) -> int:
    """How many values of a metric the newest job has written so far."""
    frame = read_metrics(workspace, newest(workspace).id)
    return int(frame[metric].notna().sum()) if metric in frame else 0


def fill(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Enter")
    settle(page)


def test_a_tuning_is_watched_live_and_its_model_is_asked(server: Server, page: Page) -> None:
    pytest.importorskip("peft")
    workspace = server.workspace
    shutil.copytree(SHIPPED / "models" / "small-llama", generation_folder(workspace, "models", "small-llama"))
    made = sentence_pairs(training=1, validation=1, wording="practice")  # the base solves these
    for end, pairs in zip(("train", "val"), made, strict=True):
        write_pairs(workspace, f"few-{end}", pairs)

    server.goto(page, "generation")
    page.get_by_role("tab", name="Tune").click()
    settle(page)
    page.get_by_text("Settings", exact=True).click()
    for label, value in (
        ("Epochs", str(STEPS)), ("Learning rate", "0.0005"), ("Losses every", "1"), ("Sharpness every", "1"),
        ("Answers to check", "0"),
    ):  # fmt: skip
        fill(page, label, value)
    page.get_by_role("button", name="Start tuning").click()
    charts = page.get_by_test_id("stVegaLiteChart")
    expect(charts).to_have_count(5, timeout=2 * MINUTES)
    _grows_while_it_runs(page, workspace)
    expect(page.get_by_text("few-lora · LoRA · running")).to_have_count(0, timeout=5 * MINUTES)
    assert (newest(workspace).kind, newest(workspace).state) == ("gen_tune", "done")
    metrics = read_metrics(workspace, newest(workspace).id)
    assert metrics["step"].max() == STEPS and np.isfinite(metrics["random_sharpness"].dropna()).all()
    assert read_record(workspace, "small-llama-few-lora").settings["lr"] == 0.0005
    settle(page)
    screenshot(page, "generation-live-tuned")

    page.get_by_role("tab", name="Prompts").click()
    page.get_by_label("Prompt", exact=True).fill("bones: Big ants dig.")
    page.get_by_role("button", name="Ask", exact=True).click()
    answer = page.locator(".fvm-pair.large .target")
    expect(answer).to_have_text("Bg nts dg.", timeout=5 * MINUTES)
    settle(page)
    screenshot(page, "generation-live-asked")
    (about,) = list_answers(workspace)
    frame = read_answer(workspace, str(about["key"]))[1].sort_values("tracin", ascending=False, kind="stable")
    for title, rows in (("Speak most for it", frame), ("Speak most against it", frame[::-1])):
        side = page.get_by_test_id("stColumn").filter(has=page.get_by_text(title, exact=True))
        cards = side.locator(".fvm-pair")
        expect(cards).to_have_count(8)
        expect(cards.first).to_contain_text(rows["prompt"].iloc[0])
        expect(cards.first).to_contain_text(f"{rows['tracin'].iloc[0]:+.3g}")


def _grows_while_it_runs(page: Page, workspace: Workspace) -> None:
    """Wait until both the loss's and the sharpness's chart have drawn new values of a running job by themselves."""
    charts = page.get_by_test_id("stVegaLiteChart")
    shown: dict[int, set[bytes]] = {0: set(), 2: set()}
    while newest(workspace).active and min(map(len, shown.values())) < 3:
        if page.get_by_text("running").count() and measured(workspace, "random_sharpness") > 1:
            for place, seen in shown.items():
                seen.add(charts.nth(place).screenshot())
        page.wait_for_timeout(200)
    assert min(map(len, shown.values())) >= 3, {place: len(seen) for place, seen in shown.items()}
