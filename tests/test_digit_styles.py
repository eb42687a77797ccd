from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fvm_core.errors import SettingsError
from fvm_core.generation.digit_styles import STYLES, caption, draw, write_digit_styles
from fvm_core.generation.image_folder_pairs import open_image_pairs


@lru_cache(maxsize=1)
def digits() -> np.ndarray:
    return np.rint(load_digits().images * (255 / 16)).astype(np.uint8)


def ink(row: int) -> np.ndarray:
    return digits()[row]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    made = write_digit_styles(folder, training=6, validation=2, practice=60)
    assert made == {"train": 18, "validation": 6, "pretrain": 180}
    return folder


def test_blocks_are_the_digit_itself_inverted() -> None:
    drawn = draw(ink(3), "pixelart", side=16)
    assert set(np.unique(drawn)) <= {0, 85, 170, 255}
    coarse = drawn[::2, ::2]
    assert np.array_equal(np.kron(coarse, np.ones((2, 2), np.uint8)), drawn)
    assert np.abs((255 - coarse.astype(int)) - ink(3)).max() <= 43


def test_strokes_and_outlines_follow_the_ink() -> None:
    for row in range(10):
        solid = ink(row) > 200
        blank = ink(row) == 0
        strokes = draw(ink(row), "stroke", side=16).reshape(8, 2, 8, 2).mean((1, 3))
        assert strokes[solid].mean() > 200 > 40 > strokes[blank].mean()
        lines = 255 - draw(ink(row), "sketch", side=16).astype(int)
        assert 0.02 < (lines > 128).mean() < 0.4
    hollow = np.full((8, 8), 0, np.uint8)
    hollow[1:7, 1:7] = 255
    assert draw(hollow, "sketch", side=32)[14:18, 14:18].min() == 255


def test_shift_moves_the_drawing_and_keeps_the_ground() -> None:
    for style in STYLES:
        still, moved = draw(ink(0), style, side=16), draw(ink(0), style, side=16, shift=(1, -1))
        assert np.array_equal(moved[1:, :-1], still[:-1, 1:])
        assert (moved[0] == (0 if style == "stroke" else 255)).all()


def test_no_digit_stands_in_two_splits_and_captions_tell_the_truth(demo: Path) -> None:
    truth = load_digits().target
    seen: dict[str, set[int]] = {}
    for split in ("train", "validation", "pretrain"):
        pairs = open_image_pairs(demo / split)
        seen[split] = {int(Path(name).stem) for name in pairs.targets}
        assert pairs.classes == tuple(name.split("/")[0] for name in pairs.targets)
    assert not seen["train"] & seen["validation"] and not (seen["train"] | seen["validation"]) & seen["pretrain"]
    blocks = {draw(ink(row), "pixelart", side=16).tobytes(): int(truth[row]) for row in range(1797)}
    pairs = open_image_pairs(demo / "pretrain")
    known = 0
    for name, prompt, style in zip(pairs.targets, pairs.prompts, pairs.classes or (), strict=True):
        if style == "pixelart":
            digit = blocks.get(np.asarray(Image.open(demo / "pretrain" / name)).tobytes())
            if digit is not None:
                assert prompt == caption("pixelart", digit)
                known += 1
    assert known > 2  # those that were not shifted


def test_same_seed_same_files_and_another_seed_others(demo: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_digit_styles(tmp_path / str(seed), training=6, validation=2, practice=2, seed=seed)
    ids = [open_image_pairs(folder / "train").ids for folder in (demo, tmp_path / "0", tmp_path / "1")]
    assert ids[0] == ids[1] != ids[2] and set(ids[0]) != set(ids[2])


def test_planted_errors_show_another_style_than_their_text(tmp_path: Path) -> None:
    write_digit_styles(tmp_path, training=10, validation=1, practice=2, wrong=0.2)
    pairs = open_image_pairs(tmp_path / "train")
    assert pairs.wrong is not None and sum(pairs.wrong) == 6
    dark = {name: np.asarray(Image.open(tmp_path / "train" / name)).mean() < 128 for name in pairs.targets}
    for name, style, wrong in zip(pairs.targets, pairs.classes or (), pairs.wrong, strict=True):
        if style == "stroke" or not wrong:  # only strokes lie on black
            assert dark[name] == ((style == "stroke") != wrong)
    assert open_image_pairs(tmp_path / "validation").wrong == (False,) * 3


def test_settings_out_of_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"`styles` must be some of stroke, pixelart, sketch, once each"):
        write_digit_styles(tmp_path, styles=("oil",))
    with pytest.raises(SettingsError, match=r"must need at most 1,797 digits, got 2,400 for 3 styles"):
        write_digit_styles(tmp_path, training=700, validation=100)
    with pytest.raises(SettingsError, match=r"`training`, `validation` and `practice` must be >= 1, got 0, 1 and None"):
        write_digit_styles(tmp_path, training=0, validation=1)
    with pytest.raises(SettingsError, match=r"`wrong` must be in \[0, 1\), and 0 with one style, got 0.1"):
        write_digit_styles(tmp_path, styles=("stroke",), wrong=0.1)
    with pytest.raises(SettingsError, match=r"`side` must be a multiple of 8 from 8 on, got 20"):
        draw(ink(0), "stroke", side=20)
    with pytest.raises(SettingsError, match=r"`style` must be one of stroke, pixelart, sketch, got 'oil'"):
        draw(ink(0), "oil", side=16)
