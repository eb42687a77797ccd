"""Sets of pairs: what they refuse, and what their ids and fingerprints depend on."""

from __future__ import annotations

import pytest

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation.pairs import PairSet, text_id, text_pairs
from fvm_core.generation.plant_wrong import plant_wrong
from fvm_core.generation.sentences import sentence_pairs


def test_ids_follow_the_content_alone() -> None:
    first, second = text_pairs(["a", "b"], ["x", "y"]), text_pairs(["b", "a"], ["y", "x"], classes=["1", "2"])
    assert first.ids == second.ids[::-1]
    assert text_id("a", "bc") != text_id("ab", "c")


def test_fingerprint_changes_with_order_and_classes() -> None:
    prints = {
        text_pairs(["a", "b"], ["x", "y"]).fingerprint,
        text_pairs(["b", "a"], ["y", "x"]).fingerprint,
        text_pairs(["a", "b"], ["x", "y"], classes=["1", "2"]).fingerprint,
    }
    assert len(prints) == 3


def test_take_keeps_rows_together() -> None:
    pairs = text_pairs(["a", "b", "c"], ["x", "y", "z"], classes=["1", "2", "1"], wrong=[True, False, False])
    part = pairs.take([2, 0])
    assert (part.prompts, part.targets, part.classes, part.wrong) == (("c", "a"), ("z", "x"), ("1", "1"), (False, True))
    assert pairs.class_names == ("1", "2")


@pytest.mark.parametrize(
    ("prompts", "targets", "message"),
    [
        (["a", " "], ["x", "y"], r"`prompts` must not be empty, but that of pair 1"),
        (["a", "b"], ["x", "\n"], r"`targets` must not be empty, but that of pair 1.*Fill it in"),
        (["a", "a"], ["x", "x"], r"pairs must differ, but 'a' with 'x' is there twice \(again as pair 1"),
        (["a", "b"], ["x"], r"`prompts` must hold one value for each of 1 ids, got 2"),
        ([], [], r"must hold 1 to 1,000,000 of them, got 0"),
    ],
)
def test_bad_pairs_are_refused(prompts: list[str], targets: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        text_pairs(prompts, targets)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(DataError, match=r"`kind` must be one of .*, got 'sound'"):
        PairSet(ids=("1",), prompts=("a",), targets=("b",), kind="sound")


def test_planted_targets_come_from_other_classes_and_are_told() -> None:
    clean, _ = sentence_pairs(training=10, validation=1)
    planted = plant_wrong(clean, rate=0.2, seed=3)
    assert planted.wrong is not None and clean.classes is not None
    changed = [clean.targets[row] != planted.targets[row] for row in range(len(clean))]
    assert changed == list(planted.wrong) and sum(changed) == 20
    owner = dict(zip(clean.targets, clean.classes, strict=True))
    assert all(owner[planted.targets[row]] != clean.classes[row] for row in range(len(clean)) if changed[row])
    assert planted.prompts == clean.prompts and sorted(planted.targets) == sorted(clean.targets)
    assert [a == b for a, b in zip(clean.ids, planted.ids, strict=True)] == [not one for one in changed]
    assert plant_wrong(clean, rate=0.2, seed=3) == planted != plant_wrong(clean, rate=0.2, seed=4)


def test_planting_refuses_what_it_cannot_do() -> None:
    pairs = text_pairs(["a", "b", "c"], ["x", "y", "z"], classes=["1", "1", "1"])
    with pytest.raises(DataError, match=r"cannot be exchanged between classes: one class holds 3"):
        plant_wrong(pairs, rate=0.99)
    with pytest.raises(SettingsError, match=r"`wrong` must be in \(0, 1\) and reach 2 of the 3 pairs, got 0.1"):
        plant_wrong(pairs, rate=0.1)
    image = PairSet(ids=("1", "2"), prompts=("a", "b"), targets=("1.png", "2.png"), kind="image")
    with pytest.raises(DataError, match=r"into pairs of text only"):
        plant_wrong(image, rate=0.9)
