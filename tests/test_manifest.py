import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from data_samples import png

from fvm_core.data import ids as ids_module
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for row in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / f"images/{row}.png").write_bytes(png(row))
    (tmp_path.parent / "secret.png").write_bytes(png(9))
    return tmp_path


def write(root: Path, text: str, name: str = "table.csv") -> DatasetSpec:
    (root / name).write_text(text, encoding="utf-8")
    return DatasetSpec("manifest", str(root / name))


ROWS = "path,label,truth\nimages/0.png,cat,cat\nimages/1.png,dog,\n./images/2.png,cat,dog\n"


def test_csv_columns_are_found_and_paths_made_plain(root: Path) -> None:
    spec = write(root, "\ufeff" + ROWS)
    dataset = open_dataset(DatasetSpec("manifest", spec.path, clean_label="truth"))
    assert dataset.ids.tolist() == ["images/0.png", "images/1.png", "images/2.png"]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.clean_labels.tolist() == [0, -1, 1]
    assert [dataset.read(row) for row in range(3)] == [png(row) for row in range(3)]


def test_tsv_parquet_ids_and_root(root: Path) -> None:
    (root / "tables").mkdir()
    spec = write(root / "tables", "file\tkind\tkey\n0.png\t5\t007\n1.png\t9\t7\n", "table.tsv")
    options = {"root": str(root / "images"), "id": "key"}
    dataset = open_dataset(DatasetSpec("manifest", spec.path, "file", "kind", options=options))
    assert dataset.ids.tolist() == ["007", "7"]
    assert dataset.class_names == ("5", "9")
    pq.write_table(pa.table({"path": ["images/2.png"], "label": [0]}), root / "table.parquet")
    assert open_dataset(DatasetSpec("manifest", str(root / "table.parquet"))).read(0) == png(2)


def test_absolute_paths_inside_the_root_are_taken(root: Path) -> None:
    dataset = open_dataset(write(root, f"path,label\n{root}/images/1.png,0\n"))
    assert dataset.ids.tolist() == ["images/1.png"]
    assert dataset.read(0) == png(1)


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "/etc/passwd", "images/../../secret.png", "..", "images\\\\..\\\\x.png", "~/x.png", "C:/x.png"],
)
def test_paths_that_leave_the_folder_are_refused_with_their_row(root: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"`path` must stay inside .* in row 1\."):
        open_dataset(write(root, f"path,label\nimages/0.png,0\n{path},1\n"))


def test_links_that_leave_the_folder_are_refused_when_read(root: Path) -> None:
    (root / "images/link.png").symlink_to(root.parent / "secret.png")
    (root / "sibling").symlink_to(root.parent)
    dataset = open_dataset(write(root, "path,label\nimages/link.png,0\nsibling/secret.png,1\nimages/0.png,1\n"))
    for row in (0, 1):
        with pytest.raises(DataError, match="must stay inside"):
            dataset.read(row)
    assert dataset.read(2) == png(0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("path,label\n", "at least one sample"),
        ("path,label\n,0\n", "`path` must be a path in every row, but is missing in row 0"),
        ("path,label\nimages/0.png,\n", "`label` must be set for every sample, but is missing in row 0"),
        ("path,label\nimages/0.png,0\nimages/0.png,1\n", "ids must be unique, got 'images/0.png' in rows 0 and 1"),
        ("path,label\nimages/0.png,0,5\n", "cannot be read as a table"),
        ("where,label\nimages/0.png,0\n", r"`image` must name a column .*\['where', 'label'\]"),
        ("path,label\nelsewhere/0.png,0\n", "none of the first 1 does .*Set `root`"),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_tables_are_named(root: Path, text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_dataset(write(root, text))


def test_binary_rubbish_and_missing_files_are_named(root: Path) -> None:
    (root / "bad.csv").write_bytes(b"path,label\n\xff\xfe\x00,1\n")
    for name in ("bad.csv", "none.csv", "none.parquet"):
        with pytest.raises(DataError, match="cannot be read as a table"):
            open_dataset(DatasetSpec("manifest", str(root / name)))


def test_long_paths_become_hashed_ids_with_a_note(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "MAX_ID_MEMORY", 10)
    dataset = open_dataset(write(root, ROWS))
    assert {len(name) for name in dataset.ids} == {16}
    assert "BLAKE2b" in dataset.notes[0]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_million_rows_take_memory_for_labels_only(root: Path) -> None:
    n = 1_000_000
    numbers = pa.array(np.arange(n)).cast(pa.string())
    names = pc.binary_join_element_wise("images/", numbers, ".png", "")
    path = root / "million.parquet"
    pq.write_table(pa.table({"path": names, "label": np.arange(n) % 7}), path)
    before = resident()
    dataset = open_dataset(DatasetSpec("manifest", str(path)))
    assert resident() - before < 400 * 2**20
    assert len(dataset) == n
    assert dataset.read(2) == png(2)
