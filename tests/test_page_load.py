"""Load: every kind of dataset, uploads under our own names, checkpoints, clean rows, overlap, and bad input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from app_pages import (
    add_digits,
    add_model,
    button,
    ended_job,
    labels,
    open_page,
    run_jobs_here,
    running_job,
    texts,
    visible,
)
from PIL import Image
from streamlit.testing.v1 import AppTest

from fvm_core.data.cache import PixelCache
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import add_dataset, list_datasets, open_named, read_spec
from fvm_core.errors import DataError
from fvm_core.models.store import list_models
from fvm_core.workspace import Workspace
from pages.ui import clean_rows, dataset_view
from pages.ui.open_data import open_cached, open_scored, open_spec_cached
from pages.ui.thumbnails import thumbnail
from pages.ui.upload import keep_upload

EVIL = "<b>*cat*</b>"


@pytest.fixture(autouse=True)
def jobs_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs_here(monkeypatch, "overlap_view", "image_check", "download_view")


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Twelve images of two classes, one of them broken, with noisy and true labels."""
    images = [png(20 * row) for row in range(12)]
    images[5] = b"no image"
    table = pa.table(
        {"image": images, "worse_label": [0, 1] * 6, "clean_label": [0] * 6 + [1] * 6, "note": ["x"] * 12}
    ).replace_schema_metadata({"class_names": '["dog", "<b>*cat*</b>"]'})
    path = tmp_path / "train.parquet"
    pq.write_table(table, path)
    return path


def choose_kind(app: AppTest, kind: str, role: str = "dataset") -> AppTest:
    return app.selectbox(key=f"add_{role}_kind").set_value(kind).run()


def go(app: AppTest, part: str) -> AppTest:
    return app.get("button_group")[0].set_value(part).run()


def test_empty_page_says_what_to_do(workspace: Workspace) -> None:
    app = open_page("load")
    assert "No dataset yet" in app.info[0].value
    assert button(app, "Load").disabled


def test_parquet_offers_its_columns_and_shows_the_dataset(workspace: Workspace, parquet: Path) -> None:
    app = open_page("load")
    app.text_input(key="add_dataset_path").set_value(str(parquet)).run()
    boxes = {box.label: box for box in app.selectbox}
    assert boxes["Images"].options == ["image"]
    assert boxes["Given labels"].value == "worse_label"
    assert boxes["True labels, if known"].value == "clean_label"
    button(app, "Load").click().run()
    assert not app.exception
    (spec,) = list_datasets(workspace).values()
    assert (spec.image, spec.label, spec.clean_label) == ("image", "worse_label", "clean_label")
    assert [metric.value for metric in app.metric] == ["12", "2", "50.0%"]
    assert app.session_state["dataset"] == "train-worse_label"
    assert any("unreadable" in warning.value for warning in app.warning)
    assert len(app.get("plotly_chart")) == 1


def test_class_names_are_shown_letter_for_letter(workspace: Workspace, parquet: Path) -> None:
    add_dataset(workspace, "cats", DatasetSpec("parquet", str(parquet), "image", "worse_label", "clean_label"))
    app = open_page("load")
    captions = [text for image in app.image for text in image.captions]
    assert any(EVIL in visible(text) for text in captions)
    assert not any("<b>" in text.replace("\\<", "") for text in captions)
    figure = dataset_view.class_chart(open_named(workspace, "cats"))
    assert "&lt;b&gt;*cat*&lt;/b&gt;" in figure.data[0].x


def test_every_image_is_checked_and_the_broken_one_listed(workspace: Workspace, parquet: Path) -> None:
    add_dataset(workspace, "cats", DatasetSpec("parquet", str(parquet), "image", "worse_label"))
    app = button(open_page("load"), "Check every image").click().run()
    assert not app.exception
    assert "1 image is unreadable and set aside" in app.warning[0].value
    assert app.dataframe[0].value["id"].tolist() == ["train-00005"]


def test_a_file_that_is_no_parquet_is_an_error_with_a_remedy(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    app = open_page("load")
    app.text_input(key="add_dataset_path").set_value(str(tmp_path / "bad.parquet")).run()
    assert "cannot be read as Parquet" in visible(app.error[0].value)
    assert not app.exception


def test_name_of_another_dataset_is_refused(workspace: Workspace, parquet: Path) -> None:
    add_digits(workspace)
    app = open_page("load")
    app.text_input(key="add_dataset_path").set_value(str(parquet)).run()
    name = next(field for field in app.text_input if field.label == "Name" and not field.disabled)
    name.set_value("digits").run()
    button(app, "Load").click().run()
    assert "another dataset is called" in visible(app.error[0].value)
    assert read_spec(workspace, "digits").kind == "digits"


@pytest.mark.parametrize(
    ("kind", "field", "make"),
    [
        ("folder", "add_dataset_folder", "folder"),
        ("manifest", "add_dataset_path", "labels.csv"),
        ("npz", "add_dataset_path", "arrays.npz"),
        ("cifar10n", "add_dataset_cifar10n_path", "cifar"),
    ],
)
def test_other_kinds_load_from_a_path(workspace: Workspace, tmp_path: Path, kind: str, field: str, make: str) -> None:
    path = tmp_path / make
    if kind == "npz":
        np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
    elif kind == "cifar10n":
        path.mkdir()
        pq.write_table(pa.table({"image": [png(9)] * 4, "clean_label": [0, 1, 2, 9]}), path / "test.parquet")
    else:
        for row in range(4):
            image = tmp_path / "folder" / "ab"[row % 2] / f"{row}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(png(row))
        frame = pd.DataFrame({"path": [f"folder/{'ab'[row % 2]}/{row}.png" for row in range(4)], "label": list("abab")})
        frame.to_csv(tmp_path / "labels.csv", index=False)
    app = choose_kind(open_page("load"), kind)
    app.text_input(key=field).set_value(str(path)).run()
    if kind == "cifar10n":
        app.radio(key="add_dataset_cifar10n_split").set_value("test").run()
    button(app, "Load").click().run()
    assert not app.exception and not app.error, [error.value for error in app.error]
    ((name, spec),) = list_datasets(workspace).items()
    assert spec.kind == kind
    assert len(open_named(workspace, name)) == 4


def test_digits_with_another_rate(workspace: Workspace) -> None:
    app = choose_kind(open_page("load"), "digits")
    app.slider(key="add_dataset_digits_rate").set_value(0.1).run()
    button(app, "Load").click().run()
    assert read_spec(workspace, "digits-noisy-10").options == {"split": "train", "rate": 0.1}


def test_upload_is_kept_under_a_name_of_ours(workspace: Workspace) -> None:
    class Upload(io.BytesIO):
        name = "../../evil.npz"

    path = keep_upload(workspace, Upload(b"abc"))
    assert path.parent == workspace.uploads
    assert path.name == "ba7816bf8f01cfea414140de5dae2223.npz"
    assert path.read_bytes() == b"abc"
    Upload.name = "evil.py"
    with pytest.raises(DataError, match=r"`upload` must be one of .*, got '.py'"):
        keep_upload(workspace, Upload(b"abc"))


def test_upload_is_hashed_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    class Upload(io.BytesIO):
        name, file_id = "a.npz", "one"

    state: dict[str, Any] = {}
    monkeypatch.setattr("pages.ui.upload.st.session_state", state)
    path = keep_upload(workspace, Upload(b"abc"))
    monkeypatch.setattr("pages.ui.upload.hashlib.sha256", None)
    assert keep_upload(workspace, Upload(b"abc")) == path


def test_deleting_a_model_asks_first(workspace: Workspace) -> None:
    add_model(workspace, "digits-base", "base")
    add_model(workspace, "digits-fvm", "fvm")
    app = go(open_page("load"), "checkpoint")
    app.selectbox(key="delete_model").set_value("digits-fvm").run()
    with running_job(workspace, "score", {"model": "digits-fvm"}, title="Score digits-fvm"):
        app.button(key="confirm_model_digits-fvm").click().run()
        assert 'in use by the job "Score digits-fvm"' in visible(app.error[0].value)
    app.button(key="confirm_model_digits-fvm").click().run()
    assert not app.exception and list(list_models(workspace)) == ["digits-base"]


def test_repaired_image_is_read_again(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("cats/a.png", "dogs/b.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "root" / name)
    add_dataset(workspace, "pets", DatasetSpec("folder", str(tmp_path / "root")))
    cache = PixelCache(open_cached(workspace, "pets"), size=32, channels=3, folder=workspace.cache)
    monkey = cache.path / "status.bin"
    monkey.write_bytes(bytes([0, 2]))
    assert list(cache.set_aside) == [1]
    app = button(open_page("load", dataset="pets"), "Check every image").click().run()
    assert "All 2 images can be read" in app.success[0].value


def test_image_added_to_a_folder_opens_it_anew(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("cats/a.png", "dogs/b.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "root" / name)
    spec = DatasetSpec("folder", str(tmp_path / "root"))
    add_dataset(workspace, "pets", spec)
    first = open_cached(workspace, "pets")
    Image.new("RGB", (8, 8)).save(tmp_path / "root" / "cats" / "c.png")
    assert len(open_cached(workspace, "pets")) == 3
    with pytest.raises(DataError, match="`pets` must be as it was when it was scored"):
        open_scored(spec, name="pets", fingerprint=first.fingerprint)


def test_stale_dataset_is_opened_anew_when_the_scores_know_a_newer_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.ui.open_data.spec_stamp", lambda spec: "always the same")
    for name in ("cats/a.png", "dogs/b.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "root" / name)
    spec = DatasetSpec("folder", str(tmp_path / "root"))
    assert len(open_spec_cached(spec)) == 2
    Image.new("RGB", (8, 8)).save(tmp_path / "root" / "cats" / "c.png")
    assert len(open_spec_cached(spec)) == 2
    assert len(open_scored(spec, name="pets", fingerprint=open_dataset(spec).fingerprint)) == 3


def test_thumbnail_of_an_odd_file_tells_what_is_wrong(tmp_path: Path) -> None:
    for name in ("cats/a.png", "dogs/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, "ICO" if name.startswith("dogs") else "PNG")
    dataset = open_dataset(DatasetSpec("folder", str(tmp_path)))
    assert thumbnail(dataset, 0)[0].startswith("data:image/png;base64,")
    assert thumbnail(dataset, 1)[0] == "" and "must be an undamaged" in thumbnail(dataset, 1)[1]


def test_deleting_asks_first_and_forgets_the_name(workspace: Workspace) -> None:
    add_digits(workspace)
    app = open_page("load", dataset="digits-validation")
    app.button(key="confirm_dataset_digits-validation").click().run()
    assert list(list_datasets(workspace)) == ["digits"]
    assert not app.exception


def test_import_starts_a_job_with_what_was_chosen(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "fvm_core.jobs.launch.start_job", lambda ws, kind, args, title="": started.append((kind, args)) or "x"
    )
    app = go(open_page("load"), "checkpoint")
    assert button(app, "Import checkpoint").disabled
    app.text_input(key="checkpoint_path").set_value("/data/net.pt").run()
    app.selectbox(key="checkpoint_arch").set_value("cifar_resnet18").run()
    app.number_input(key="checkpoint_width").set_value(16).run()
    button(app, "Import checkpoint").click().run()
    ((kind, args),) = started
    assert kind == "import_model"
    assert args == {
        "upload": "/data/net.pt",
        "file": "net.pt",
        "name": "net",
        "spec": {"arch": "cifar_resnet18", "width": 16},
    }


def test_uploaded_checkpoint_is_named_after_its_file_and_kept_when_asked_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("fvm_core.jobs.launch.start_job", lambda ws, kind, args, title="": started.append(args) or "x")
    app = go(open_page("load"), "checkpoint")
    app.get("button_group")[1].set_value("upload").run()
    app.file_uploader[0].set_value(("My Net (v2).pt", b"weights", "application/octet-stream")).run()
    name = next(field for field in app.text_input if field.label == "Name of the model")
    assert name.value == "my-net-v2" and not workspace.uploads.exists()
    button(app, "Import checkpoint").click().run()
    (args,) = started
    assert (args["file"], args["name"]) == ("My Net (v2).pt", "my-net-v2")
    assert Path(args["upload"]).read_bytes() == b"weights" and Path(args["upload"]).parent == workspace.uploads


def test_failed_import_shows_the_reason(workspace: Workspace) -> None:
    reason = "the architecture cannot be told from these tensors. Choose it (`arch`)."
    folder = ended_job(workspace, "import_model", {"name": "net"}, title="Import net", state="failed", error=reason)
    app = go(open_page("load", import_job=folder.id), "checkpoint")
    assert "cannot be told from these tensors" in visible(app.error[0].value)


def test_imported_models_are_listed(workspace: Workspace) -> None:
    add_model(workspace, "digits-base", "base")
    app = go(open_page("load"), "checkpoint")
    assert app.dataframe[0].value["name"].tolist() == ["digits-base"]


def test_rows_marked_clean_become_two_datasets(workspace: Workspace) -> None:
    add_digits(workspace)
    ids = open_named(workspace, "digits").ids[:30]
    app = go(open_page("load", dataset="digits"), "validation")
    app.get("button_group")[1].set_value("rows").run()
    app.radio(key="rows_how").set_value("ids").run()
    app.text_area(key="clean_ids").set_value("\n".join(ids)).run()
    button(app, "Split off 30 clean rows").click().run()
    assert not app.exception and not app.error, [error.value for error in app.error]
    clean, rest = open_named(workspace, "digits-clean"), open_named(workspace, "digits-rest")
    assert sorted(clean.ids) == sorted(ids)
    assert len(rest) == 1297 - 30 and not set(rest.ids) & set(ids)
    assert (app.session_state["validation"], app.session_state["dataset"]) == ("digits-clean", "digits-rest")


def test_unknown_ids_are_refused(workspace: Workspace) -> None:
    add_digits(workspace)
    with pytest.raises(DataError, match=r"`include` must name ids of the dataset"):
        clean_rows.split_off(workspace, "digits", ["nobody"], clean="a", rest="b")
    with pytest.raises(DataError, match=r"`ids` must hold at least one sample id, got none"):
        clean_rows.split_off(workspace, "digits", [], clean="a", rest="b")
    assert sorted(list_datasets(workspace)) == ["digits", "digits-validation"]


def test_splitting_twice_keeps_the_first_split(workspace: Workspace) -> None:
    add_digits(workspace)
    ids = open_named(workspace, "digits").ids
    clean_rows.split_off(workspace, "digits", ids[:10], clean="a", rest="b")
    clean_rows.split_off(workspace, "b", ids[10:15], clean="c", rest="d")
    assert sorted(open_named(workspace, "c").ids) == sorted(ids[10:15])
    assert set(open_named(workspace, "d").ids) == set(ids[15:])


def test_sample_for_marking_holds_images_and_given_labels(workspace: Workspace) -> None:
    add_digits(workspace)
    dataset = open_named(workspace, "digits")
    frame = clean_rows.sample(dataset, 20, seed=1)
    places = {str(one): index for index, one in enumerate(dataset.ids)}
    for row in frame.itertuples():
        assert row.label == dataset.class_names[dataset.labels[places[row.id]]]
        assert row.image.startswith("data:image/png;base64,")
    assert not frame["right"].any()
    assert frame["id"].is_unique


def test_overlap_part_finds_pairs_and_makes_a_set_without_them(workspace: Workspace) -> None:
    add_digits(workspace)
    ids = workspace.root / "ids.txt"
    ids.write_text("\n".join(open_named(workspace, "digits").ids[:7]))
    leak = DatasetSpec("digits", label="clean", include=str(ids), options={"split": "train"})
    add_dataset(workspace, "leak-clean", leak)
    app = go(open_page("load", dataset="digits", validation="leak-clean"), "overlap")
    found = len(app.dataframe[0].value)
    assert found >= 7
    button(app, "Make a training dataset without them").click().run()
    assert not app.exception
    assert len(open_named(workspace, "digits-no-overlap")) == 1297 - found
    assert "share no image" in app.success[0].value


def test_overlap_of_the_demo_sets_is_none(workspace: Workspace) -> None:
    add_digits(workspace)
    app = go(open_page("load", dataset="digits", validation="digits-validation"), "overlap")
    assert "The two sets share no image" in app.success[0].value
    assert "Make a training dataset without them" not in labels(app)


def test_validation_set_with_one_class_is_refused(workspace: Workspace) -> None:
    add_digits(workspace)
    add_model(workspace, "digits-base", "base")
    zeros = open_named(workspace, "digits-validation")
    ids = workspace.root / "ids.txt"
    ids.write_text("\n".join(zeros.ids[zeros.labels == 0]))
    add_dataset(workspace, "only-zeros", DatasetSpec("digits", label="clean", include=str(ids),
                                                     options={"split": "validation"}))  # fmt: skip
    app = go(open_page("load", model="digits-base", validation="only-zeros"), "validation")
    assert "must have at least two classes" in visible(app.error[0].value)


def test_open_dataset_is_kept_until_its_file_changes(workspace: Workspace, parquet: Path) -> None:
    add_dataset(workspace, "cats", DatasetSpec("parquet", str(parquet), "image", "worse_label"))
    first = open_cached(workspace, "cats")
    assert open_cached(workspace, "cats") is first
    table = pq.read_table(parquet).slice(0, 6)
    pq.write_table(table, parquet)
    assert len(open_cached(workspace, "cats")) == 6


def test_dataset_that_vanished_leaves_the_page_usable(workspace: Workspace, parquet: Path) -> None:
    add_dataset(workspace, "cats", DatasetSpec("parquet", str(parquet), "image", "worse_label"))
    parquet.unlink()
    app = open_page("load")
    assert "Check the path" in visible(app.error[0].value)
    assert "Add a dataset" in texts(app)
    app.button(key="confirm_dataset_cats").click().run()
    assert list_datasets(workspace) == {}


def test_uploaded_parquet_is_loaded_from_the_workspace(workspace: Workspace, parquet: Path) -> None:
    app = open_page("load")
    app.get("button_group")[1].set_value("upload").run()
    app.file_uploader[0].set_value(("../../x.parquet", parquet.read_bytes(), "application/octet-stream")).run()
    button(app, "Load").click().run()
    assert not app.exception and not app.error, [error.value for error in app.error]
    ((name, spec),) = list_datasets(workspace).items()
    assert Path(spec.path).parent == workspace.uploads and name == "x-worse_label"
    assert len(open_named(workspace, next(iter(list_datasets(workspace))))) == 12
