"""Confusions by flags, by chances and by the truth, against counting by hand and the EM estimate itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from map_files import scored_digits

from fvm_core.embedding.duplicates import near_pairs
from fvm_core.embedding.store import NeighbourTable
from fvm_core.errors import DataError
from fvm_core.influence.noise import estimate_transition, posterior
from fvm_core.review.confusion import Confusion, by_chance, by_flags, by_truth, confused_pairs, posterior_chances
from fvm_core.workspace import Workspace

GIVEN = np.array([0, 0, 1, 1, 2, 2, 0])
SUGGESTED = np.array([0, 1, 1, 2, -1, 0, 2])
FLAGGED = np.array([True, True, False, True, True, False, True])


def test_flagged_images_count_as_their_suggestion_and_all_others_as_their_label() -> None:
    found = by_flags(GIVEN, SUGGESTED, FLAGGED, 3)
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 2]]
    np.testing.assert_allclose(found.transition, [[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(found.wrong, [2 / 3, 1 / 2, 0])
    assert found.noise == pytest.approx(3 / 7)


def test_truth_leaves_out_what_is_not_known_and_an_absent_class_keeps_zeros() -> None:
    found = by_truth(np.array([0, -1, 1]), np.array([0, 1, 0]), 3)
    assert found.counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert found.transition[2].tolist() == [0, 0, 0]
    assert found.wrong[0] == 0.5 and np.isnan(found.wrong[1:]).all()


def test_chances_of_the_posterior_reproduce_the_matrix_that_em_ended_at() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    flip = np.array([[0.8, 0.2, 0, 0], [0, 0.9, 0.1, 0], [0.1, 0, 0.6, 0.3], [0, 0, 0, 1]])
    given = np.array([rng.choice(4, p=flip[k]) for k in truth])
    p = torch.from_numpy(rng.dirichlet(np.full(4, 0.2), 4000) * 0.2 + 0.8 * np.eye(4)[truth])
    labels = torch.from_numpy(given)
    made = estimate_transition(p, labels, steps=500, tolerance=1e-10, smoothing=1e-9)
    found = by_chance(posterior(p, labels, made.matrix).numpy(), given)
    np.testing.assert_allclose(found.transition, made.matrix.numpy(), atol=1e-6)
    assert found.noise == pytest.approx(made.noise, abs=1e-6)
    assert found.distance(by_truth(truth, given, 4)) < 0.03


def test_distance_is_the_share_that_would_have_to_move() -> None:
    one, two = Confusion(np.array([[3.0, 1.0], [0.0, 5.0]])), Confusion(np.array([[1.0, 3.0], [0.0, 2.0]]))
    assert one.distance(two) == pytest.approx((0.5 + 0) / 2) and one.distance(one) == 0


def test_pairs_come_with_the_largest_count_first_and_without_the_diagonal() -> None:
    found = confused_pairs(Confusion(np.array([[9.0, 2.0, 0.0], [4.0, 4.0, 0.0], [0.0, 1.0, 0.0]])), most=5)
    assert found[["true", "given", "count"]].values.tolist() == [[1, 0, 4], [0, 1, 2], [2, 1, 1]]
    np.testing.assert_allclose(found["share"], [0.5, 2 / 11, 1])


def test_chances_are_read_from_the_posterior_s_score_file(workspace: Workspace, tmp_path: Path) -> None:
    digits, _ = scored_digits(workspace)
    path = workspace.scores / "digits-fvm" / "posterior.parquet"
    chances = posterior_chances(path)
    assert chances.shape == (len(digits), 10)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (chances.argmax(1) == digits.clean_labels).mean() > 0.95
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.parquet` cannot be read .*Score the dataset again"):
        posterior_chances(tmp_path / "bad.parquet")


def test_near_pairs_come_once_the_most_alike_first_and_contradict_by_their_labels() -> None:
    table = NeighbourTable(
        rows=np.array([0, 2, 3, 5]), neighbours=np.array([[2, 3], [0, 5], [0, 2], [2, 0]]),
        similarity=np.full((4, 2), 0.9, np.float32),
        pixel_rms=np.array([[4, 9], [4, 30], [9, 30], [30, 1]], np.float32), provenance={},
    )  # fmt: skip
    found = near_pairs(table, within=9)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 5), (0, 2), (0, 3)]
    assert found.pixel_rms.tolist() == [1, 4, 9]
    labels = np.array([1, 0, 1, 2, 0, 3])
    differ = found.contradicting(labels)
    assert list(zip(differ.first.tolist(), differ.second.tolist(), strict=True)) == [(0, 5), (0, 3)]
    assert len(near_pairs(table, within=0.5)) == 0
