"""Every export form, loaded by the library that it is for; and back again."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from other_python import run_with
from PIL import Image
from review_states import decision, states
from score_files import ArraySource, small_dataset

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import DataError, ReviewError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.kinds import KINDS, LIGHT
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.review.export import corrected_labels, write_export
from fvm_core.review.exports import fiftyone_folder, hugging_face, image_folder, label_studio
from fvm_core.review.exports.bundle import Bundle, make_bundle
from fvm_core.review.exports.cleanlab_table import issue_table, quality
from fvm_core.review.exports.forms import FORMS, form_of
from fvm_core.review.exports.images import png
from fvm_core.review.exports.job import run
from fvm_core.review.imports.cleanlab_table import read_issue_table
from fvm_core.review.imports.corrections import corrections_file
from fvm_core.review.imports.decision_file import read_decisions
from fvm_core.review.imports.decisions import Taken, import_decisions
from fvm_core.review.imports.label_studio import read_label_studio
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.workspace import Workspace

NAMES = ("cat", '<b onclick="x">dog', "../../owl", "=cow")


STATES = states()
FINAL = [0, 2, 2, 3, 3, 1, 2, 3, 0, 1, 2, 3]


class Broken(ArraySource):
    def read(self, row: int) -> Any:
        return b"no image" if row == 7 else super().read(row)


def reviewed() -> tuple[LabeledImages, pd.DataFrame]:
    """Return 12 samples, four of them decided; image 7 cannot be read."""
    dataset = small_dataset(12, 4)
    pixels = np.random.default_rng(1).integers(0, 256, (12, 5, 6, 3), dtype=np.uint8)
    dataset = replace(dataset, class_names=NAMES, source=Broken(pixels))
    scores = pd.DataFrame({"id": dataset.ids, "score": np.arange(12.0) / 10, "suggested": [1] * 12})
    return dataset, corrected_labels(dataset, STATES, scores=scores, method="loss")


def bundle(rows: str = "all", **more: Any) -> Bundle:
    dataset, frame = reviewed()
    return make_bundle(dataset, frame, {"from": "test"}, rows=rows, **more)


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_rows_all_decided_changed_or_named() -> None:
    assert bundle().frame["label"].tolist() == FINAL
    assert bundle("decided").indices.tolist() == [1, 3, 4] and bundle("changed").indices.tolist() == [1, 4]
    chosen = bundle("ids", ids=["img-0009", "img-0002", "elsewhere"])
    assert chosen.indices.tolist() == [2, 9] and chosen.frame["id"].tolist() == ["img-0002", "img-0009"]
    with pytest.raises(ReviewError, match="`rows` must leave at least one image"):
        bundle("ids", ids=["elsewhere"])
    with pytest.raises(ReviewError, match="`rows` must be one of"):
        bundle("some")
    dataset, frame = reviewed()
    with pytest.raises(ReviewError, match="must be those of this dataset"):
        make_bundle(replace(dataset, labels=dataset.labels[::-1].copy()), frame, {})
    with pytest.raises(ReviewError, match="`form` must be one of"):
        form_of("word")


def test_png_keeps_pixels_and_drops_whatever_else_the_file_carries() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    clean = png(file.getvalue() + b"<script>alert(1)</script>PK\x03\x04")
    assert b"script" not in clean and clean.endswith(b"IEND\xaeB`\x82")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(clean))), pixels)
    assert Image.open(io.BytesIO(png(pixels[:, :, 0]))).mode == "L"


def test_image_folder_is_read_by_torchvision_with_our_class_numbers(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    made = bundle()
    said = image_folder.write(made, tmp_path / "out", quiet)
    assert said["samples"] == 11 and list(said["unreadable"]) == ["img-0007"]
    found = ImageFolder(str(tmp_path / "out" / "images"))
    assert found.classes == ["0_cat", "1_b-onclick-x-dog", "2_owl", "3_cow"]
    places = [int(Path(path).stem) for path, _ in found.samples]
    assert {place: label for place, (_, label) in zip(places, found.samples, strict=True)} == {
        place: label for place, label in enumerate(FINAL) if place != 7
    }
    image, _ = found[places.index(4)]
    assert np.array_equal(np.asarray(image), made.dataset.read(4))
    table = pd.read_csv(tmp_path / "out" / "labels.csv")
    assert len(table) == 11 and "img-0007" not in set(table["id"]) and (table["formula_guard"] == "apostrophe").all()
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["1_b-onclick-x-dog"] == NAMES[1]
    ours = open_dataset(DatasetSpec("folder", path=str(tmp_path / "out" / "images")))
    assert sorted(ours.labels.tolist()) == sorted(FINAL[:7] + FINAL[8:])


def test_hugging_face_datasets_read_images_and_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="tests/requirements.txt has it")
    monkeypatch.setattr(hugging_face, "SHARD", 5)
    monkeypatch.setattr(hugging_face, "GROUP_ROWS", 2)
    made = bundle()
    hugging_face.write(made, tmp_path / "out", quiet)
    files = sorted((tmp_path / "out" / "data").glob("*.parquet"))
    assert [file.name for file in files] == [f"train-0000{k}-of-00003.parquet" for k in range(3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data"], "no notes are left"
    found = datasets.load_dataset(
        "parquet", data_files=[str(file) for file in files], split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(found.features["image"], datasets.Image) and found.features["label"].names == list(NAMES)
    assert found["label"] == FINAL[:7] + FINAL[8:] and found["given_label"][4] == 0 and found["action"][4] == "pick"
    assert np.array_equal(np.asarray(found[3]["image"]), made.dataset.read(3))
    ours = open_dataset(DatasetSpec("parquet", path=str(tmp_path / "out" / "data"), options={"id": "id"}))
    assert ours.class_names == NAMES and ours.labels.tolist() == FINAL[:7] + FINAL[8:]
    assert ours.ids[3] == "img-0003" and isinstance(ours.read(3), bytes)


def test_hugging_face_export_that_was_stopped_keeps_its_whole_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugging_face, "SHARD", 5)
    monkeypatch.setattr(hugging_face, "EVERY", 1)

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise JobStopped

    made = bundle()
    with pytest.raises(JobStopped):
        hugging_face.write(made, tmp_path / "out", stop)
    first = tmp_path / "out" / "data" / "train-00000-of-00003.parquet"
    before = first.stat().st_mtime_ns
    said = hugging_face.write(made, tmp_path / "out", quiet)
    assert first.stat().st_mtime_ns == before and said["samples"] == 11 and list(said["unreadable"]) == ["img-0007"]


def test_cleanlab_takes_the_table_and_it_looks_like_its_own() -> None:
    cleanlab = pytest.importorskip("cleanlab")
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3))
    dataset = replace(small_dataset(60, 3), labels=labels)
    states = {sample: decision(sample, "pick", (k % 3 + 1) % 3, k % 3) for k, sample in enumerate(dataset.ids[:6])}
    scores = pd.DataFrame({"id": dataset.ids, "score": rng.exponential(size=60), "suggested": labels})
    table = issue_table(corrected_labels(dataset, states, scores=scores, method="loss"))
    assert table["is_label_issue"].tolist() == [True] * 6 + [False] * 54
    assert table["predicted_label"].tolist()[:3] == [1, 2, 0]
    trained = CleanLearning(LogisticRegression()).fit(x, labels, label_issues=table.reset_index(drop=True))
    assert trained.get_label_issues()["is_label_issue"].sum() == 6
    own = cleanlab.Datalab({"y": labels}, label_name="y", verbosity=0)
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), labels] = 0.8
    own.find_issues(pred_probs=probabilities, issue_types={"label": {}})
    theirs = own.get_issues("label")
    assert list(table.columns) == list(theirs.columns)
    assert [kind.kind for kind in table.dtypes] == [kind.kind for kind in theirs.dtypes]


def test_quality_is_the_probability_where_the_score_is_one_and_a_rank_elsewhere() -> None:
    frame = pd.DataFrame(
        {"method": ["loss", "loss", "influence", "influence", "standard", "standard", ""],
         "score": [0.0, np.log(4), 5.0, 1.0, -3.0, 2.0, np.nan]}
    )  # fmt: skip
    found = quality(frame)
    np.testing.assert_allclose(found[:6], [1, 0.25, 0, 1, 0, 1])
    assert np.isnan(found[6])


def test_cleanlab_table_comes_back_as_corrections(workspace: Workspace) -> None:
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy"))
    digits = open_named(workspace, "digits")
    predicted = digits.labels.copy()
    predicted[[3, 8]] = (predicted[[3, 8]] + 1) % 10
    theirs = pd.DataFrame(
        {"is_label_issue": predicted != digits.labels, "label_score": 0.5, "given_label": digits.labels,
         "predicted_label": predicted}
    )  # fmt: skip
    theirs.to_csv(path := workspace.root / "issues.csv", index=False)
    table = corrections_file(workspace, path, digits)
    assert corrections_file(workspace, path, digits) == table and len(list(workspace.uploads.iterdir())) == 1
    again = open_dataset(with_corrections(digits.spec, table))
    assert np.array_equal(again.labels, predicted)
    named = theirs.assign(id=digits.ids).iloc[::-1]
    named.to_parquet(other := workspace.root / "issues.parquet")
    assert set(read_issue_table(other, digits)["id"]) == set(digits.ids[[3, 8]])
    theirs[:-1].to_csv(path, index=False)
    with pytest.raises(DataError, match="must have a row for each of the 1,297 samples"):
        read_issue_table(path, digits)
    theirs.assign(given_label=(digits.labels + 1) % 10).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"`given_label` in .* must be the label of the dataset"):
        read_issue_table(path, digits)
    theirs.assign(predicted_label=12).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"`predicted_label` in .* must be a class of the dataset"):
        read_issue_table(path, digits)
    named.assign(id="elsewhere").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"`id` in .* must be an id of the dataset"):
        read_issue_table(path, digits)


def test_label_studio_validates_interface_tasks_predictions_and_annotations(tmp_path: Path) -> None:
    label_studio.write(bundle(), tmp_path / "out", quiet)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert len(tasks) == 11 and sum(len(task["annotations"]) for task in tasks) == 3
    assert tasks[4]["annotations"][0]["result"][0]["value"]["choices"] == [NAMES[3]]
    assert tasks[4]["predictions"][0]["result"][0]["value"]["choices"] == [NAMES[2]]
    for task in tasks:
        assert (tmp_path / task["data"]["image"].partition("?d=")[2]).exists()
    found = run_with("label_studio_sdk", "label_studio_check.py", tmp_path / "out")
    assert found == {"labels": list(NAMES), "tasks": 11, "predictions": 11, "annotations": 3}


def answered(task: dict[str, Any], name: str, at: str, **more: Any) -> None:
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [name]}}]
    task["annotations"].append({"result": result, "updated_at": at, **more})


def test_label_studio_json_comes_back_the_latest_answer_of_each_task(tmp_path: Path) -> None:
    made = bundle("decided")
    label_studio.write(made, tmp_path / "out", quiet)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    answered(tasks[0], NAMES[3], "2026-02-01")
    answered(tasks[0], NAMES[0], "2026-01-01")
    answered(tasks[0], NAMES[1], "2026-03-01", was_cancelled=True)
    tasks[1]["annotations"] = []
    (path := tmp_path / "export.json").write_text(json.dumps(tasks))
    found = read_label_studio(path, made.dataset)
    assert dict(zip(found["id"], found["label"], strict=True)) == {"img-0001": 3, "img-0004": 3}
    flat = [{**task["data"], "id": k, "label": NAMES[0]} for k, task in enumerate(tasks)]
    path.write_text(json.dumps(flat))
    assert read_label_studio(path, made.dataset)["label"].tolist() == [0, 0, 0]
    for change, message in (
        ({"sample_id": "x"}, "`sample_id` of task 0 .* must be an id of the dataset"),
        ({"label": {"choices": ["cat", "=cow"]}}, "task 0 .* must have one choice out of the 4 classes"),
        ({"label": "lion"}, "must have one choice"),
        ({"dataset_fingerprint": "f" * 64}, "must be made for this dataset"),
    ):
        path.write_text(json.dumps([{**flat[0], **change}]))
        with pytest.raises(DataError, match=message):
            read_label_studio(path, made.dataset)
    for text, message in (("{}", "must be a list of tasks"), ("[]", "at least one answered task")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_label_studio(path, made.dataset)


def test_fiftyone_folder_has_its_documented_layout(tmp_path: Path) -> None:
    fiftyone_folder.write(bundle(), tmp_path / "out", quiet)
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert labels["classes"] == list(NAMES) and len(labels["labels"]) == 11
    assert set(labels["labels"]) == {path.stem for path in (tmp_path / "out" / "data").iterdir()}
    picked = labels["labels"]["00000004"]
    assert picked["label"] == NAMES[3] and picked["attributes"]["given_label"] == "cat"
    assert picked["attributes"]["action"] == "pick" and picked["attributes"]["score"] == 7.5


def test_fiftyone_reads_the_folder(tmp_path: Path) -> None:
    fiftyone_folder.write(bundle(), tmp_path / "out", quiet)
    found = run_with("fiftyone", "fiftyone_check.py", tmp_path / "out")
    assert found["classes"] == list(NAMES) and len(found["labels"]) == 11
    assert found["labels"]["00000004"] == [NAMES[3], "cat"]


def work(workspace: Workspace, context: Any, form: str, **more: Any) -> dict[str, Any]:
    if not (workspace.datasets / "digits.json").exists():
        add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy", options={"split": "validation"}))
    digits = open_named(workspace, "digits")
    sample = str(digits.ids[5])
    states = {sample: decision(sample, "pick", 3, int(digits.labels[5]))}
    files = write_export(workspace, "frozen", corrected_labels(digits, states), {"session": "s"})
    args = {"spec": digits.spec.to_json(), "fingerprint": digits.fingerprint, "labels": files.parquet.name}
    return run(context, {**args, "form": form, "name": "My export", **more}, workspace)


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_is_written_by_the_job(workspace: Workspace, tmp_path: Path, form: str) -> None:
    said = work(workspace, MemoryContext(tmp_path / "job"), form, rows="decided")
    path = Path(said["path"])
    assert said["samples"] == 1 and said["unreadable"] == 0 and said["bytes"] > 0 and path.parent == workspace.exports
    assert path.name == "my-export" + FORMS[form].suffix
    if not FORMS[form].suffix:
        assert json.loads((path / "about.json").read_text())["session"] == "s"
        with pytest.raises(ReviewError, match=r"a folder .* exists"):
            work(workspace, MemoryContext(tmp_path / "again"), form)
    assert KINDS["export"] == "fvm_core.review.exports.job:run" and "export" in LIGHT


def test_stopped_export_leaves_nothing_and_goes_on_where_it_was(workspace: Workspace, tmp_path: Path) -> None:
    context = MemoryContext(tmp_path / "job", stop_at=3)
    with pytest.raises(JobStopped):
        work(workspace, context, "imagefolder", packed=True)
    assert [path.suffix for path in workspace.exports.iterdir() if path.name.startswith("my-")] == []
    made = sorted((tmp_path / "job").rglob("*.png"))
    assert 0 < len(made) < 500
    first = io.BytesIO(made[0].read_bytes())
    Image.new("RGB", Image.open(first).size, "red").save(made[0])
    kept = made[0].read_bytes()
    context.stop_at = None
    said = work(workspace, context, "imagefolder", packed=True)
    assert said["samples"] == 500 and Path(said["path"]).name == "my-export.zip"
    with zipfile.ZipFile(said["path"]) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        (again,) = [name for name in names if name.endswith(f"/{made[0].name}")]
        assert archive.read(again) == kept, "what was written before the stop is not written again"
    assert sum(name.endswith(".png") for name in names) == 500
    assert all(name.startswith("my-export/") and ".." not in name for name in names)


@pytest.mark.parametrize("form", [key for key in FORMS if not FORMS[key].suffix])
def test_job_killed_between_its_result_and_its_last_words_knows_its_own_folder(
    workspace: Workspace, tmp_path: Path, form: str
) -> None:
    said = work(workspace, MemoryContext(tmp_path / "job"), form)
    before = {path: path.stat().st_mtime_ns for path in Path(said["path"]).rglob("*")}
    assert work(workspace, MemoryContext(tmp_path / "job"), form) == said
    assert {path: path.stat().st_mtime_ns for path in Path(said["path"]).rglob("*")} == before


def test_job_refuses_a_dataset_that_has_changed(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be as it was when it was reviewed"):
        work(workspace, MemoryContext(tmp_path), "csv", fingerprint="0" * 64)
    with pytest.raises(ReviewError, match=r"reviewed labels .* cannot be read"):
        work(workspace, MemoryContext(tmp_path), "csv", labels="../../etc/passwd")
    (ids := tmp_path / "ids.json").write_text('{"a": 1}')
    with pytest.raises(ReviewError, match="`ids` must be a JSON list"):
        work(workspace, MemoryContext(tmp_path), "csv", rows="ids", ids=str(ids))


def test_import_of_decisions_is_idempotent_and_an_undo_holds(workspace: Workspace) -> None:
    from fvm_core.review.decision import Entry

    dataset, frame = reviewed()
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="in", reviewer="Bo", dataset="d", fingerprint=dataset.fingerprint)

    def take(table: pd.DataFrame) -> Taken:
        return import_decisions(log, session.id, table, dataset, reviewer="Bo")

    assert take(frame) == Taken(4, 0, ()) and take(frame) == Taken(0, 4, ())
    states = log.replay(session.id).states()
    assert {sample: (one.action, one.label) for sample, one in states.items()} == {
        sample: (one.action, one.label) for sample, one in STATES.items()
    }
    assert {one.reviewer for one in states.values()} == {"Bo"}
    log.append(
        session.id, [Entry(client="t", seq=1, sample="img-0001", action="undo", label=None, given=1)], reviewer="Bo"
    )
    assert take(frame) == Taken(0, 4, ()) and "img-0001" not in log.replay(session.id).states()
    with pytest.raises(ReviewError, match="must have the columns"):
        take(frame.drop(columns="action"))
    with pytest.raises(ReviewError, match="made for another"):
        take(frame.assign(dataset_fingerprint="f"))
    log.close()


def test_import_refuses_rows_one_by_one_and_says_why(workspace: Workspace) -> None:
    dataset = small_dataset(12, 4)
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name="in", reviewer="Bo", dataset="d", fingerprint=dataset.fingerprint)
    rows = [
        ("img-0000", 2, "pick", ""),
        ("elsewhere", 2, "pick", "`id` must be a sample of this dataset"),
        ("img-0001", 9, "pick", r"`label` must be a class in \[0, 4\) that is kept or given, got 'pick' with 9"),
        ("img-0002", "lion", "pick", "got 'pick' with 'lion'"),
        ("img-0003", np.nan, "pick", "got 'pick' with nan"),
        ("img-0004", 3, "keep", r"must be the given one \(0\) to keep it, got 3"),
        ("img-0005", 1, "undo", "got 'undo' with 1"),
        ("img-0006", 1, "burn", "`action` must be one of"),
        ("img-0007", 3, "keep", ""),
        ("img-0008", 3, "", None),
    ]
    frame = pd.DataFrame([row[:3] for row in rows], columns=["id", "label", "action"])
    taken = import_decisions(log, session.id, frame, dataset, reviewer="Bo")
    wanted = [(sample, why) for sample, _, _, why in rows if why]
    assert (taken.new, taken.known) == (2, 0) and [one.sample for one in taken.refused] == [one for one, _ in wanted]
    for refused, (_, why) in zip(taken.refused, wanted, strict=True):
        assert re.search(why, refused.why), refused
    assert taken.words == "2 new, 0 known already, 7 refused"
    other = pd.DataFrame({"id": ["img-0000", "img-0007"], "label": [1, 3], "action": ["pick", "keep"]})
    again = import_decisions(log, session.id, other, dataset, reviewer="Bo")
    assert (again.new, again.known, again.overruled) == (1, 1, 1)
    assert log.replay(session.id).states()["img-0000"].label == 1
    log.close()


def test_decisions_come_out_of_label_studio_and_cleanlab_too(tmp_path: Path) -> None:
    made = bundle("decided")
    label_studio.write(made, tmp_path / "out", quiet)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    answered(tasks[0], NAMES[int(made.dataset.labels[1])], "2026-02-01")
    (path := tmp_path / "export.json").write_text(json.dumps(tasks))
    found = read_decisions(path, made.dataset).set_index("id")
    assert found.loc["img-0001", "action"] == "keep" and found.loc["img-0004", "action"] == "pick"
    theirs = pd.DataFrame(
        {"id": made.dataset.ids, "is_label_issue": np.arange(12) == 2, "label_score": 0.5,
         "given_label": made.dataset.labels, "predicted_label": 0}
    )  # fmt: skip
    theirs.to_csv(path := tmp_path / "issues.csv", index=False)
    assert read_decisions(path, made.dataset).to_dict("records") == [{"id": "img-0002", "label": 0, "action": "pick"}]
