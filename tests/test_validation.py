import numpy as np
import pytest

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.data.subset import take
from fvm_core.data.validation import align_classes, check_head, check_validation, with_names_of
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
