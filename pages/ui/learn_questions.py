"""Questions to try on the Learn page. Each answer can be seen in the app, and a test checks each."""

from __future__ import annotations

import streamlit as st

PARTS: dict[str, str] = {
    "risk": "Figure 1, alive",
    "sam": "One step of SAM",
    "landscape": "The real landscape",
    "fading": "Why the standard score fades",
    "bound": "The bound",
    "flag": "From a gradient to a flag",
}
"""The parts of the page in their order: the name in the code and the one on the tab."""

QUESTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "risk": (
        (
            "Start at the minima (offset 0) and take the first-order estimate. What does it say of any change?",
            "Nothing: 0, whatever the change, since the slope is 0 there. The gap is the whole change. This is why the "
            "paper takes the second-order term (Eq. 19).",
        ),
        (
            "Which minimum has the larger second-order gap for the change that it starts with?",
            "The sharp one, by far: its parabola leaves the curve at once, that of the flat one follows it.",
        ),
        (
            "Give the flat minimum the width of the sharp one (0.35). Is there still a difference?",
            "No: the two gaps are the same. The width makes the difference, not the place.",
        ),
    ),
    "sam": (
        ("Set the radius to 0. Which paths fall together?", "SGD, SAM, ASAM and F-SAM: there is nothing to climb."),
        ("Set F-SAM's sigma to 0. Whose path is it?", "SAM's, step for step: nothing is taken off the gradient."),
        (
            "Leave everything as it is at first. Who ends in the sharp basin?",
            "SGD alone. SAM, ASAM, F-SAM and LPF pass it and end in the flat one.",
        ),
    ),
    "landscape": (
        (
            "On the plane, where is the loss on the noisy labels least, and where that on the clean set?",
            "The noisy loss is least near the base, which learned the wrong labels; the clean loss near VM and FVM. "
            "Tuning walks from one basin towards the other.",
        ),
        (
            "Compare the loss at the centre of a model's random panel with that at its mark on the plane.",
            "They are equal: both are the model itself.",
        ),
    ),
    "fading": (
        (
            "Press *Next* to the last snapshot. What became of the clean samples (blue), left and right?",
            "Left they have gathered in a few bars at 0: the standard score has hardly anything left to say of them. "
            "Right they have moved away from the mislabeled ones, to a smaller s. The Compare page's tab *Tuning "
            "snapshots* has the same as curves.",
        ),
        (
            "Does the width of the bins change from snapshot to snapshot?",
            "No: all snapshots share their bins, so what shrinks is the score.",
        ),
    ),
    "bound": (
        (
            "Is the bound by the range (the dotted line) ever below 0.6?",
            "Never where Eq. 10 holds: with one mean above zero and one below, μ is at most half of the range, and "
            "exp(−2 · 0.5²) = 0.61. A bound that allows 61 % of the signs to be wrong promises less than a coin.",
        ),
        (
            "Count a removal as 1/N of the influence. Which of the two bounds moves?",
            "Eq. 11 alone: its numerator shrinks with 1/N squared while the risk below stays. Eq. 37 divides by the "
            "range of the influence, which shrinks alike.",
        ),
    ),
    "flag": (
        (
            "Add up the bars of one label over all layers. What is it?",
            "s of that label, as in the score file; the label with the smallest sum is the suggested one (Eq. 22).",
        ),
    ),
}


def draw(part: str) -> None:
    """Draw the questions of a part, each answer behind a click."""
    st.markdown("##### Questions to try")
    for question, answer in QUESTIONS[part]:
        with st.expander(question, icon=":material/help:"):
            st.markdown(answer)
