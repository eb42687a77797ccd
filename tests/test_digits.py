import numpy as np
import pytest
from sklearn.datasets import load_digits

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.digits import CONFUSIONS, DIFFICULTY, plant_noise
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError


def test_splits_are_disjoint_cover_all_and_keep_the_truth() -> None:
    train = open_dataset(DatasetSpec("digits"))
    validation = open_dataset(DatasetSpec("digits", options={"split": "validation"}))
    assert (len(train), len(validation)) == (1297, 500)
    assert not set(train.ids) & set(validation.ids)
    target = load_digits().target
    assert train.clean_labels.tolist() == target[[int(name.split("-")[1]) for name in train.ids]].tolist()
    assert (validation.labels == validation.clean_labels).all()
    assert len(np.unique(validation.labels)) == 10


def test_pixels_are_the_digits_scaled_to_255() -> None:
    dataset = open_dataset(DatasetSpec("digits"))
    original = load_digits().images[int(str(dataset.ids[5]).split("-")[1])]
    np.testing.assert_allclose(dataset.read(5), original * 255 / 16, atol=0.5)


def test_noise_has_the_rate_and_depends_on_the_class() -> None:
    dataset = open_dataset(DatasetSpec("digits", label="noisy", options={"rate": 0.2, "seed": 3}))
    wrong = dataset.mislabeled()
    assert wrong.mean() == pytest.approx(0.2, abs=0.005)
    for digit in range(10):
        own = dataset.clean_labels == digit
        assert wrong[own].mean() == pytest.approx(0.2 * DIFFICULTY[digit], abs=0.01)
        to_partner = (dataset.labels[own & wrong] == CONFUSIONS[digit]).mean()
        assert to_partner > 0.5
    assert np.mean(list(DIFFICULTY.values())) == pytest.approx(1)


def test_noise_is_a_pure_function_of_the_seed() -> None:
    clean = np.arange(10).repeat(50)
    first = plant_noise(clean, rate=0.3, seed=1)
    np.testing.assert_array_equal(first, plant_noise(clean, rate=0.3, seed=1))
    assert (first != plant_noise(clean, rate=0.3, seed=2)).any()
    np.testing.assert_array_equal(plant_noise(clean, rate=0, seed=1), clean)


@pytest.mark.parametrize(
    ("label", "options", "match"),
    [
        ("worse", {}, "`label` must be 'noisy' or 'clean'"),
        ("", {"split": "test"}, "`split` must be 'train' or 'validation'"),
        ("", {"rate": 0.7}, "`rate` must be between 0 and 0.5, got 0.7"),
        ("", {"rate": "much"}, "`rate` must be a number, got 'much'"),
        ("", {"seed": -1}, "`seed` must be >= 0"),
    ],
)
def test_wrong_choices_are_named(label: str, options: dict, match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_dataset(DatasetSpec("digits", label=label, options=options))
