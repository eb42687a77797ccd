import numpy as np
import pyarrow as pa
import pytest

from fvm_core.data.dataset import UNKNOWN
from fvm_core.data.labels import encode_labels, parse_class_names
from fvm_core.errors import DataError


def test_contiguous_integers_stay_as_they_are() -> None:
    found = encode_labels(np.array([2, 0, 1, 1], np.int16))
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [2, 0, 1, 1]
    assert found.names == ("0", "1", "2")
    assert found.notes == ()


def test_gaps_are_renumbered_with_a_note() -> None:
    found = encode_labels([0, 7, 2, 7], [0, 2, -1, None])
    assert found.labels.tolist() == [0, 2, 1, 2]
    assert found.names == ("0", "2", "7")
    assert found.clean is not None and found.clean.tolist() == [0, 1, UNKNOWN, UNKNOWN]
    assert "renumbered" in found.notes[0]


def test_classes_of_the_truth_count_too() -> None:
    found = encode_labels(["cat", "dog"], ["cat", "ant"])
    assert found.names == ("ant", "cat", "dog")
    assert found.labels.tolist() == [1, 2]
    assert found.clean is not None and found.clean.tolist() == [1, 0]


def test_words_follow_given_names_and_numbers_sort_as_numbers() -> None:
    assert encode_labels(["b", "a"], names=("b", "a")).labels.tolist() == [0, 1]
    assert encode_labels(["10", "9"]).names == ("9", "10")
    assert encode_labels(["1", "0"], names=("cat", "dog")).labels.tolist() == [1, 0]
    assert encode_labels([True, False]).names == ("false", "true")


def test_dictionary_and_chunked_columns_are_read() -> None:
    column = pa.chunked_array([pa.array(["x", "y"]).dictionary_encode(), pa.array(["y", "y"]).dictionary_encode()])
    assert encode_labels(column).labels.tolist() == [0, 1, 1, 1]
    assert encode_labels(pa.chunked_array([[1, 0], [1]])).labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "names", "match"),
    [
        ([], None, "at least one sample"),
        ([0, None, 1], None, r"`given` must be set for every sample, but is missing in row 1"),
        ([0.0, float("nan"), float("nan")], None, r"missing in 2 rows \(1, 2\)"),
        (["a", " "], None, "missing in row 1"),
        ([0, 3], ("a", "b"), r"0 <= label < 2 .*got 3 in row 1"),
        ([0, -1], ("a", "b"), "got -1 in row 1"),
        ([0, -1], None, r"`given` must be >= 0, got -1 in row 1"),
        (["a", "c"], ("a", "b"), r"one of the 2 class names, got 'c' in row 1"),
        ([0.5, 1.0], None, "whole numbers or words"),
        ([b"\x00"], None, "whole numbers or words, got binary"),
        (list(range(200)), None, "200 different values in 200 rows"),
    ],
)
def test_bad_labels_are_named_by_row(labels: list, names: tuple[str, ...] | None, match: str) -> None:
    with pytest.raises(DataError, match=match):
        encode_labels(labels, names=names, what="given")


def test_truth_outside_the_names_and_of_other_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"`clean_label` must be 0 <= label < 2"):
        encode_labels([0, 1], [0, 5], names=("a", "b"))
    with pytest.raises(DataError, match=r"`clean_label` must be as long as `label`"):
        encode_labels([0, 1], [0])


def test_class_names_come_from_lists_json_and_commas() -> None:
    assert parse_class_names("a, b") == parse_class_names(b'["a", "b"]') == parse_class_names(["a", "b"]) == ("a", "b")
    assert parse_class_names("") is None
    assert parse_class_names(None) is None
    for wrong in ("a,a", "a,,b"):
        with pytest.raises(DataError, match="must be distinct"):
            parse_class_names(wrong)
    with pytest.raises(DataError, match="must be a JSON list"):
        parse_class_names("[a")
