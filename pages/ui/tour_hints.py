"""What the guided tour says on each page: what to do, and, where that is done, what to look at with its answer."""

from __future__ import annotations

from dataclasses import dataclass

START = "No data at hand? **Try the demo** below makes everything in under a minute. With data of your own, go to Load."
END = (
    "That was the whole way. The Learn page tells why it works; *Take the labels home* on the Review page writes them."
)


@dataclass(frozen=True)
class Hint:
    """Markdown: `do` while a page's work is open, then `look` as a question that the page answers, and the `answer`."""

    do: str
    look: str
    answer: str


HINTS: dict[str, Hint] = {
    "load": Hint(
        "Describe the noisy training set, import a checkpoint, and give a small clean validation set. Or press "
        "**Try the demo** on the Home page.",
        "**Look:** images with their given labels. Can you find a wrong one by eye, and how many will there be?",
        "Draw other samples until one is wrong. Where the truth is known, the share of wrong labels stands in the row "
        "of figures; without a method one has to look at all images.",
    ),
    "tune": Hint(
        "Keep SAM as the solver and press **Start tuning**: it takes the checkpoint to a flat minimum of the clean "
        "loss.",
        "**Look:** draw a VM and an FVM and go to the panel of SAM's gap. Which of the two ends lower?",
        "FVM's, on the demo and in the paper: SAM does not only lower the loss, but the loss around the weights too. "
        "That is what flat means.",
    ),
    "score": Hint(
        "Press **Score**: every training image gets a number under each model, and a suggested label.",
        "**Look:** what the methods measure, and their signs. Which sign of the standard influence is suspicious?",
        "The negative one: leaving such an image out would lower the validation loss. Our score is never negative; "
        "large is suspicious (open the list of methods on this page).",
    ),
    "compare": Hint(
        "Score a second method or model first: there is only one score to look at.",
        "**Look:** the tab *Tuning snapshots*. Does the standard influence find the wrong labels still, at the end?",
        "Worse than at the start, on the demo and in the paper's Fig. 3: at the minimum the validation gradient is "
        "near zero, and the standard score with it. Ours gets better on the way.",
    ),
    "review": Hint(
        "Press **Start the review**, then decide with one key an image: `A` accepts the suggested label, `K` keeps "
        "the given one.",
        "**Look:** open *How far to go*. How many of the images you looked at were wrong, and how many more will be?",
        "It counts what you confirmed at which rank. The further down, the fewer are wrong: stop where a look is no "
        "longer worth it.",
    ),
}
"""The steps of the tour in their order, by page."""
