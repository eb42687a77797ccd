from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.subset import take
from fvm_core.data.validation import align_classes, check_head, check_names, check_validation, with_names_of
from fvm_core.errors import DataError

DIGITS = DatasetSpec("digits", options={"split": "validation"})


def renamed(dataset: LabeledImages, names: tuple[str, ...], labels: np.ndarray) -> LabeledImages:
    return type(dataset)(**{**vars(dataset), "class_names": names, "labels": labels})


def test_a_sound_set_passes() -> None:
    dataset = open_dataset(DIGITS)
    check_validation(dataset, 10, class_names=dataset.class_names)
    check_validation(dataset, 12, class_names=(*dataset.class_names, "x", "y"))


def test_what_cannot_serve_is_named() -> None:
    dataset = open_dataset(DIGITS)
    with pytest.raises(DataError, match="must have at least one sample, got none"):
        check_validation(take(dataset, np.array([], np.int64)), 10)
    with pytest.raises(DataError, match="at least two classes, but all samples are '4'"):
        check_validation(take(dataset, np.flatnonzero(dataset.labels == 4)), 10)
    with pytest.raises(DataError, match=r"validation set must have at most 5 classes, .* label 9 \('9'\)"):
        check_validation(dataset, 5)
    with pytest.raises(DataError, match="dataset must have at most 5 classes"):
        check_head(dataset, 5)
    words = renamed(dataset, tuple(f"digit {k}" for k in range(10)), dataset.labels)
    with pytest.raises(DataError, match=r"class names of the validation set must be .* in this order"):
        check_validation(words, 10, class_names=words.class_names[::-1])
    check_validation(dataset, 10, class_names=words.class_names)


def test_align_matches_classes_by_name() -> None:
    dataset = open_dataset(DIGITS)
    few = take(dataset, np.flatnonzero(dataset.labels < 2))
    few = renamed(few, ("one", "zero"), 1 - few.labels)
    few = type(few)(**{**vars(few), "clean_labels": np.where(np.arange(len(few)) == 0, -1, few.labels)})
    aligned = align_classes(few, ("two", "zero", "one"))
    assert aligned.labels.tolist() == np.where(few.labels == 0, 2, 1).tolist()
    assert aligned.clean_labels[0] == -1
    assert (aligned.clean_labels[1:] == aligned.labels[1:]).all()
    check_validation(aligned, 3, class_names=("two", "zero", "one"))
    assert align_classes(aligned, ("two", "zero", "one")) is aligned
    with pytest.raises(DataError, match="class 'zero' must be one of"):
        align_classes(few, ("one", "two"))


def test_with_names_of_matches_words_by_name_and_numbers_by_number() -> None:
    dataset = open_dataset(DIGITS)
    two = take(dataset, np.flatnonzero(dataset.labels < 2))
    words = renamed(two, ("cat", "dog"), two.labels)
    assert with_names_of(words, ("ant", "dog", "cat")).labels.tolist() == np.where(two.labels == 0, 2, 1).tolist()
    assert with_names_of(words, ("0", "1")) is words
    assert with_names_of(two, ("dog", "cat")) is two
    assert with_names_of(words, ()) is words
    with pytest.raises(DataError, match="class 'cat' must be one of"):
        with_names_of(words, ("dog", "cow"))


def numbered(tmp_path: Path, values: list[int]) -> LabeledImages:
    path = tmp_path / "numbers.npz"
    np.savez(path, images=np.zeros((len(values), 4, 4), np.uint8), labels=np.array(values), truth=np.array(values))
    return open_dataset(DatasetSpec("npz", str(path), "images", "labels", "truth"))


def test_a_missing_number_moves_no_other_class(tmp_path: Path) -> None:
    values = [0, 1, 2, 4, 5, 6, 7, 8, 9, 9]
    dataset = numbered(tmp_path, values)
    assert dataset.labels.max() == 8
    words = tuple("abcdefghij")
    for names in (words, tuple("0123456789"), ()):
        aligned = with_names_of(dataset, names, num_classes=10)
        assert aligned.labels.tolist() == values
        assert aligned.clean_labels is not None and aligned.clean_labels.tolist() == values
        assert aligned.class_names == (names or tuple("0123456789"))
        check_validation(aligned, 10, class_names=names)
        with pytest.raises(DataError, match="class numbers of the validation set must be those of the model, but '4'"):
            check_validation(dataset, 10, class_names=names)
    assert with_names_of(dataset, dataset.class_names, num_classes=9) is dataset
    assert with_names_of(dataset, ()) is dataset


def test_numbers_follow_the_models_own_numbers(tmp_path: Path) -> None:
    dataset = numbered(tmp_path, [3, 7, 7, 12])
    assert with_names_of(dataset, ("1", "3", "5", "7", "12"), num_classes=5).labels.tolist() == [1, 3, 3, 4]
    assert with_names_of(dataset, ("0", "1", "2"), num_classes=13).labels.tolist() == [3, 7, 7, 12]
    padded = renamed(dataset, ("03", "07", "12"), dataset.labels)
    assert with_names_of(padded, (), num_classes=13).labels.tolist() == [3, 7, 7, 12]
    for names, classes in ((("3", "7", "8"), 3), (tuple("abcdefghijkl"), 12), ((), 12)):
        with pytest.raises(DataError, match="class '12' must be one of"):
            with_names_of(dataset, names, num_classes=classes)
    sorted_as_words = renamed(dataset, ("0", "1", "10"), np.array([0, 1, 2, 2]))
    assert with_names_of(sorted_as_words, (), num_classes=11).labels.tolist() == [0, 1, 10, 10]


def test_a_training_set_keeps_its_numbers_or_is_refused(tmp_path: Path) -> None:
    gap = numbered(tmp_path, [0, 1, 3, 3])
    for names in ((), tuple("abcd"), tuple("0123")):
        with pytest.raises(
            DataError, match=r"training set must .*'3' would become its class 2 \('2'\).*names 0,1,2,3,"
        ):
            check_names(gap, names, what="training set", num_classes=4)
    remedy = open_dataset(replace(gap.spec, options={"class_names": "0,1,2,3"}))
    assert remedy.labels.tolist() == [0, 1, 3, 3]
    check_names(remedy, tuple("abcd"), what="training set", num_classes=4)
    check_names(gap, gap.class_names, what="training set", num_classes=4)
    check_names(numbered(tmp_path, [0, 1, 2, 2]), tuple("abcd"), what="training set", num_classes=4)
