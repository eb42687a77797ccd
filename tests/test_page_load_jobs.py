"""Long work of the Load page: overlap, the check of all images and the download are jobs that survive a reload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from app_pages import button, ended_job, labels, open_page, run_jobs_here, running_job, texts, visible
from cifar_server import cifar_archive, cifar_served, point_cifar10, put_labels
from data_samples import png, write_parquet
from streamlit.testing.v1 import AppTest

from fvm_core.data.registry import add_dataset, list_datasets, open_named, read_spec
from fvm_core.files import write_json
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.folder import JobFolder
from fvm_core.workspace import Workspace


@pytest.fixture(autouse=True)
def jobs_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs_here(monkeypatch, "overlap_view", "image_check", "download_view")


@pytest.fixture
def sets(workspace: Workspace, tmp_path: Path) -> None:
    """A training set of 20 images, of which the fourth is missing, and a validation set that shares two with it."""
    images: list[bytes | None] = [png(10 * row) for row in range(20)]
    images[3] = None
    add_dataset(workspace, "noisy", write_parquet(tmp_path / "a.parquet", images, [0, 1] * 10))
    add_dataset(workspace, "clean", write_parquet(tmp_path / "b.parquet", [png(10), png(55), png(70)], [0, 1, 0]))


def fingerprint(workspace: Workspace, name: str) -> str:
    return open_named(workspace, name).fingerprint


def overlap_args(workspace: Workspace) -> dict[str, Any]:
    return {
        "train": "noisy", "train_fingerprint": fingerprint(workspace, "noisy"),
        "validation": "clean", "validation_fingerprint": fingerprint(workspace, "clean"),
    }  # fmt: skip


def overlap_part() -> AppTest:
    app = open_page("load", dataset="noisy", validation="clean")
    return app.get("button_group")[0].set_value("overlap").run()


def check_args(workspace: Workspace, name: str = "noisy", size: int = 32) -> dict[str, Any]:
    return {"dataset": name, "fingerprint": fingerprint(workspace, name), "size": size, "channels": 3}


def test_overlap_is_looked_for_once_and_shown_after_a_reload(workspace: Workspace, sets: None) -> None:
    for app in (overlap_part(), overlap_part()):
        assert "2 training images are also in the validation set" in app.warning[0].value
        assert app.dataframe[0].value.to_numpy().tolist() == [["a-00001", "b-00000"], ["a-00007", "b-00002"]]
        assert "1 image could not be read and compared" in texts(app)
    assert len(find_jobs(workspace, "overlap")) == 1


def test_sets_to_compare_are_proposed_and_can_be_changed(workspace: Workspace, sets: None) -> None:
    app = open_page("load").get("button_group")[0].set_value("overlap").run()
    assert (app.selectbox(key="overlap_dataset").value, app.selectbox(key="overlap_validation").value) == (
        "noisy", "clean",
    )  # fmt: skip
    app.selectbox(key="overlap_validation").set_value("noisy").run()
    assert "Choose two different sets" in app.warning[0].value
    app.selectbox(key="overlap_dataset").set_value("clean").run()
    assert "2 training images are" in app.warning[0].value
    assert (app.session_state["dataset"], app.session_state["validation"]) == ("clean", "noisy")


def test_one_dataset_alone_cannot_overlap(workspace: Workspace, tmp_path: Path) -> None:
    add_dataset(workspace, "noisy", write_parquet(tmp_path / "a.parquet", [png(1), png(2)], [0, 1]))
    app = open_page("load").get("button_group")[0].set_value("overlap").run()
    assert "Load a training dataset and a validation set first" in app.info[0].value


def test_running_overlap_check_shows_how_far_it_is(workspace: Workspace, sets: None) -> None:
    with running_job(
        workspace, "overlap", overlap_args(workspace), title="Overlap of noisy and clean", done=9, total=23,
        message="comparing images: 9 of 23",
    ):  # fmt: skip
        app = overlap_part()
        assert "Overlap of noisy and clean" in texts(app)
        assert visible(app.get("progress")[0].proto.text) == "comparing images: 9 of 23"
        assert {"Pause", "Stop"} <= set(labels(app))
        assert not app.success and not app.dataframe
        assert "Make a training dataset without them" not in labels(app)
    assert len(find_jobs(workspace, "overlap")) == 1


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_overlap_check_that_did_not_end_can_be_resumed(workspace: Workspace, sets: None, state: str) -> None:
    error = "`x` could not be written. Free disk space, then resume." if state == "failed" else ""
    ended_job(workspace, "overlap", overlap_args(workspace), title="Overlap", state=state, error=error)
    app = overlap_part()
    assert [visible(shown.value) for shown in app.error] == ([error] if error else [])
    assert "Not checked yet" in app.warning[0].value and "Resume" in labels(app)
    assert not app.success


def test_overlap_of_a_changed_dataset_is_looked_for_anew(workspace: Workspace, sets: None, tmp_path: Path) -> None:
    assert "2 training images" in overlap_part().warning[0].value
    write_parquet(tmp_path / "a.parquet", [png(201), png(202)], [0, 1])
    assert "share no image" in overlap_part().success[0].value
    assert len(find_jobs(workspace, "overlap")) == 2


def test_lost_pairs_are_an_error_and_no_all_clear(workspace: Workspace, sets: None) -> None:
    result = {"pairs": 2, "unreadable": 0}
    ended_job(workspace, "overlap", overlap_args(workspace), title="Overlap", state="done", result=result)
    app = overlap_part()
    assert "Delete that job on the Jobs page" in visible(app.error[0].value) and not app.success


def test_check_of_all_images_lists_the_broken_one_also_after_a_reload(workspace: Workspace, sets: None) -> None:
    button(open_page("load", dataset="noisy"), "Check every image").click().run()
    (job,) = find_jobs(workspace, "check_images")
    assert (job.state, job.result and job.result["unreadable"]) == ("done", 1)
    for path in workspace.cache.rglob("*.bin"):
        path.unlink()
    app = open_page("load", dataset="noisy")
    assert "1 image is unreadable and set aside" in app.warning[0].value
    assert app.dataframe[0].value["id"].tolist() == ["a-00003"]
    assert not app.success


def test_all_clear_belongs_to_the_very_images_and_their_size(workspace: Workspace, sets: None, tmp_path: Path) -> None:
    app = button(open_page("load", dataset="clean"), "Check every image").click().run()
    assert "All 3 images can be read (checked just now)." in app.success[0].value
    write_parquet(tmp_path / "b.parquet", [png(1), png(2)], [0, 1])
    assert not open_page("load", dataset="clean").success
    ended_job(workspace, "check_images", check_args(workspace, "clean", size=64), title="Check", state="done")
    assert not open_page("load", dataset="clean").success


def test_running_check_of_images_cannot_be_started_twice(workspace: Workspace, sets: None) -> None:
    with running_job(
        workspace, "check_images", check_args(workspace), title="Check every image of noisy", done=4, total=20,
        message="decoding images: 4 of 20", seconds_left=42.0,
    ):  # fmt: skip
        app = open_page("load", dataset="noisy")
        assert button(app, "Check every image").disabled
        assert "decoding images: 4 of 20 · 42 s left" in visible(app.get("progress")[0].proto.text)
        assert {"Pause", "Stop"} <= set(labels(app))
        assert not button(open_page("load", dataset="clean"), "Check every image").disabled


def test_failed_check_of_images_tells_why(workspace: Workspace, sets: None) -> None:
    reason = "decoded pixels need 9.0 GiB. Free disk space."
    ended_job(workspace, "check_images", check_args(workspace), title="Check", state="failed", error=reason)
    app = open_page("load", dataset="noisy")
    assert reason in visible(app.error[0].value) and "Resume" in labels(app)
    assert not app.success and not button(app, "Check every image").disabled


def test_damaged_list_of_broken_images_is_named(workspace: Workspace, sets: None) -> None:
    folder = ended_job(
        workspace, "check_images", check_args(workspace), title="Check", state="done", result={"unreadable": 1}
    )
    write_json(folder.root / "unreadable.json", 7)
    assert "must list ids with reasons" in visible(open_page("load", dataset="noisy").error[0].value)


def ask_for_cifar(folder: Path, *, label: str) -> AppTest:
    app = open_page("load")
    app.selectbox(key="add_dataset_kind").set_value("cifar10n").run()
    app.text_input(key="add_dataset_cifar10n_path").set_value(str(folder)).run()
    app.selectbox(key="add_dataset_cifar10n_noise").set_value(label).run()
    return app.checkbox(key="add_dataset_cifar10n_download").check().run()


def test_download_ends_with_its_dataset_in_use(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_labels(tmp_path / "cifar")
    with cifar_served(monkeypatch, cifar_archive()):
        app = button(ask_for_cifar(tmp_path / "cifar", label="worse"), "Download and load").click().run()
    assert not app.exception and not app.error, [error.value for error in app.error]
    assert list(list_datasets(workspace)) == ["cifar10n-worse"]
    assert read_spec(workspace, "cifar10n-worse").options == {"split": "train"}
    assert app.session_state["dataset"] == "cifar10n-worse"
    assert [metric.value for metric in app.metric][:2] == ["20", "10"]
    again = open_page("load", dataset="cifar10n-worse")
    assert f"Images downloaded just now to {tmp_path / 'cifar'}" in visible(texts(again))
    ids = workspace.root / "ids.txt"
    ids.write_text("\n".join(open_named(workspace, "cifar10n-worse").ids[:5]))
    spec = read_spec(workspace, "cifar10n-worse").to_json() | {"include": str(ids)}
    add_dataset(workspace, "some", type(read_spec(workspace, "cifar10n-worse"))(**spec))
    assert "Images downloaded" not in texts(open_page("load", dataset="some"))


def test_images_that_are_there_are_opened_without_any_job(workspace: Workspace, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [png(9)] * 4, "clean_label": [0, 1, 2, 9]}), tmp_path / "train.parquet")
    app = button(ask_for_cifar(tmp_path, label="clean"), "Load").click().run()
    assert not app.exception and not app.error
    assert list(list_datasets(workspace)) == ["cifar10n-clean"] and find_jobs(workspace, "download") == []


def test_offline_download_tells_what_to_do_and_can_be_forgotten(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_cifar10(monkeypatch, "http://127.0.0.1:9/cifar.tar.gz")
    app = button(ask_for_cifar(tmp_path, label="clean"), "Download and load").click().run()
    told = visible(app.error[0].value)
    assert "could not be downloaded from http://127.0.0.1:9/cifar.tar.gz" in told and "Go online, or unpack" in told
    assert "Resume" in labels(app)
    app = open_page("load")
    assert "Go online" in visible(app.error[0].value), "the reason is there after a reload"
    button(app, "Forget this download").click().run()
    assert find_jobs(workspace, "download") == [] and not open_page("load").error


def test_missing_file_of_labels_is_told_before_anything_is_fetched(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cifar_served(monkeypatch, cifar_archive()) as server:
        app = button(ask_for_cifar(tmp_path, label="worse"), "Download and load").click().run()
        assert "CIFAR-10_human.pt" in visible(app.error[0].value) and server.requests == []


def download_job(workspace: Workspace, folder: Path, **status: Any) -> JobFolder:
    spec = {"kind": "cifar10n", "path": str(folder), "label": "clean", "options": {"split": "train"}}
    return ended_job(workspace, "download", {"name": "mine", "spec": spec}, title="Download CIFAR-10N", **status)


def test_running_download_is_shown_to_everybody(workspace: Workspace, tmp_path: Path) -> None:
    with running_job(
        workspace, "download", {"name": "mine"}, title="Download CIFAR-10N as mine", done=40, total=162,
        message="40 of 162 MiB", seconds_left=61.0,
    ):  # fmt: skip
        app = open_page("load")
        assert "Download CIFAR-10N as mine" in visible(texts(app))
        assert app.get("progress")[0].proto.text == "40 of 162 MiB · 1 min 1 s left"
        assert {"Pause", "Stop"} <= set(labels(app)) and "Forget this download" not in labels(app)


def test_stopped_download_is_gone_once_its_dataset_is_there(workspace: Workspace, tmp_path: Path) -> None:
    download_job(workspace, tmp_path, state="stopped", done=1, total=162)
    assert "Resume" in labels(open_page("load"))
    pq.write_table(pa.table({"image": [png(9)] * 4, "clean_label": [0, 1, 2, 9]}), tmp_path / "train.parquet")
    add_dataset(workspace, "mine", write_parquet(tmp_path / "b.parquet", [png(1), png(2)], [0, 1]))
    assert "Resume" not in labels(open_page("load"))


def test_name_that_is_taken_is_told_before_the_job(workspace: Workspace, sets: None, tmp_path: Path) -> None:
    app = ask_for_cifar(tmp_path, label="clean")
    next(field for field in app.text_input if field.label == "Name" and not field.disabled).set_value("noisy").run()
    app = button(app, "Download and load").click().run()
    assert "another dataset is called 'noisy'" in visible(app.error[0].value)
    assert find_jobs(workspace, "download") == []
