from pathlib import Path

import pytest
from tiny_diffusion import image_folder

from fvm_core.cli.main import main
from fvm_core.errors import DataError
from fvm_core.generation.image_data import add_image_folder, make_digit_styles
from fvm_core.generation.image_folder_pairs import open_image_pairs
from fvm_core.generation.store import list_pairs, read_pairs
from fvm_core.workspace import Workspace


def test_the_demo_is_kept_as_three_sets_of_pairs(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    names = make_digit_styles(workspace, "Digits", styles=("stroke", "sketch"), training=4, validation=2, practice=3)
    assert list_pairs(workspace) == sorted(names) == ["digits-pretrain", "digits-train", "digits-val"]
    pairs = read_pairs(workspace, "digits-train")
    assert (pairs.kind, len(pairs), pairs.class_names) == ("image", 8, ("stroke", "sketch"))
    assert pairs == open_image_pairs(Path(pairs.root))
    with pytest.raises(DataError, match="`name` must be new: 'digits-train' exists already"):
        make_digit_styles(workspace, "digits")


def test_nothing_is_left_of_a_demo_that_could_not_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be some of"):
        make_digit_styles(Workspace(tmp_path), "digits", styles=("oil",))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_is_kept_where_it_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    name = add_image_folder(workspace, "mine", image_folder(tmp_path / "pictures"), classes="none")
    pairs = read_pairs(workspace, name)
    assert pairs.root == str(tmp_path / "pictures") and pairs.classes is None
    assert add_image_folder(workspace, "mine", tmp_path / "pictures", classes="none") == "mine"
    with pytest.raises(DataError, match="other pairs are kept as `mine`"):
        add_image_folder(workspace, "mine", tmp_path / "pictures", classes="class")


def test_the_command_takes_a_folder_and_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FVM_STUDIO_HOME", str(tmp_path / "home"))
    folder = str(image_folder(tmp_path / "pictures"))
    assert main(["generation", "data", folder, "--name", "mine", "--classes", "text"]) == 0
    assert capsys.readouterr().out == "mine: 4 pairs, 4 classes\n"
    assert (
        main(["generation", "pretrain", "--kind", "image", "--pairs", "mine", "--name", "a", "--set", "stepz=1"]) == 2
    )
    assert "unknown settings ['stepz']" in capsys.readouterr().err
