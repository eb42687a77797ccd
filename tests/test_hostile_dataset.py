"""What a hostile dataset can do: nothing. Names, images and archives made to break out, against every way they take."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from app_pages import open_page
from hostile import NAMES, SCRIPT, SVG, bomb, dataset, html_in_png, png, zip_in_png
from PIL import Image
from score_files import write_score_file

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.images import decode_image, thumbnail_png
from fvm_core.data.open import open_dataset
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.data.subset import write_ids
from fvm_core.errors import DataError
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.review.export import corrected_labels, write_export
from fvm_core.review.exports.forms import FORMS
from fvm_core.review.exports.images import png as export_png
from fvm_core.review.exports.job import run
from fvm_core.visible import visible
from fvm_core.workspace import Workspace
from pages.ui.figures import text as chart_text
from pages.ui.text import message, plain

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@pytest.fixture
def hostile(workspace: Workspace) -> LabeledImages:
    add_dataset(workspace, "hostile", dataset(workspace.root))
    return open_named(workspace, "hostile")


@pytest.mark.parametrize("name", NAMES)
def test_names_show_as_plain_text_on_every_way_to_the_screen(name: str) -> None:
    for shown in (plain(name), message(f"class `{name}` must"), visible(name)):
        assert not any(char in shown for char in (*BIDI, "\x00", "\x1b", "\n")) and len(shown) < 4100
    assert "<" not in chart_text(name) and len(plain(name)) < 700
    assert "<" not in plain(name).replace("\\<", ""), "every < of Markdown is escaped"


def test_characters_that_turn_a_line_or_hide_are_written_out_and_scripts_that_need_joiners_are_left() -> None:
    assert plain(BIDI).count("U") == len(BIDI) and "\u202e" not in message("`a\u202eb`")
    assert visible("نمی\u200cخواهم") == "نمی\u200cخواهم" and visible("👩\u200d🔬") == "👩\u200d🔬"
    assert visible("\ud800x\u200b") == "<U+D800>x<U+200B>"


def test_every_page_opens_with_a_hostile_dataset_and_draws_no_markup(
    workspace: Workspace, hostile: LabeledImages
) -> None:
    scores = np.random.default_rng(0).exponential(1, (len(hostile), hostile.num_classes))
    path = workspace.scores / "fvm" / "posterior.parquet"
    write_score_file(path, hostile, scores, method="posterior", name="hostile")
    app = open_page("home", dataset="hostile", validation="hostile")
    for page in ("load", "score", "compare", "review", "tune"):
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, page
        for kind in ("markdown", "caption", "info", "warning", "error", "success", "title", "header", "subheader"):
            for element in app.get(kind):
                bare = str(element.value).replace("\\<", "")
                assert SCRIPT not in bare and "<img src=x" not in bare and "](javascript:" not in bare, element
        for element in app.get("html"):
            body = str(element.proto.body)
            assert SCRIPT not in body and "onerror=" not in body.replace("onerror=&quot;", "")


@pytest.mark.parametrize("form", list(FORMS))
def test_exports_keep_to_names_of_ours_and_their_own_folder(
    workspace: Workspace, hostile: LabeledImages, tmp_path: Path, form: str
) -> None:
    files = write_export(workspace, "labels", corrected_labels(hostile, {}), {})
    args = {"spec": hostile.spec.to_json(), "fingerprint": hostile.fingerprint, "labels": files.parquet.name,
            "form": form, "name": "../../../tmp/<b>", "packed": True}  # fmt: skip
    before = {path for path in tmp_path.rglob("*")}
    path = Path(run(MemoryContext(tmp_path / "job"), args, workspace)["path"])
    assert path.parent == workspace.exports and path.name.startswith("tmp-b")
    made = {path for path in tmp_path.rglob("*")} - before
    assert all(one.is_relative_to(tmp_path / "job") or one.is_relative_to(workspace.exports) for one in made)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            texts = [archive.read(name) for name in names if name.endswith((".json", ".xml"))]
        assert all(name.isascii() and name.startswith("tmp-b/") for name in names)
        assert not any(part in ("..", "") for name in names for part in name.split("/")) and "<" not in "".join(names)
        assert all(json.loads(text) for text in texts if not text.startswith(b"<"))
    if path.suffix == ".csv":
        raw = pd.read_csv(path, keep_default_na=False)
        cells = raw.select_dtypes(exclude="number").to_numpy().ravel()
        assert not any(str(cell).lstrip().startswith(("=", "+", "@")) for cell in cells)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_hostile_names_and_ids_come_back_from_our_own_tables(
    workspace: Workspace, hostile: LabeledImages, suffix: str
) -> None:
    files = write_export(workspace, "labels", corrected_labels(hostile, {}), {})
    again = open_dataset(with_corrections(hostile.spec, str(getattr(files, suffix))))
    assert np.array_equal(again.labels, hostile.labels)


@pytest.mark.parametrize("data", [html_in_png(), zip_in_png()], ids=["html in png", "zip in png"])
def test_polyglots_leave_as_pixels_only(data: bytes) -> None:
    for made in (thumbnail_png(data), export_png(data)):
        assert made.startswith(b"\x89PNG") and made.endswith(b"IEND\xaeB`\x82")
        assert b"script" not in made and not zipfile.is_zipfile(io.BytesIO(made))
        assert Image.open(io.BytesIO(made)).info.get("Comment") is None


def test_bombs_svg_cut_files_and_other_formats_are_refused_by_name() -> None:
    for data, match in (
        (bomb(), "at most 50,000,000 pixels"), (SVG, "unknown format"), (png()[:60], "cannot be decoded"),
        (b"<html>" + png(), "unknown format"), (b"GIF89a", "cannot be decoded"), (b"", "unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "unknown format"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=match):
            decode_image(data, channels=3)


def test_the_first_bytes_decide_the_format_and_not_the_name(tmp_path: Path) -> None:
    for folder, data in (("a", png()), ("b", SVG)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(data)
    found = open_dataset(DatasetSpec("folder", path=str(tmp_path)))
    assert thumbnail_png(found.read(0)).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="unknown format"):
        thumbnail_png(found.read(1))


def parquet(folder: Path, **columns: Any) -> DatasetSpec:
    n = len(next(iter(columns.values())))
    pq.write_table(pa.table({"image": pa.array([png()] * n, pa.binary()), **columns}), path := folder / "x.parquet")
    return DatasetSpec("parquet", path=str(path), image="image", label="label")


def test_one_long_id_does_not_set_the_width_of_all(tmp_path: Path) -> None:
    n = 2000
    spec = parquet(
        tmp_path, label=pa.array([k % 2 for k in range(n)]), key=pa.array(["x" * 1_000_000, *map(str, range(n - 1))])
    )
    found = open_dataset(DatasetSpec(**{**spec.__dict__, "options": {"id": "key"}}))
    assert found.ids.nbytes < 1_000_000 and len(set(found.ids.tolist())) == n and "BLAKE2b" in found.notes[-1]


def test_nested_and_huge_values_are_refused_by_name(tmp_path: Path) -> None:
    for labels in (pa.array([[0], [1]]), pa.array([{"a": 0}, {"a": 1}]), pa.array([[[0]], [[1]]])):
        with pytest.raises(DataError, match="`label` must"):
            open_dataset(parquet(tmp_path, label=labels))
    with pytest.raises(DataError, match="`key` must hold text"):
        spec = parquet(tmp_path, label=pa.array([0, 1]), key=pa.array([[1], [2]]))
        open_dataset(DatasetSpec(**{**spec.__dict__, "options": {"id": "key"}}))
    big = open_dataset(parquet(tmp_path, label=pa.array(["a" * 10_000_000, "b"])))
    assert len(plain(big.class_names[0])) < 700
    with pytest.raises(DataError, match="at most 256 MiB"):
        decode_image(b"\x89PNG" + bytes(300 * 2**20), channels=3)


def test_ids_that_a_list_of_lines_cannot_hold_are_refused(tmp_path: Path) -> None:
    for sample in ("a\nb", " a", "a\t"):
        with pytest.raises(DataError, match="ids must have no line break"):
            write_ids(tmp_path / "ids.txt", ["fine", sample])
    assert write_ids(tmp_path / "ids.txt", ["a b", "=1"]) == 2


def test_paths_in_an_archive_do_not_leave_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(path := tmp_path / "slip.npz", "w") as archive:
        for name in ("../../escaped.npy", "images.npy", "labels.npy"):
            np.save(body := io.BytesIO(), np.zeros((2, 4, 4) if "labels" not in name else 2, np.uint8))
            archive.writestr(name, body.getvalue())
    found = open_dataset(DatasetSpec("npz", path=str(path)))
    assert len(found) == 2 and found.read(1).shape == (4, 4)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["slip.npz"]
    assert not (tmp_path.parent / "escaped.npy").exists() and not (tmp_path.parent.parent / "escaped.npy").exists()
