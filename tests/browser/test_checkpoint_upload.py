"""Checkpoints through the browser's upload: good ones become models, a malicious one is refused and leaves nothing."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from app_server import Server, screenshot, settle
from playwright.sync_api import Page, expect

from fvm_core.jobs.status import list_jobs
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import list_models

pytestmark = pytest.mark.browser
MINUTES = 60_000


def weights(arch: str, classes: int, **more: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return build_model(ModelSpec(arch, classes, **more)).state_dict()


def saved(content: object) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def until_imported(server: Server, jobs: int) -> None:
    """Wait until one import more than `jobs` is over: an earlier one's words may still stand on the page."""
    end = time.monotonic() + 3 * MINUTES / 1000
    while len(found := list_jobs(server.workspace)) <= jobs or found[0].state not in ("done", "failed"):
        assert time.monotonic() < end, [job.state for job in found]
        time.sleep(0.2)


def choose(page: Page, name: str) -> None:
    """Choose a segment; click again, as a person would, where the page was being drawn anew under the first click."""
    segment = page.get_by_role("radio", name=name)
    for last in (False, False, True):
        segment.click()
        settle(page)
        try:
            expect(segment).to_be_checked(timeout=MINUTES if last else 10_000)
            break
        except AssertionError:
            if last:
                raise
    settle(page)


def upload(server: Server, page: Page, file: str, data: bytes) -> None:
    """Choose a file in the upload field of the checkpoint part, press Import and wait for the job's end."""
    before = len(list_jobs(server.workspace))
    server.goto(page, "load")
    choose(page, "2 Checkpoint")
    choose(page, "Upload")
    page.locator('[data-testid="stFileUploader"] input[type="file"]').set_input_files(
        {"name": file, "mimeType": "application/octet-stream", "buffer": data}
    )
    name = file.rpartition(".")[0]
    proposed = page.locator(f'input[aria-label="Name of the model"][value="{name}"]')
    expect(proposed).to_have_count(1, timeout=MINUTES)
    settle(page)
    button = page.get_by_role("button", name="Import checkpoint")
    expect(button).to_be_enabled()
    button.click()
    until_imported(server, before)


def both_looks(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        screenshot(page, f"upload-{name}-{scheme}")
    page.emulate_media(color_scheme="light")


def expect_imported(server: Server, page: Page, name: str, state: dict[str, torch.Tensor]) -> None:
    """The page lists the model, and the workspace holds exactly the weights that were uploaded."""
    expect(page.get_by_text("found out from the tensors")).to_be_visible(timeout=3 * MINUTES)
    settle(page)
    expect(page.locator('[data-testid="stDataFrame"] td', has_text=name).first).to_be_attached(timeout=MINUTES)
    model, record = load_model(server.workspace, name)
    assert record.role == "imported"
    found = model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert not list(server.workspace.uploads.iterdir()), "the upload itself is not kept"


def test_safetensors_file_becomes_a_model(server: Server, page: Page) -> None:
    state = weights("digits_cnn", 10, width=16, in_channels=1, image_size=8)
    upload(server, page, "my-digits.safetensors", safetensors.torch.save(state))
    expect_imported(server, page, "my-digits", state)
    both_looks(page, "1-safetensors")


def test_state_dict_of_data_parallel_becomes_a_model(server: Server, page: Page) -> None:
    state = weights("cifar_resnet18", 10, width=4)
    wrapped = {f"module.{key}": value for key, value in state.items()}
    upload(server, page, "slim-resnet.pt", saved({"state_dict": wrapped, "epoch": 3}))
    expect_imported(server, page, "slim-resnet", state)
    assert list_models(server.workspace)["slim-resnet"].spec.width == 4
    assert set(list_models(server.workspace)) == {"my-digits", "slim-resnet"}
    both_looks(page, "2-pt")


def test_malicious_pickle_is_refused_and_leaves_nothing(server: Server, page: Page, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    before = set(list_models(server.workspace))
    data = saved({"state_dict": weights("cifar_resnet18", 10, width=4), "extra": Payload()})
    upload(server, page, "evil.pt", data)
    refusal = page.get_by_role("alert").filter(has_text="evil.pt was refused")
    expect(refusal).to_be_visible(timeout=3 * MINUTES)
    expect(refusal).to_contain_text("posix.system, which is code and not weights. Nothing of it was run.")
    both_looks(page, "3-refused")
    (job, *_) = list_jobs(server.workspace)
    assert (job.kind, job.state) == ("import_model", "failed")
    assert not (tmp_path / "ran").exists()
    assert set(list_models(server.workspace)) == before
    assert not (server.workspace.models / "evil").exists()
    assert list(server.workspace.uploads.iterdir()) == []
    page.reload()
    settle(page)
    expect(page.get_by_role("heading", name="Load", exact=True)).to_be_visible()
    expect(page.locator('[data-testid="stException"]')).to_have_count(0)
