from pathlib import Path

import numpy as np
import pytest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.subset import take, write_ids
from fvm_core.errors import DataError


def test_include_and_exclude_keep_order_truth_and_pixels(tmp_path: Path) -> None:
    whole = open_dataset(DatasetSpec("digits"))
    assert write_ids(tmp_path / "in.txt", whole.ids[[9, 2, 5]]) == 3
    (tmp_path / "out.txt").write_bytes(b"\xef\xbb\xbf" + f"{whole.ids[5]}\r\n\r\n".encode())
    part = open_dataset(DatasetSpec("digits", include=str(tmp_path / "in.txt"), exclude=str(tmp_path / "out.txt")))
    assert part.ids.tolist() == whole.ids[[2, 9]].tolist()
    assert part.clean_labels.tolist() == whole.clean_labels[[2, 9]].tolist()
    np.testing.assert_array_equal(part.read(1), whole.read(9))
    assert part.class_names == whole.class_names
    assert part.fingerprint != whole.fingerprint


def test_include_and_exclude_split_a_set_in_two(tmp_path: Path) -> None:
    whole = open_dataset(DatasetSpec("digits"))
    write_ids(tmp_path / "a.txt", whole.ids[::3])
    one = open_dataset(DatasetSpec("digits", include=str(tmp_path / "a.txt")))
    other = open_dataset(DatasetSpec("digits", exclude=str(tmp_path / "a.txt")))
    assert sorted([*one.ids, *other.ids]) == sorted(whole.ids)


def test_take_without_truth() -> None:
    whole = open_dataset(DatasetSpec("digits"))
    blind = take(type(whole)(**{**vars(whole), "clean_labels": None}), np.array([4, 1]))
    assert blind.clean_labels is None
    assert blind.ids.tolist() == whole.ids[[4, 1]].tolist()


@pytest.mark.parametrize(
    ("field", "text", "match"),
    [
        ("include", "nobody\n", "`include` must name ids of the dataset, but 1 are not in it, such as 'nobody'"),
        ("exclude", "", "`exclude` file .* must hold at least one id"),
        ("exclude", "ALL", "must leave at least one row"),
        ("include", None, "`include` file .* cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, field: str, text: str | None, match: str) -> None:
    path = tmp_path / "ids.txt"
    if text is not None:
        path.write_text("\n".join(open_dataset(DatasetSpec("digits")).ids) if text == "ALL" else text)
    with pytest.raises(DataError, match=match):
        open_dataset(DatasetSpec("digits", **{field: str(path)}))
