"""The command from end to end, on a model that fires on one word."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from extauthz import cli
from extauthz.core.call import Passage, Provenance
from extauthz.settings import DEFAULT_MODEL
from extauthz.training.evaluation import evaluate, score
from extauthz.training.evaluation.score import WindowScorer
from tests import canary_model
from tests.canary_model import CANARY

SECRET = "a private matter"
ROWS = [
    {"text": f"please {CANARY} now", "label": 1, "kind": "direct", "lang": "en"},
    {"text": f"another way to ask for it {SECRET}", "label": 1, "kind": "direct"},
    {"text": "of neither class", "label": None},
    {"text": f"mail: {CANARY} " + "and so on " * 40, "label": 1, "channel": "document"},
    *({"text": f"honest text {n}", "label": 0, "split": "dev"} for n in range(8)),
    {"text": f"honest {CANARY}", "label": 0, "channel": "document"},
]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("canary"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def run(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Evaluates the canary on the rows, and gives what was printed."""

    def evaluated(*words: str | Path) -> str:
        assert cli.main(["evaluate", str(data), "--model", str(model), *map(str, words)]) == 0
        return capsys.readouterr().out

    return evaluated


def lines(report: dict[str, Any]) -> dict[str, Any]:
    return {line["group"]: line for line in report["lines"]}


def test_every_group_is_printed_and_every_figure_written(run: Run, tmp_path: Path) -> None:
    shown = run("--json", tmp_path / "report.json")
    assert shown.startswith("12 texts, scored by ")
    assert "thresholds: the model's own" in shown
    report = json.loads((tmp_path / "report.json").read_text())
    found = lines(report)
    assert all(f"\n{group} " in shown for group in found)
    assert {"all", "set mixed", "channel document", "kind direct (user)", "language und"} <= set(
        found
    )
    every = found["all"]
    assert (every["attacks"], every["benign"]) == (3, 9)
    assert (every["recall"]["hits"], every["recall"]["of"]) == (2, 3)
    assert (every["false_positive_rate"]["hits"], every["false_positive_rate"]["of"]) == (1, 9)
    assert found["channel user"]["auc"] == 0.75  # one above all, one level with them
    assert every["recall_at"] == {"0.01": None, "0.005": None, "0.001": None}
    assert report["scores_that_are_no_number"] == 0
    assert report["thresholds"]["by_channel"]["user"] == 0.5


def test_only_the_split_that_is_asked_for_is_measured(run: Run) -> None:
    assert run("--split", "dev").startswith("8 texts")
    assert run("--split", "train").startswith("4 texts")


def test_without_rows_there_is_nothing_to_measure(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert cli.main(["evaluate", str(empty), "--model", str(model)]) == 1
    assert "no labelled rows" in capsys.readouterr().out


def test_the_shipped_model_is_the_default(data: Path, tmp_path: Path) -> None:
    assert cli.main(["evaluate", str(data), "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"]["digest"] == WindowScorer(DEFAULT_MODEL).directory.digest


def test_no_text_leaves_by_what_is_printed_or_by_the_files_for_machines(
    run: Run, tmp_path: Path
) -> None:
    more = ("--attempts", "2", "--buried", "2")
    shown = run("--json", tmp_path / "report", "--scores", tmp_path / "scores", *more)
    for told in (shown, (tmp_path / "report").read_text(), (tmp_path / "scores").read_text()):
        assert SECRET not in told
        assert CANARY not in told
    assert len((tmp_path / "scores").read_text().splitlines()) == 12


def test_the_worst_texts_go_to_a_file_that_says_so(run: Run, tmp_path: Path) -> None:
    shown = run("--worst", tmp_path / "worst")
    assert SECRET in (tmp_path / "worst").read_text()
    assert SECRET not in shown
    assert "it holds texts of the data" in shown


def test_disguises_are_measured_with_the_views_and_without(run: Run, tmp_path: Path) -> None:
    shown = run("--disguises", "--json", tmp_path / "report")
    found = {
        one["disguise"]: one for one in json.loads((tmp_path / "report").read_text())["disguises"]
    }
    assert found["plain"]["views"]["recall"]["hits"] == 2
    assert found["base64"]["views"]["of_plain"] == 1.0
    assert found["base64"]["raw"]["of_plain"] == 0.0
    assert "\nbase64 " in shown


def test_attempts_are_counted_until_one_passes(run: Run, tmp_path: Path) -> None:
    shown = run("--attempts", "20", "--json", tmp_path / "report")
    found = json.loads((tmp_path / "report").read_text())["attempts"]
    assert found["as_written"]["hits"] == 1  # the one that the canary does not know
    assert set(found["within"]) == {"1", "10", "20"}
    hits = [found["within"][count]["hits"] for count in ("1", "10", "20")]
    assert hits == sorted(hits)
    assert 1 in found["first_passes"]
    assert "20 attempts" in shown


def test_attacks_are_buried_in_documents_of_the_honest_rows(
    run: Run, data: Path, tmp_path: Path
) -> None:
    rows = [
        {"text": f"mail: {CANARY} at once", "label": 1, "channel": "document"},
        {"text": "another way to ask for it", "label": 1, "channel": "tool_result"},
        *(
            {"text": f"page {n} " + "and so on " * 200, "label": 0, "channel": "tool_result"}
            for n in range(20)
        ),
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown = run("--buried", "2", "--json", tmp_path / "report")
    found = json.loads((tmp_path / "report").read_text())["buried"]
    assert (found["documents"], found["attacks"]) == (2, 2)
    assert (found["recall"]["hits"], found["recall"]["of"]) == (1, 2)
    assert found["false_positive_rate"]["hits"] == 0
    assert 8_000 <= found["mean_length"] <= 32_000
    assert set(found["by_place"]) == {"first third", "middle", "last third"}
    assert "\n2 documents of " in shown
    assert "\nlast third " in shown


def test_without_texts_of_third_parties_nothing_is_buried(run: Run, data: Path) -> None:
    data.write_text(json.dumps({"text": "an honest text", "label": 0}) + "\n", encoding="utf-8")
    assert "\n0 documents of - characters" in run("--buried", "2")


def test_the_same_few_texts_are_varied_and_no_long_ones(run: Run, data: Path) -> None:
    long = {"text": "x" * 3_000, "label": 1}
    data.write_text(data.read_text() + json.dumps(long) + "\n")
    assert "\n3 attacks of up to 2000 characters" in run("--attempts", "1")
    assert "\n2 attacks and 2 benign texts" in run("--disguises", "--sample", "2")


def test_one_threshold_is_set_by_a_named_set(run: Run, tmp_path: Path) -> None:
    shown = run("--everyday", "mixed", "--rate", "0.2", "--json", tmp_path / "report")
    report = json.loads((tmp_path / "report").read_text())
    assert len(set(report["thresholds"]["by_channel"].values())) == 1
    assert report["thresholds"]["set_by"] == [f"{tmp_path / 'mixed.jsonl'}:13"]
    assert "1 of 9 benign rows of mixed (11.11 %) reach it" in shown
    assert f"set by {tmp_path / 'mixed.jsonl'}:13" in shown


def test_a_threshold_can_be_given(run: Run, tmp_path: Path) -> None:
    run("--threshold", "1", "--json", tmp_path / "report")
    assert lines(json.loads((tmp_path / "report").read_text()))["all"]["recall"]["hits"] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--threshold", "0.5", "--rate", "0.1"], "expected one of them"),
        (["--threshold", "1.5"], "above 0 and up to 1"),
        (["--everyday", "nobody"], "0 benign rows"),
        (["--rate", "0.01"], "calibration"),
        (["--rate", "0"], "between 0 and 1"),
        (["--attempts", "-1"], "--attempts and --buried must be 0 or more"),
        (["--buried", "-1"], "--attempts and --buried must be 0 or more"),
        (["--sample", "0"], "--sample 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    words: list[str], complaint: str, data: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(data), "--model", str(model), *words]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert complaint in told


def test_pictures_are_drawn_where_they_are_wanted(run: Run, tmp_path: Path) -> None:
    shown = run("--plots", tmp_path / "pictures", "--attempts", "2")
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"roc.png", "reliability.png", "scores.png", "attempts.png"}
    assert all(str(tmp_path / "pictures" / name) in shown for name in names)


def test_without_matplotlib_one_line_names_the_extra(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluate, "find_spec", lambda _name: None)
    assert cli.main(["evaluate", str(data), "--plots", str(tmp_path / "pictures")]) == 2
    told = capsys.readouterr().err
    assert told == "--plots needs matplotlib: pip install 'extauthz[plots]'\n"
    assert not (tmp_path / "pictures").exists()


def test_texts_of_which_the_model_makes_no_number_are_denied_and_counted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = canary_model.build(tmp_path / "faulty")
    graph = onnx.load(faulty / "model.onnx")
    (table,) = (one for one in graph.graph.initializer if one.name == "table")
    values = onnx.numpy_helper.to_array(table).copy()
    values[values == 1] = math.inf
    table.CopyFrom(onnx.numpy_helper.from_array(values, "table"))
    onnx.save(graph, faulty / "model.onnx")
    words = [str(data), "--model", str(faulty), "--json", str(tmp_path / "report")]
    assert cli.main(["evaluate", *words]) == 0
    assert "no number for 3 of them: these are denied" in capsys.readouterr().out
    report = json.loads((tmp_path / "report").read_text())
    assert report["scores_that_are_no_number"] == 3
    assert lines(report)["all"]["recall"]["hits"] == 2


def test_a_score_is_that_of_the_worst_view_and_no_text_has_none(model: Path) -> None:
    scorer = WindowScorer(model)
    hidden = Passage(Provenance.USER, f"please {CANARY} now at once".encode().hex())
    plain = Passage(Provenance.USER, "an honest text")
    raw, worst = scorer.raw_and_worst([plain, hidden, plain])
    assert (raw < 0.5).all()
    assert (worst > 0.5).tolist() == [False, True, False]
    assert scorer.texts([]).tolist() == []
    np.testing.assert_array_equal(scorer.texts([plain, hidden, plain]), worst)


def test_a_model_whose_scores_may_depend_on_their_batch_runs_window_by_window(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = WindowScorer(model)
    sizes: list[int] = []
    batch = scorer.batch

    def noting(windows: list[score.Window]) -> Any:
        sizes.append(len(windows))
        return batch(windows)

    monkeypatch.setattr(scorer, "batch", noting)
    scorer.texts([Passage(Provenance.USER, f"text {n} " * 30) for n in range(3)])
    assert len(sizes) > 3
    assert set(sizes) == {1}
