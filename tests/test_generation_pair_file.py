"""Files of pairs: round trips, and each way in which a file can be bad."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvm_core.errors import DataError
from fvm_core.generation.pair_file import read_pair_file, write_pair_file
from fvm_core.generation.pairs import PairSet, text_pairs

PAIRS = text_pairs(
    ["Say \u00e9", "two\nlines"], ["\u00e9", 'a "quote"'], classes=["x", "y"], wrong=[True, False], notes=["drawn"]
)


def test_parquet_gives_the_same_set_again(tmp_path: Path) -> None:
    write_pair_file(tmp_path / "a.parquet", PAIRS)
    again = read_pair_file(tmp_path / "a.parquet")
    assert again == PAIRS and again.notes == ("drawn",)


def test_images_keep_ids_and_root(tmp_path: Path) -> None:
    pairs = PairSet(ids=("1f", "2f"), prompts=("a", "a"), targets=("1.png", "2.png"), kind="image", root="/pictures")
    write_pair_file(tmp_path / "a.parquet", pairs)
    assert read_pair_file(tmp_path / "a.parquet") == pairs


def test_jsonl_keeps_texts_and_classes(tmp_path: Path) -> None:
    write_pair_file(tmp_path / "a.jsonl", PAIRS)
    again = read_pair_file(tmp_path / "a.jsonl")
    assert (again.ids, again.prompts, again.targets, again.classes) == (
        PAIRS.ids,
        PAIRS.prompts,
        PAIRS.targets,
        PAIRS.classes,
    )


def test_foreign_parquet_needs_prompt_and_target_only(tmp_path: Path) -> None:
    table = pa.table({"target": ["x", "y"], "prompt": ["a", "b"], "more": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_pair_file(tmp_path / "a.parquet") == text_pairs(["a", "b"], ["x", "y"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a", "target": "b"}\nnot json\n', r"line 2 of .* must be JSON"),
        ('["a", "b"]\n', r"line 1 of .* must be an object such as"),
        ('{"prompt": "a"}\n', r"must have `prompt` and `target` in every row, but has no `target`"),
        ('{"prompt": "a", "target": "b"}\n{"prompt": "c"}\n', r"`target` must be text, got None in row 1"),
        ('{"prompt": "a", "target": 3}\n', r"`target` must be text, got 3 in row 0"),
        ('{"prompt": "a", "target": ""}\n', r"`targets` must not be empty, but that of pair 0"),
        (
            '{"prompt": "a", "target": "b", "class": "x"}\n{"prompt": "c", "target": "d"}\n',
            r"`class` must be text, in every row or in none, got None in row 1",
        ),
        ('{"prompt": "a", "target": "b", "wrong": 1}\n', r"`wrong` must be true or false.*got 1 in row 0"),
        ("", r"has no `prompt`"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        read_pair_file(tmp_path / "a.jsonl")


def test_bytes_that_are_no_text_and_damaged_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"must be UTF-8 text"):
        read_pair_file(tmp_path / "a.jsonl")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=r"cannot be read as Parquet"):
        read_pair_file(tmp_path / "a.parquet")


def test_other_endings_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file"):
        read_pair_file(tmp_path / "a.jsonl")
    (tmp_path / "a.csv").write_text("prompt,target\n")
    with pytest.raises(DataError, match=r"must end in .jsonl or .parquet, got `a.csv`"):
        read_pair_file(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"must end in .jsonl or .parquet, got `a.txt`"):
        write_pair_file(tmp_path / "a.txt", PAIRS)
