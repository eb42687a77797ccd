import json
from pathlib import Path

import pytest
from data_samples import png

from fvm_core.errors import DataError
from fvm_core.generation.image_folder_pairs import open_image_pairs


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Two styles in folders of their own, a text of the same name beside each image."""
    for name, value, prompt in (("ink/b.png", 1, "a cat"), ("ink/a.png", 2, " a dog\n"), ("oil/c.png", 3, "a cow")):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(value))
        path.with_suffix(".txt").write_text(prompt)
    return tmp_path / "set"


def lines(root: Path, *rows: object) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (root / "metadata.jsonl").write_text(text, encoding="utf-8")
    return root


def test_texts_beside_the_images_are_their_prompts_and_folders_their_classes(texts: Path) -> None:
    pairs = open_image_pairs(texts)
    assert pairs.targets == ("ink/a.png", "ink/b.png", "oil/c.png")
    assert pairs.prompts == ("a dog", "a cat", "a cow")
    assert pairs.classes == ("ink", "ink", "oil")
    assert (pairs.kind, pairs.wrong, pairs.root) == ("image", None, str(texts))
    assert open_image_pairs(texts, classes="none").classes is None


def test_ids_follow_the_content_and_not_the_name(texts: Path) -> None:
    before = open_image_pairs(texts).ids
    for end in (".png", ".txt"):
        (texts / f"ink/a{end}").rename(texts / f"ink/z{end}")
    assert open_image_pairs(texts).ids == (before[1], before[0], before[2])
    (texts / "oil/c.txt").write_text("a cow, seen from behind")
    assert open_image_pairs(texts).ids[2] != before[2]


def test_metadata_gives_order_prompt_class_and_planted_errors(texts: Path) -> None:
    rows = [
        {"file_name": "oil/c.png", "caption": "eine Kuh", "subject": "a i0VpE cow", "wrong": True},
        {"file_name": "ink/a.png", "caption": "ein Hund", "subject": "a oHwLM dog", "wrong": False},
    ]
    pairs = open_image_pairs(lines(texts, *rows, ""))
    assert pairs.targets == ("oil/c.png", "ink/a.png")
    assert pairs.prompts == ("eine Kuh", "ein Hund")
    assert pairs.classes == ("a i0VpE cow", "a oHwLM dog")
    assert pairs.wrong == (True, False)
    assert open_image_pairs(texts, classes="folder").classes == ("oil", "ink")
    assert open_image_pairs(texts, text="subject").prompts == ("a i0VpE cow", "a oHwLM dog")


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("{", r"line 1 of .*metadata.jsonl` must be a JSON object"),
        ([1], r"line 1 of .* must be an object with the text `file_name`"),
        ({"text": "a"}, r"line 1 of .* must be an object with the text `file_name`"),
        ({"file_name": "ink/a.png"}, r"line 1 of .* must hold its prompt in `text`, got None"),
        ({"file_name": "ink/a.png", "text": " "}, r"line 1 of .* must hold its prompt in `text`, got ' '"),
        ({"file_name": "../out.png", "text": "a"}, r"`file_name` must stay inside the dataset's folder"),
        ({"file_name": "ink/none.png", "text": "a"}, r"image `ink/none.png` cannot be read \(No such file"),
        ({"file_name": "ink/a.txt", "text": "a"}, r"image `ink/a.txt` cannot be used: .*unknown format"),
        ({"file_name": "ink/a.png", "text": "a", "wrong": "no"}, r"`wrong` must be true or false for every pair, got"),
        ({"file_name": "ink/a.png", "text": "a", "class": ""}, r"`class` must name the class of every pair, got ''"),
        ("[" * 100_000, r"line 1 of .* must be a JSON object"),
    ],
)
def test_bad_lines_are_named(texts: Path, row: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_image_pairs(lines(texts, row))


def test_links_that_leave_the_folder_are_refused(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    (texts / "ink/a.png").unlink()
    (texts / "ink/a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"'ink/a.png' must stay inside"):
        open_image_pairs(texts)
    (texts / "ink/a.png").unlink()
    (texts / "ink/b.txt").unlink()
    (texts / "ink/b.txt").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"'ink/b.txt' must stay inside"):
        open_image_pairs(texts)


def test_missing_and_empty_prompts_are_named(texts: Path) -> None:
    (texts / "ink/b.txt").write_text("\n")
    with pytest.raises(DataError, match=r"`ink/b.txt` must hold a prompt, but is empty"):
        open_image_pairs(texts)
    (texts / "ink/b.txt").unlink()
    with pytest.raises(DataError, match=r"image `ink/b.png` must have its prompt in `ink/b.txt`, which is not there"):
        open_image_pairs(texts)
    (texts / "ink/b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"`ink/b.txt` cannot be read .* It must be text in UTF-8"):
        open_image_pairs(texts)
    (texts / "ink/b.txt").write_bytes(b"a" * 70_000)
    with pytest.raises(DataError, match=r"`ink/b.txt` must be a prompt of at most 64 KiB"):
        open_image_pairs(texts)


def test_damaged_images_repeats_and_empty_folders_are_named(texts: Path, tmp_path: Path) -> None:
    (texts / "oil/c.png").write_bytes(png(3)[:40])
    with pytest.raises(DataError, match=r"image `oil/c.png` cannot be used: image cannot be decoded"):
        open_image_pairs(texts)
    for name in ("d", "e"):
        (texts / f"oil/{name}.png").write_bytes(png(4))
        (texts / f"oil/{name}.txt").write_text("the same")
    (texts / "oil/c.png").write_bytes(png(3))
    with pytest.raises(DataError, match=r"pairs must differ, but 'the same' with 'oil/e.png' is there twice"):
        open_image_pairs(texts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold images \(.png"):
        open_image_pairs(tmp_path / "empty")
    with pytest.raises(DataError, match=r"`path` must be a folder of images and texts"):
        open_image_pairs(tmp_path / "none")


def test_class_folders_are_asked_for_where_images_lie_beside_them(texts: Path) -> None:
    (texts / "free.png").write_bytes(png(7))
    (texts / "free.txt").write_text("free")
    assert open_image_pairs(texts).classes is None
    with pytest.raises(DataError, match=r"`free.png` must be in a folder named after its class"):
        open_image_pairs(texts, classes="folder")
