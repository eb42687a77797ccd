from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvm_core.cli.main import main
from fvm_core.errors import SettingsError
from fvm_core.generation.digit_styles import WORDS, draw, load_inks, write_digit_styles
from fvm_core.generation.digit_subjects import subject_caption, view, write_digit_subjects
from fvm_core.generation.image_folder_pairs import open_image_pairs
from fvm_core.generation.pairs import PairSet


def inks() -> np.ndarray:
    return load_inks()[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    assert write_digit_subjects(folder) == {"train": 90, "validation": 60}
    return folder


def pixels(pairs: PairSet) -> np.ndarray:
    return np.stack([np.asarray(Image.open(Path(pairs.root) / name)) for name in pairs.targets]).astype(float)


def rows_of(pairs: PairSet) -> np.ndarray:
    return np.array([int(Path(name).stem.split("-")[0]) for name in pairs.targets])


def closest(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which of the digits at `rows` each image shows, were it turned by up to 15 degrees and moved by up to a pixel."""
    looks, owners = [], []
    for row in rows:
        stroke = Image.fromarray(draw(inks()[row], "stroke", side=16))
        for turn in range(-15, 16, 5):
            turned = np.asarray(stroke.rotate(turn, Image.Resampling.BILINEAR)).astype(float)
            for down, right in np.ndindex(3, 3):
                looks.append(np.roll(turned, (down - 1, right - 1), (0, 1)).ravel())
                owners.append(row)
    apart = np.linalg.norm(np.stack(looks)[None] - images.reshape(len(images), 1, -1), axis=2)
    return np.array(owners)[apart.argmin(1)]


def test_a_view_that_is_not_turned_is_the_brush_stroke_moved() -> None:
    ink = inks()[5]
    assert np.array_equal(view(ink, side=16), draw(ink, "stroke", side=16))
    assert np.array_equal(view(ink, side=16, shift=(1, -1)), draw(ink, "stroke", side=16, shift=(1, -1)))


def test_a_quarter_turn_is_anticlockwise() -> None:
    ink = inks()[5]
    assert np.array_equal(view(ink, side=16, turn=90), np.rot90(draw(ink, "stroke", side=16)))


def test_thirty_subjects_three_of_each_digit_each_with_a_name_of_its_own(demo: Path) -> None:
    training, validation = (open_image_pairs(demo / part) for part in ("train", "validation"))
    assert training.classes is not None and validation.classes is not None
    assert len(set(training.classes)) == 30 and set(training.classes) == set(validation.classes)
    assert {len(name) for name in training.classes} == {5}
    prompts = dict(zip(training.classes, training.prompts, strict=True))
    assert dict(zip(validation.classes, validation.prompts, strict=True)) == prompts
    words = [prompt.split()[-1] for prompt in prompts.values()]
    assert sorted(words) == sorted(3 * WORDS)
    assert all(prompt == f"a {name} digit {word}" for (name, prompt), word in zip(prompts.items(), words, strict=True))


def test_every_view_shows_the_digit_that_its_file_and_text_name(demo: Path) -> None:
    pairs = open_image_pairs(demo / "train")
    rows = rows_of(pairs)
    assert [WORDS[digit] for digit in load_inks()[1][rows]] == [text.split()[-1] for text in pairs.prompts]
    assert len(set(rows)) == 30 and np.mean(closest(pixels(pairs), np.unique(rows)) == rows) > 0.95


def test_no_two_views_are_alike(demo: Path) -> None:
    ids = [one for part in ("train", "validation") for one in open_image_pairs(demo / part).ids]
    assert len(set(ids)) == 150


def test_views_of_one_subject_are_nearer_to_each_other_than_to_other_subjects(demo: Path) -> None:
    pairs = open_image_pairs(demo / "train")
    flat = pixels(pairs).reshape(90, -1)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    names = np.array(pairs.classes)
    same = (names[:, None] == names[None]) & ~np.eye(90, dtype=bool)
    assert apart[same].mean() < 0.8 * apart[names[:, None] != names[None]].mean()


def test_the_small_models_practice_shows_no_subject(demo: Path, tmp_path: Path) -> None:
    write_digit_styles(tmp_path, practice=1)
    kept = {
        int(Path(name).stem) for part in ("train", "validation") for name in open_image_pairs(tmp_path / part).targets
    }
    assert len(kept) == 750 and set(rows_of(open_image_pairs(demo / "train")).tolist()) <= kept


def test_same_seed_same_files_and_another_seed_others(demo: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_digit_subjects(tmp_path / str(seed), seed=seed)
    ids = [open_image_pairs(folder / "train").ids for folder in (demo, tmp_path / "0", tmp_path / "1")]
    assert ids[0] == ids[1] and not set(ids[0]) & set(ids[2])


def test_planted_errors_show_another_subject(tmp_path: Path) -> None:
    write_digit_subjects(tmp_path, training=2, wrong=0.25)
    pairs = open_image_pairs(tmp_path / "train")
    assert pairs.wrong is not None and sum(pairs.wrong) == 15
    rows, wrong = rows_of(pairs), np.array(pairs.wrong)
    shown = closest(pixels(pairs), np.unique(rows)) == rows
    assert shown[wrong].mean() < 0.1 and shown[~wrong].mean() > 0.95
    assert open_image_pairs(tmp_path / "validation").wrong == (False,) * 60


def test_settings_out_of_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"`training`, `validation` and `subjects` must be >= 1, got 3, 0 and 3"):
        write_digit_subjects(tmp_path, validation=0)
    with pytest.raises(SettingsError, match=r"at most 100 views of each digit, got 150"):
        write_digit_subjects(tmp_path, training=50)
    with pytest.raises(SettingsError, match=r"`wrong` must be in \[0, 1\), got 1.0"):
        write_digit_subjects(tmp_path, wrong=1.0)
    assert subject_caption("oHwLM", 0) == "a oHwLM digit zero"


def test_the_command_keeps_both_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FVM_STUDIO_HOME", str(tmp_path))
    assert main(["generation", "data", "subjects", "--name", "mine", "--validation", "1"]) == 0
    assert capsys.readouterr().out == "mine-train: 90 pairs, 30 classes\nmine-val: 30 pairs, 30 classes\n"
