"""Sentences about baselines: who is beaten, ahead, level or alone, and only beyond chance."""

from __future__ import annotations

import pandas as pd
import pytest

from pages.ui.verdict import verdicts

COLUMNS = ["label", "model", "method", "auc", "ap", "relabel_wrong"]


def judge(*rows: tuple, wrong: int = 20_000, clean: int = 30_000) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    return verdicts(pd.DataFrame(list(rows), columns=COLUMNS), wrong=wrong, clean=clean)


def test_a_better_baseline_of_the_same_model_is_named_with_figures() -> None:
    (verdict,) = judge(
        ("FVM", "m", "influence", 92.6, 84.1, 72.6),
        ("FVM · Loss", "m", "loss", 96.0, 94.2, 73.5),
        ("FVM · Margin", "m", "margin", 95.5, 94.0, 73.5),
    )
    assert verdict == (
        "beaten",
        "FVM is beaten by a plain baseline of the same model: AUC 92.6 against 96.0 (cross-entropy loss), AP 84.1 "
        "against 94.2 (cross-entropy loss) and relabel accuracy on the wrong labels 72.6 against 73.5 "
        "(cross-entropy loss).",
    )


def test_what_the_score_wins_is_said_too() -> None:
    ((kind, sentence),) = judge(
        ("FVM", "m", "influence", 97.0, 84.1, float("nan")), ("FVM · EL2N", "m", "el2n", 96.0, 94.2, 70.0)
    )
    assert kind == "beaten"
    assert sentence.endswith("AP 84.1 against 94.2 (EL2N); it is ahead in AUC 97.0 against 96.0 (EL2N).")


def test_a_baseline_of_another_model_does_not_count() -> None:
    ((kind, sentence),) = judge(
        ("FVM", "m", "influence", 50.0, 50.0, 50.0), ("VM · Loss", "other", "loss", 99.0, 99.0, 99.0)
    )
    assert kind == "alone" and "no plain baseline of the same model was scored" in sentence


@pytest.mark.parametrize(("samples", "kind"), [(50, "level"), (50_000, "ahead")])
def test_a_small_lead_counts_only_on_many_samples(samples: int, kind: str) -> None:
    rows = (("FVM", "m", "influence", 96.0, 94.0, 86.0), ("FVM · Loss", "m", "loss", 94.8, 92.6, 84.6))
    ((found, _),) = judge(*rows, wrong=samples, clean=samples)
    assert found == kind


def test_every_influence_score_gets_a_sentence_and_no_baseline_does() -> None:
    found = judge(
        ("Base · Standard", "b", "standard", 60.0, 60.0, 20.0),
        ("Base · Loss", "b", "loss", 90.0, 90.0, 50.0),
        ("FVM", "m", "influence", 99.0, 99.0, 90.0),
        ("FVM · Loss", "m", "loss", 90.0, 90.0, 50.0),
    )
    assert [kind for kind, _ in found] == ["beaten", "ahead"]
