"""What is accepted as a model directory, and what is said of one that is not."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.call import Passage, Provenance
from extauthz.model import calibration
from extauthz.model.directory import ModelError, load
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.model.tokenizer import tokenizer_of
from tests import canary_model
from tests.canary_model import MARKERS
from tests.model.calibrations import calibrated


def described(path: Path, *, marked: bool = False, **changes: Any) -> Path:
    """A canary directory with a `guard.json` that is right but for the named members."""
    canary_model.build(path, markers=marked)
    files = ("model.onnx", "tokenizer.json", "config.json")
    guard = {
        "format": 2,
        "name": "canary",
        "version": "3",
        "window": 24,
        "overlap": 6,
        "malicious_labels": ["INJECTION"],
        "markers": dict(MARKERS) if marked else {},
        "batch_invariant": True,
        "training_data": "none",
        "sha256": {name: sha256(path / name) for name in files},
    }
    (path / "guard.json").write_text(json.dumps(guard | changes))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(path: Path, *expected: str, calibrated: Path | None = None) -> None:
    with pytest.raises(ModelError) as caught:
        load(path, calibrated)
    for text in expected:
        assert text in str(caught.value)


# Drop-in folders


@pytest.mark.parametrize("nested", [False, True])
def test_a_hugging_face_folder_is_served_as_it_is(tmp_path: Path, nested: bool) -> None:
    model = load(canary_model.build(tmp_path / "guard", nested=nested))
    assert model.name == "guard"
    assert model.labels == ("BENIGN", "INJECTION")
    assert model.malicious == (False, True)
    assert (model.window, model.overlap, model.pad_id) == (32, 8, 0)
    assert model.thresholds() == dict.fromkeys(Provenance, 0.5)
    assert model.calibration is None
    assert model.markers == {}
    assert not model.batch_invariant
    assert model.onnx.parent.name == ("onnx" if nested else "guard")


@pytest.mark.parametrize("name", ["model_quantized.onnx", "model_int8.onnx"])
def test_a_quantised_graph_is_found_when_there_is_no_other(tmp_path: Path, name: str) -> None:
    canary_model.build(tmp_path, nested=True)
    (tmp_path / "onnx/model.onnx").rename(tmp_path / "onnx" / name)
    assert load(tmp_path).onnx.name == name
    shutil.copy(tmp_path / "onnx" / name, tmp_path / "onnx/model.onnx")
    assert load(tmp_path).onnx.name == "model.onnx"


@pytest.mark.parametrize(
    ("labels", "malicious"),
    [
        (("LABEL_0",), (True,)),
        (("INJECTION",), (True,)),
        (("SAFE", "JAILBREAK"), (False, True)),
        (("attack", "legit"), (True, False)),
        (("benign", "injection", "jailbreak"), (False, True, True)),
    ],
)
def test_labels_say_which_of_them_is_the_attack(
    tmp_path: Path, labels: tuple[str, ...], malicious: tuple[bool, ...]
) -> None:
    assert load(canary_model.build(tmp_path, labels)).malicious == malicious


def test_config_json_may_name_the_attack_among_labels_that_do_not(tmp_path: Path) -> None:
    config: dict[str, object] = {"malicious_labels": ["LABEL_1"]}
    model = load(canary_model.build(tmp_path, ("LABEL_0", "LABEL_1"), config=config))
    assert model.malicious == (False, True)


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1"),
        ("safe", "benign"),
        ("injection", "attack"),
        ("safe", "injection", "?"),
    ],
)
def test_labels_that_leave_it_open_are_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    canary_model.build(tmp_path, labels)
    refused(tmp_path, "config.json", "cannot tell", str(list(labels)), "malicious_labels")


@pytest.mark.parametrize("count", [0, 4])
def test_a_head_has_one_to_three_labels(tmp_path: Path, count: int) -> None:
    id2label = {str(i): f"L{i}" for i in range(count)}
    canary_model.build(tmp_path, config={"id2label": id2label})
    refused(tmp_path, f"{count} labels", "expected 1 to 3")


@pytest.mark.parametrize("keys", [("zero", "one"), ("1", "2"), ("0", "00"), ("0", "2"), ("", "1")])
def test_label_keys_are_the_indices_of_the_logits(tmp_path: Path, keys: tuple[str, str]) -> None:
    canary_model.build(tmp_path, config={"id2label": dict.fromkeys(keys, "SAFE")})
    refused(tmp_path, "config.json", "id2label", "expected ['0', '1']")


def test_unknown_names_in_malicious_labels_are_refused(tmp_path: Path) -> None:
    canary_model.build(tmp_path, config={"malicious_labels": ["EVIL"]})
    refused(tmp_path, "config.json", "malicious_labels", "EVIL", "INJECTION")


@pytest.mark.parametrize("positions", [-1, 0, 2])
def test_a_folder_whose_window_holds_no_text_is_refused(tmp_path: Path, positions: int) -> None:
    canary_model.build(tmp_path, config={"max_position_embeddings": positions})
    refused(tmp_path, "config.json", "overlap < window - 2")


def test_a_long_context_is_used_in_windows_of_512(tmp_path: Path) -> None:
    model = load(canary_model.build(tmp_path, config={"max_position_embeddings": 8_192}))
    assert (model.window, model.overlap) == (512, 64)


def test_no_pad_token_means_zero(tmp_path: Path) -> None:
    assert load(canary_model.build(tmp_path, config={"pad_token_id": None})).pad_id == 0


# What is missing or broken


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    canary_model.build(tmp_path)
    (tmp_path / name).unlink()
    refused(tmp_path, str(tmp_path), name, "expected")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "model.onnx")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"id2label": 3}',
        b'{"id2label": {"0": 1}}',
        b'{"model_type": "\xff"}',
        b'{"x": ' + b"[" * 100_000,
    ],
    ids=["empty", "cut", "list", "number", "no name", "not UTF-8", "deep"],
)
def test_a_broken_config_is_refused(tmp_path: Path, content: bytes) -> None:
    canary_model.build(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    refused(tmp_path, "config.json")


def test_a_guard_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    canary_model.build(tmp_path)
    (tmp_path / "guard.json").mkdir()
    refused(tmp_path, "guard.json")


# Our own directories


def test_guard_json_says_what_a_directory_is(tmp_path: Path) -> None:
    model = load(described(tmp_path))
    assert (model.name, model.version) == ("canary", "3")
    assert (model.window, model.overlap) == (24, 6)
    assert model.batch_invariant
    assert model.markers == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": 1}, "format 1 is not known here, expected 2"),
        ({"window": 600}, "window - 2 <= 512"),
        ({"window": 2, "overlap": 0}, "overlap < window - 2"),
        ({"window": 16, "overlap": 14}, "overlap < window - 2"),
        ({"overlap": -1}, "0 <= overlap"),
        ({"markers": {"user": "[USER]"}}, "there is none for assistant, document, "),
        ({"markers": {"nobody": "[NOBODY]"}}, "nobody"),
        ({"markers": {"user": 3}}, "markers"),
        ({"thresholds": {"user": 0.5}}, "thresholds"),
        ({"malicious_labels": ["EVIL"]}, "EVIL"),
        ({"stride": 3}, "stride"),
        ({"window": "24"}, "window"),
    ],
)
def test_a_wrong_member_of_guard_json_is_named(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    refused(described(tmp_path, **changes), "guard.json", expected)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_file_that_is_not_what_guard_json_says_is_refused(tmp_path: Path, name: str) -> None:
    described(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    refused(tmp_path, name, "SHA-256", sha256(tmp_path / name))


@pytest.mark.parametrize("name", ["model.onnx_data", "model.onnx.data"])
def test_weights_beside_the_graph_must_be_in_guard_json_too(tmp_path: Path, name: str) -> None:
    described(tmp_path)
    (tmp_path / name).write_bytes(b"weights")
    refused(tmp_path, name, "SHA-256")


# Where a text is from


def test_guard_json_names_the_markers_that_the_tokenizer_puts_before_a_text(tmp_path: Path) -> None:
    model = load(described(tmp_path, marked=True))
    tokenizer = tokenizer_of(model)
    cuts = [tokenizer.windows(Passage(one, "hi"), 10**6) for one in Provenance]
    assert model.markers == MARKERS
    assert len({tuple(cut.windows[0].tolist()) for cut in cuts if cut}) == len(Provenance)


def test_a_marker_that_the_vocabulary_lacks_is_refused(tmp_path: Path) -> None:
    model = load(described(tmp_path))
    with pytest.raises(ModelError, match=r"has no token '\[SYSTEM\]', which guard\.json names"):
        tokenizer_of(replace(model, markers=MARKERS))


def test_a_marker_that_the_graph_does_not_know_is_refused_at_warm_up(tmp_path: Path) -> None:
    described(tmp_path, marked=True)
    canary_model.build(tmp_path / "smaller")
    shutil.copy(tmp_path / "smaller/model.onnx", tmp_path / "model.onnx")
    guard = json.loads((tmp_path / "guard.json").read_text())
    guard["sha256"]["model.onnx"] = sha256(tmp_path / "model.onnx")
    (tmp_path / "guard.json").write_text(json.dumps(guard))
    model = load(tmp_path)
    with pytest.raises(ModelError, match="a harmless text made it fail"):
        open_scorer(model, Session(model, "cpu", threads=1))


# What a score means


def test_a_calibration_beside_the_model_says_what_its_scores_mean(tmp_path: Path) -> None:
    graph = described(tmp_path) / "model.onnx"
    calibration.write(tmp_path / "calibration.json", calibrated(graph))
    model = load(tmp_path)
    assert model.graph_digest == sha256(graph)
    assert model.thresholds() == calibrated().at(0.005)
    assert model.thresholds(0.001) == calibrated().at(0.001)
    assert model.thresholds(0.001) != model.thresholds()


@pytest.mark.parametrize("nested", [False, True])
def test_a_drop_in_folder_may_have_a_calibration_too(tmp_path: Path, nested: bool) -> None:
    canary_model.build(tmp_path, nested=nested)
    graph = tmp_path / ("onnx/model.onnx" if nested else "model.onnx")
    calibration.write(tmp_path / "calibration.json", calibrated(graph))
    assert load(tmp_path).thresholds() == calibrated().at(0.005)


def test_a_calibration_may_be_another_one_than_the_models(tmp_path: Path) -> None:
    graph = described(tmp_path) / "model.onnx"
    calibration.write(tmp_path / "calibration.json", calibrated(graph))
    own = calibrated(graph, user=(0.1, 0.2, 0.3))
    calibration.write(tmp_path / "own.json", own)
    model = load(tmp_path, tmp_path / "own.json")
    assert model.thresholds() == own.at(0.005)
    assert model.digest != load(tmp_path).digest


def test_a_calibration_of_another_model_is_refused(tmp_path: Path) -> None:
    ours = described(tmp_path / "ours") / "model.onnx"
    theirs = canary_model.build(tmp_path / "theirs", labels=("INJECTION",)) / "model.onnx"
    told = (
        f"measured for a model with SHA-256 {sha256(theirs)[:12]}..., "
        f"but that in {ours.parent} has {sha256(ours)[:12]}...; measure this one with "
        f"`extauthz calibrate --model {ours.parent}`, or serve the one that was measured"
    )
    calibration.write(tmp_path / "theirs.json", calibrated(theirs))
    calibration.write(ours.parent / "calibration.json", calibrated(ours))
    refused(ours.parent, f"{tmp_path / 'theirs.json'}: {told}", calibrated=tmp_path / "theirs.json")

    calibration.write(ours.parent / "calibration.json", calibrated(theirs))
    refused(ours.parent, f"{ours.parent / 'calibration.json'}: {told}")


@pytest.mark.parametrize("name", ["model.onnx_data", "model.onnx.data"])
def test_a_calibration_of_other_weights_beside_the_same_graph_is_refused(
    tmp_path: Path, name: str
) -> None:
    graph = canary_model.build(tmp_path) / "model.onnx"
    weights = tmp_path / name
    weights.write_bytes(b"weights")
    measured = replace(calibrated(), model=load(tmp_path).graph_digest)
    calibration.write(tmp_path / "calibration.json", measured)
    assert load(tmp_path).calibration == measured
    weights.write_bytes(b"others")
    refused(tmp_path, "measured for a model with SHA-256")
    weights.unlink()
    refused(tmp_path, f"that in {tmp_path} has {sha256(graph)[:12]}")


def test_a_calibration_of_another_model_does_no_harm_where_one_is_named_or_none_wanted(
    tmp_path: Path,
) -> None:
    graph = described(tmp_path) / "model.onnx"
    calibration.write(tmp_path / "calibration.json", calibrated())
    calibration.write(tmp_path / "own.json", calibrated(graph))
    assert load(tmp_path, tmp_path / "own.json").calibration == calibrated(graph)
    assert load(tmp_path, ignore_calibration=True).calibration is None


def test_a_rate_means_nothing_where_nobody_measured(tmp_path: Path) -> None:
    model = load(described(tmp_path))
    assert model.thresholds() == dict.fromkeys(Provenance, 0.5)
    with pytest.raises(ModelError, match=r"has no calibration\.json.*`extauthz calibrate`"):
        model.thresholds(0.01)


def test_a_rate_that_is_finer_than_the_calibration_is_refused(tmp_path: Path) -> None:
    graph = described(tmp_path) / "model.onnx"
    calibration.write(tmp_path / "calibration.json", calibrated(graph))
    finer = (
        f"{tmp_path}: false_positive_rate 0.0001 is finer than the calibration, which ends at 0.001"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(finer)}$"):
        load(tmp_path).thresholds(0.0001)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_calibration_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    described(tmp_path)
    for name in ("calibration.json", "own.json"):
        (tmp_path / name).write_bytes(content)
    refused(tmp_path, str(tmp_path / "calibration.json"))
    refused(tmp_path, str(tmp_path / "own.json"), calibrated=tmp_path / "own.json")


def test_a_calibration_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    missing = described(tmp_path) / "own.json"
    refused(tmp_path, f"{missing}: No such file", calibrated=missing)


# The digest


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "model.onnx_data"])
def test_the_digest_changes_with_every_file(tmp_path: Path, name: str) -> None:
    before = load(canary_model.build(tmp_path)).digest
    file = tmp_path / name
    file.write_bytes((file.read_bytes() if file.exists() else b"") + b" ")
    assert load(tmp_path).digest != before
    assert len(before) == 64


@pytest.mark.parametrize(
    "changes", [{"window": 20}, {"markers": dict(MARKERS)}, {"batch_invariant": False}]
)
def test_the_digest_changes_with_what_guard_json_says(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    same, other = described(tmp_path / "a"), described(tmp_path / "b", **changes)
    assert load(same).digest == load(described(tmp_path / "c")).digest
    assert load(same).digest != load(other).digest


def test_the_digest_changes_with_what_scores_mean(tmp_path: Path) -> None:
    graph = described(tmp_path) / "model.onnx"
    digests = {load(tmp_path).digest}
    for user in ((0.1, 0.2, 0.3), (0.1, 0.2, 0.4)):
        calibration.write(tmp_path / "calibration.json", calibrated(graph, user=user))
        digests |= {load(tmp_path).digest, load(tmp_path).digest}
    assert len(digests) == 3


@pytest.mark.parametrize("labels", [("INJECTION",), ("SAFE", "INJECTION"), ("A", "B", "C")])
def test_every_head_that_is_accepted_can_be_loaded(tmp_path: Path, labels: tuple[str, ...]) -> None:
    canary_model.build(tmp_path, labels, config={"malicious_labels": [labels[-1]]})
    assert Session(load(tmp_path), "cpu", threads=1).device == "cpu"
