"""The Generation page without a browser: empty, bring, tune, score, prompts, verdicts. Keys: tests/browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import button, ended_job, open_page, running_job, texts, visible
from pair_score_files import CLASSES, HOSTILE, WRONG, invented
from sklearn.metrics import roc_auc_score
from streamlit.testing.v1 import AppTest

from fvm_core.generation.pair_file import read_pair_file, write_pair_file
from fvm_core.generation.pairs import PairSet, text_pairs
from fvm_core.generation.published import PRINTED, printed_rows
from fvm_core.generation.score_store import read_column, read_matrix
from fvm_core.generation.store import GenerationRecord, list_pairs, model_path, read_pairs, write_record
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import list_sessions, open_session
from fvm_core.workspace import Workspace
from pages.ui import generation_gallery, generation_start
from pages.ui.generation_cards import PairCard, cards
from pages.ui.generation_pictures import picture
from pages.ui.generation_planted import ahead
from pages.ui.generation_scores import beside
from pages.ui.generation_spread import by_class
from pages.ui.generation_watch import find
from pages.ui.upload import SUFFIXES

Started = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The jobs that the page starts; none is run."""
    seen: Started = []

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        json.dumps(args)
        seen.append((kind, args))
        return "job"

    for module in ("start", "models", "tune", "scores", "prompts"):
        monkeypatch.setattr(f"pages.ui.generation_{module}.start_job", start)
    return seen


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the page hands to the list of pairs, newest last."""
    seen: list[dict[str, Any]] = []

    def mount(*, data: dict[str, Any], **_: object) -> None:
        json.dumps(data, allow_nan=False)
        seen.append(data)

    monkeypatch.setattr(generation_gallery, "_component", mount)
    return seen


def open_tab(name: str, **state: Any) -> AppTest:
    page = open_page("generation", generation_tab=name, **state)
    assert not page.error, [one.value for one in page.error]
    return page


def html(page: AppTest) -> str:
    return "\n".join(str(one.proto.body) for one in page.get("html"))


def add_record(workspace: Workspace, name: str, role: str, **more: Any) -> None:
    folder = model_path(workspace, name)
    folder.mkdir(parents=True)
    base = {} if role == "base" else {"base": "demo", "parent": "demo"}
    write_record(
        folder, GenerationRecord(name=name, kind="text", role=role, created=f"2026-01-0{len(name) % 9}", **base, **more)
    )


@pytest.fixture
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_start, "SHIPPED", tmp_path / "none")


@pytest.mark.usefixtures("nothing_shipped")
def test_one_click_makes_pairs_and_starts_what_did_not_come_with_the_app(
    workspace: Workspace, started: Started
) -> None:
    page = open_tab("Models and pairs")
    assert "No model at hand?" in texts(page) and "trained from scratch" in texts(page)
    button(page, "Set up the example").click().run()
    assert not page.exception and not page.error
    assert list_pairs(workspace) == ["problems-train", "problems-val", "sentences-train", "sentences-val"]
    assert len(read_pairs(workspace, "sentences-train")) == 900
    assert [(kind, args["name"]) for kind, args in started] == [("gen_pretrain", "small-llama")]
    assert "sentences-val" in visible(page.success[0].value)


def test_missing_libraries_are_named_with_their_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_start, "find_spec", lambda name: None if name == "diffusers" else object())
    (warning,) = open_tab("Models and pairs").warning
    assert "diffusers" in warning.value and "`peft`" not in warning.value
    assert "pip install -r fvm_core/generation/requirements.txt" in warning.value


def test_pairs_are_made_by_a_seed_with_wrong_targets(workspace: Workspace) -> None:
    page = open_tab("Models and pairs")
    next(one for one in page.number_input if one.label == "Training a class").set_value(4)
    next(one for one in page.number_input if one.label == "Validation a class").set_value(1)
    next(one for one in page.number_input if one.label == "Wrong targets (%)").set_value(25)
    button(page, "Make pairs").click().run()
    assert not page.exception and not page.error
    made = read_pairs(workspace, "sentences-train")
    assert made.wrong is not None and (len(made), sum(made.wrong)) == (40, 10)
    assert len(read_pairs(workspace, "sentences-val")) == 10


def test_an_upload_is_read_and_its_words_stay_words(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": HOSTILE, "target": "<script>1</script>"}) + "\n")
    page = open_tab("Models and pairs", generation_source="file")
    page.file_uploader[0].set_value(("../My pairs.jsonl", path.read_bytes(), "application/json"))
    button(page, "Take over").click().run()
    assert not page.exception and list_pairs(workspace) == ["my-pairs"]
    assert read_pairs(workspace, "my-pairs").prompts == (HOSTILE,) and ".jsonl" in SUFFIXES


def test_an_uploaded_file_cannot_name_images_of_the_machine(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "images.parquet"
    write_pair_file(path, PairSet(ids=("a",), prompts=("x",), targets=("passwd",), kind="image", root="/etc"))
    page = open_tab("Models and pairs", generation_source="file")
    page.file_uploader[0].set_value(("images.parquet", path.read_bytes(), "application/octet-stream"))
    button(page, "Take over").click().run()
    assert "must hold text" in page.error[0].value and list_pairs(workspace) == []


def test_an_empty_path_is_told(workspace: Workspace) -> None:
    page = open_tab("Models and pairs", generation_source="folder")
    button(page, "Take over").click().run()
    assert "Path of the folder" in visible(page.error[0].value)


def test_pictures_come_from_below_their_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    uri, problem = picture(str(tmp_path / "inner"), "../secret.png")
    assert uri == "" and "must stay inside" in problem
    assert picture(str(tmp_path), "secret.png")[0] == ""


def test_cards_escape_every_word() -> None:
    drawn = cards([PairCard(HOSTILE, "<b>x</b>", "<i>class</i>", "+1", True)])
    assert "<img" not in drawn and "<b>x" not in drawn and "<i>" not in drawn
    assert "&lt;img src=x" in drawn and "same class" in drawn


def test_tuning_is_started_with_the_settings_on_the_page(workspace: Workspace, started: Started) -> None:
    invented(workspace)
    add_record(workspace, "demo", "base", path="/models/llama", training={"name": "demo-val"})
    page = open_tab("Tune")
    button(page, "Start tuning").click().run()
    assert not page.exception and not page.error
    ((kind, args),) = started
    assert (kind, args["model"], args["training"], args["validation"]) == ("gen_tune", "demo", "demo-train", "demo-val")
    settings = args["settings"]
    assert (settings["role"], settings["epochs"], settings["lr"], settings["rank"]) == ("lora", 10, 3e-4, 8)
    assert settings["sharpness_every"] > 0 and args["options"]["template"] == "{prompt}\n"


@pytest.mark.parametrize(("path", "rate"), [("", 5e-3), ("/models/llama", 3e-4)])
def test_a_small_model_made_here_starts_with_a_larger_rate(workspace: Workspace, path: str, rate: float) -> None:
    invented(workspace)
    add_record(workspace, "demo", "base", path=path)
    page = open_tab("Tune")
    assert next(one for one in page.number_input if one.label == "Learning rate").value == rate


def test_vm_and_fvm_go_on_from_an_adapter(workspace: Workspace, started: Started) -> None:
    invented(workspace)
    add_record(workspace, "demo", "base")
    page = open_tab("Tune", generation_role="fvm")
    assert "Tune one with LoRA first" in texts(page)
    add_record(workspace, "demo-lora", "lora", training={"name": "demo-train"}, validation={"name": "demo-val"})
    page = open_tab("Tune", generation_role="fvm")
    button(page, "Start tuning").click().run()
    ((_, args),) = started
    assert (args["model"], args["options"], args["settings"]["gamma"]) == ("demo-lora", {}, 0.001)
    assert args["settings"]["lr"] == 3e-5 and args["settings"]["epochs"] == 5


def test_a_running_tuning_shows_its_curves(workspace: Workspace) -> None:
    invented(workspace)
    add_record(workspace, "demo", "base")
    args = {"name": "demo-lora", "settings": {"role": "lora"}}
    with running_job(workspace, "gen_tune", args, title="Tune demo-lora", done=3, total=9) as folder:
        rows = [{"step": step, "val_loss": 2.0 - step / 9, "random_sharpness": 0.1} for step in range(3)]
        folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tuning,) = find(workspace)
        assert (tuning.name, tuning.role, tuning.active) == ("demo-lora", "lora", True)
        page = open_tab("Tune")
        assert page.multiselect(key="generation_watch").value == ["demo-lora"]
        assert len(page.get("vega_lite_chart")) == 5


def test_a_tuning_that_failed_says_why(workspace: Workspace) -> None:
    add_record(workspace, "demo", "base")
    ended_job(workspace, "gen_tune", {"name": "x"}, title="Tune x", state="failed", error="`rank` must be small.")
    page = open_page("generation", generation_tab="Tune")
    assert "rank" in page.error[0].value and "Resume" in [one.label for one in page.button]


def test_scoring_is_started_with_the_papers_methods(workspace: Workspace, started: Started) -> None:
    add_record(workspace, "demo-lora", "lora")
    page = open_tab("Scores")
    button(page, "Score").click().run()
    ((kind, args),) = started
    assert (kind, args["model"], args["settings"]["methods"]) == ("gen_score", "demo-lora", "tracin,datainf")


def test_the_table_has_our_figures_beside_the_papers(workspace: Workspace) -> None:
    training, validation = invented(workspace)
    page = open_tab("Scores", gen_task="sentences")
    frame = page.dataframe[0].value.set_index("Method")
    matrix = read_matrix(workspace, "demo-fvm", "influence")
    truth = np.array(training.classes)
    aucs = [roc_auc_score(truth == name, matrix[:, place]) for place, name in enumerate(validation.classes or ())]
    assert frame.loc["FVM", "ROC AUC"] == f"{100 * np.mean(aucs):.2f} ± {100 * np.std(aucs):.2f}"
    assert (
        frame.loc["FVM", "Paper's ROC AUC"] == "99.92 ± 0.18"
        and frame.loc["TracIn", "Paper's recall"] == "70.97 ± 25.18"
    )
    assert frame.index.tolist() == ["TracIn", "DataInf", "VM", "FVM"]
    planted = page.dataframe[1].value
    assert set(planted["ROC AUC"]) == {"100.00"} and set(planted["Suspicion"]) == {"Eq. 21", "Loss"}
    assert set(planted["Among the first"]) == {"100.00"} and set(planted["Model"]) == {"LoRA", "VM", "FVM"}
    assert "is level with" in texts(page) and "of the 2 most suspicious pairs" in texts(page)
    assert len(page.get("plotly_chart")) == 1


@pytest.mark.parametrize(
    ("score", "loss", "wanted"),
    [
        ((90.0, 9.0), (80.0, 8.0), "By ROC AUC Eq. 21 at FVM (90.00) is ahead of Loss at VM (80.00); "
         "by AP Eq. 21 at FVM (9.00) is ahead of Loss at VM (8.00)."),
        ((70.0, 9.0), (80.0, 8.0), "By ROC AUC Loss at VM (80.00) is ahead of −TracIn, mean at LoRA (75.00); "
         "by AP Eq. 21 at FVM (9.00) is ahead of Loss at VM (8.00)."),
        ((80.2, 2.0), (80.0, 8.0), "By ROC AUC Eq. 21 at FVM (80.20) is level with Loss at VM (80.00); "
         "by AP Loss at VM (8.00) is ahead of Eq. 21 at FVM (2.00)."),
    ],
)  # fmt: skip
def test_where_the_plain_loss_is_ahead_the_page_says_so(
    score: tuple[float, float], loss: tuple[float, float], wanted: str
) -> None:
    import pandas as pd

    rows = [("lora", "tracin", 75.0, 1.0), ("fvm", "influence", *score), ("vm", "loss", *loss),
            ("fvm", "loss", 5.0, 1.0)]  # fmt: skip
    assert ahead(pd.DataFrame(rows, columns=["role", "method", "auc", "ap"])) == wanted
    assert ahead(pd.DataFrame(rows[:2], columns=["role", "method", "auc", "ap"])) == ""


def test_the_papers_other_rows_stand_without_ours(workspace: Workspace) -> None:
    import pandas as pd

    ours = pd.DataFrame(
        [{"method": "VM", "run": "a", "auc_mean": 1.0, "auc_std": 0.0, "recall_mean": 2.0, "recall_std": 0.0}]
    )
    frame = beside(ours, printed_rows("styles"))
    assert len(frame) == 6 and frame["Method"].tolist()[0] == "VM"
    assert frame.set_index("Method").loc["DataInf †", "Paper's ROC AUC"] == "82.00 ± 0.50"
    assert list(beside(ours, {}).columns) == ["Method", "Scores", "ROC AUC", "Recall"]


def test_printed_figures_are_the_papers() -> None:
    """Spot checks against Tables 4 and 5 of the paper, and their size."""
    assert len(PRINTED) == 20
    best = {
        task: max(printed_rows(task).values(), key=lambda row: row.auc)
        for task in ("sentences", "problems", "styles", "subjects")
    }
    assert {task: (row.method, row.auc, row.recall) for task, row in best.items()} == {
        "sentences": ("VM", 99.97, 99.10), "problems": ("FVM", 99.99, 99.38), "styles": ("VM", 92.19, 79.85),
        "subjects": ("FVM", 92.87, 55.39),
    }  # fmt: skip
    assert printed_rows("problems")["TracIn"].recall_std == 39.95


def test_scores_by_class_are_ranked_for_each_validation_pair_apart() -> None:
    import pandas as pd
    from scipy.stats import percentileofscore

    scores = np.array([[3.0, 10.0], [1.0, 30.0], [2.0, 20.0]], np.float32)
    training, validation = pd.Series(["a", "b", "a"]), pd.Series(["a", "b"])
    values, same = by_class(scores, training, validation, rank=True)
    wanted = [percentileofscore(scores[:, v], scores[n, v], kind="mean") for n in range(3) for v in range(2)]
    assert values == pytest.approx(wanted)
    assert same.tolist() == [True, False, False, True, True, False]
    assert by_class(scores, training, validation, rank=False)[0].tolist() == scores.ravel().tolist()


def test_a_validation_pair_has_its_training_pairs_for_and_against(workspace: Workspace) -> None:
    training, validation = invented(workspace)
    page = open_tab("Prompts")
    assert page.selectbox(key="gen_pair_method").value == "FVM"
    scores = read_column(workspace, "demo-fvm", "influence", validation.ids[0])
    drawn = html(page)
    for place in (int(np.argmax(scores)), int(np.argmin(scores))):
        assert f"{scores[place]:+.3g}" in drawn
    assert "<img src=x" not in drawn and "&lt;img src=x" in drawn
    own = (np.array(training.classes)[np.argsort(-scores)[:6]] == CLASSES[0]).mean()
    assert f"{100 * own:.0f} % are of the same class" in visible(texts(page))


def test_a_typed_prompt_is_asked_as_a_job(workspace: Workspace, started: Started) -> None:
    add_record(workspace, "demo-lora", "lora")
    page = open_tab("Prompts", gen_mode="prompt")
    button(page, "Ask").click().run()
    assert "must not be empty" in page.error[0].value and not started
    page.text_area[0].set_value("Shout: hello")
    button(page, "Ask").click().run()
    ((kind, args),) = started
    assert (kind, args["model"], args["prompt"], args["target"]) == ("gen_ask", "demo-lora", "Shout: hello", "")


def session_of(workspace: Workspace, training: PairSet) -> str:
    log = DecisionLog(workspace.review_url)
    made = open_session(log, name="first", reviewer="Ada", dataset="demo-train", fingerprint=training.fingerprint)
    return made.id


def press(data: dict[str, Any], seq: int, place: int, action: str) -> dict[str, Any]:
    label = None if action == "undo" else int(action == "accept")
    item = data["items"][place]
    entry = {
        "client": "tab", "seq": seq, "id": item["id"], "action": action, "label": label, "run": data["run"],
        "score": item["score"], "suggested": 1,
    }  # fmt: skip
    return {"sent": {"client": "tab", "session": data["session"], "reviewer": "", "entries": [entry], "echo": seq}}


def test_verdicts_go_into_the_log_before_the_page_says_so(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    training, _ = invented(workspace)
    session = session_of(workspace, training)
    page = open_tab("Wrong pairs")
    first = sent[-1]
    assert {item["id"] for item in first["items"][:2]} == {training.ids[row] for row in WRONG}
    assert [item["rank"] for item in first["items"]] == list(range(1, 19)) and first["run"] == "demo-fvm/influence"
    assert first["counts"] == {"wrong": 0, "right": 0, "skipped": 0, "left": 18}
    for seq, (place, action) in enumerate([(0, "accept"), (1, "accept"), (1, "undo"), (1, "keep"), (2, "skip")], 1):
        page.session_state[generation_gallery.KEY] = press(first, seq, place, action)
        page.run()
        assert not page.exception and sent[-1]["acked"] == {"tab": seq} and not sent[-1]["refused"]
    log = DecisionLog(workspace.review_url)
    (kept,) = list_sessions(log)
    assert (kept.id, kept.dataset, kept.fingerprint) == (session, "demo-train", training.fingerprint)
    actions = [(decision.action, decision.given, decision.suggested) for decision in log.read(session)]
    assert actions == [("accept", 0, 1), ("accept", 0, 1), ("undo", 0, 1), ("keep", 0, 1), ("skip", 0, 1)]
    assert sent[-1]["counts"] == {"wrong": 1, "right": 1, "skipped": 1, "left": 15}
    assert [item["id"] for item in sent[-1]["items"]] == [item["id"] for item in first["items"]], "nothing moves"
    button(page, "Write JSONL, Parquet and CSV").click().run()
    assert not page.exception and not page.error
    (path,) = workspace.exports.glob("*.parquet")
    back = read_pair_file(path)
    assert back.ids == tuple(one for one in training.ids if one != first["items"][0]["id"])
    assert read_pair_file(path.with_suffix(".jsonl")).prompts == back.prompts
    button(page, "Use as a set").click().run()
    assert read_pairs(workspace, "demo-train-kept").ids == back.ids


def test_an_invented_pair_is_refused(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    training, _ = invented(workspace)
    session = session_of(workspace, training)
    page = open_tab("Wrong pairs")
    told = press(sent[-1], 1, 0, "accept")
    told["sent"]["entries"][0]["id"] = "nobody"
    page.session_state[generation_gallery.KEY] = told
    page.run()
    assert "must be a sample" in sent[-1]["refused"]["tab:1"]
    assert DecisionLog(workspace.review_url).read(session) == []


def test_pairs_without_classes_have_no_table_but_a_review(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    from fvm_core.generation.score_job import samples
    from fvm_core.generation.score_store import write_run

    training, validation = text_pairs(["a", "b"], ["x", "y"]), text_pairs(["c"], ["z"])
    frame = samples(training, [1.0, 2.0])
    frame["suspicion_influence"] = [0.5, float("nan")]
    about = {
        "kind": "text", "root": "", "model": {"name": "m", "role": "fvm"}, "training": training.describe("t"),
        "validation": validation.describe("v"),
    }  # fmt: skip
    write_run(workspace, "m", frame, samples(validation, [1.0]), {"influence": np.ones((2, 1), np.float32)}, about)
    assert "no classes" in texts(open_tab("Scores"))
    prompts = texts(open_tab("Prompts"))
    assert "Speak most for it" in prompts and "second-order" not in prompts
    firsts = np.array([[-1000.0], [3.0]])
    about |= {"settings": {"epsilon": 0.01}}
    high = (firsts + 0.005 * firsts**2).astype(np.float32)
    assert high[0, 0] > high[1, 0], "the one against stands above the one for"
    write_run(workspace, "m", frame, samples(validation, [1.0]), {"influence": high}, about)
    assert "= -50" in texts(open_tab("Prompts"))
    session_of(workspace, training)
    open_tab("Wrong pairs")
    assert [item["score"] for item in sent[-1]["items"]] == [0.5, None]


def test_images_are_shown_in_prompts_and_in_the_review(workspace: Workspace, sent: list[dict[str, Any]]) -> None:
    import pandas as pd

    from fvm_core.generation.image_data import make_digit_styles
    from fvm_core.generation.score_store import write_run

    names = make_digit_styles(workspace, "styles", training=3, validation=1, practice=1)
    training, validation = (read_pairs(workspace, name) for name in names[:2])
    frames = [
        pd.DataFrame(
            {
                "id": pairs.ids, "prompt": pairs.prompts, "target": pairs.targets, "class": pairs.classes,
                "wrong": pd.Series(pairs.wrong, dtype="object"), "loss": 1.0,
            }
        )
        for pairs in (training, validation)
    ]  # fmt: skip
    frames[0]["suspicion_influence"] = np.arange(len(training), dtype=float)
    about = {
        "kind": "image", "root": training.root, "validation_root": validation.root,
        "model": {"name": "m", "role": "fvm"},
        "training": training.describe(names[0]), "validation": validation.describe(names[1]),
    }  # fmt: skip
    scores = np.random.default_rng(0).normal(size=(len(training), len(validation))).astype(np.float32)
    write_run(workspace, "m", *frames, {"influence": scores}, about)
    assert html(open_tab("Prompts")).count("data:image/png;base64,") == 1 + 2 * min(8, len(training))
    session_of(workspace, training)
    open_tab("Wrong pairs")
    items = sent[-1]["items"]
    assert len(items) == len(training) and all(item["picture"].startswith("data:image/png") for item in items)
