"""ONNX Runtime behind one method: what it is fed, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from tokenizers import Tokenizer

from extauthz.model import session as module
from extauthz.model.directory import ModelError, load
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from tests import canary_model


def open_session(path: Path) -> Session:
    return Session(load(path), "cpu", threads=1)


def ids(*rows: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    array = np.array(rows, np.int64)
    return array, np.ones_like(array)


@pytest.mark.parametrize("labels", [("INJECTION",), ("SAFE", "INJECTION"), ("A", "B", "C")])
@pytest.mark.parametrize("token_types", [False, True])
def test_every_kind_of_head_and_of_inputs_gives_logits(
    tmp_path: Path, labels: tuple[str, ...], token_types: bool
) -> None:
    config: dict[str, object] = {"malicious_labels": [labels[-1]]}
    canary_model.build(tmp_path, labels, token_types=token_types, config=config)
    logits = open_session(tmp_path).run(*ids([2, 4, 3], [2, 9, 3]))
    assert logits.shape == (2, len(labels))
    assert logits.dtype == np.float32
    assert logits[0, -1] > 0 > logits[1, -1]


def test_a_poison_row_raises(tmp_path: Path) -> None:
    session = open_session(canary_model.build(tmp_path))
    with pytest.raises(Exception, match="indices"):
        session.run(*ids([2, 10**6, 3]))


def altered(path: Path, **names: str) -> Path:
    """The canary with inputs renamed."""
    file = canary_model.build(path) / "model.onnx"
    graph = onnx.load(file)
    for item in graph.graph.input:
        item.name = names.get(item.name, item.name)
    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
    onnx.save(graph, file)
    return path


@pytest.mark.parametrize(
    "names", [{"input_ids": "pixel_values"}, {"attention_mask": "bbox"}], ids=["no ids", "unknown"]
)
def test_inputs_that_we_cannot_feed_are_refused(tmp_path: Path, names: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"inputs .*expected"):
        open_session(altered(tmp_path, **names))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    canary_model.build(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    reason = r"model\.onnx: ONNX Runtime refuses it: .*Protobuf parsing failed"
    with pytest.raises(ModelError, match=reason):
        open_session(tmp_path)


def test_an_output_that_does_not_match_the_labels_is_refused(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "SAFE", "1": "INJECTION", "2": "JAILBREAK"}}
    canary_model.build(tmp_path, config={**labels})
    with pytest.raises(
        ModelError, match=r"model\.onnx: logits of shape \(1, 2\), expected \(1, 3\)"
    ):
        open_session(tmp_path)


def test_a_token_that_the_embedding_has_no_row_for_is_refused(tmp_path: Path) -> None:
    canary_model.build(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_tokens(["qqq"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    reason = (
        r"model\.onnx: it cannot read id 193, the largest of tokenizer\.json: .*out of data bounds"
    )
    with pytest.raises(ModelError, match=reason):
        open_session(tmp_path)


def test_a_graph_that_wants_other_numbers_is_refused(tmp_path: Path) -> None:
    file = canary_model.build(tmp_path) / "model.onnx"
    graph = onnx.load(file)
    for item in graph.graph.input:
        item.type.tensor_type.elem_type = TensorProto.INT32
    onnx.save(graph, file)
    with pytest.raises(ModelError, match=r"expected: \(tensor\(int32\)\)"):
        open_session(tmp_path)


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_is_refused_at_warm_up(tmp_path: Path, weight: float) -> None:
    file = canary_model.build(tmp_path) / "model.onnx"
    graph = onnx.load(file)
    for tensor in graph.graph.initializer:
        if tensor.name == "weights":
            tensor.float_data[:] = [weight] * 2
    onnx.save(graph, file)
    session = open_session(tmp_path)
    with pytest.raises(ModelError, match="not finite"):
        open_scorer(session.directory, session)


# Devices


def with_providers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


def test_cuda_without_its_provider_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_providers(monkeypatch, "CPUExecutionProvider")
    directory = load(canary_model.build(tmp_path))
    with pytest.raises(ModelError, match=r"device cuda.*extauthz\[gpu\]"):
        Session(directory, "cuda", threads=1)


def test_auto_without_the_provider_is_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_providers(monkeypatch, "CPUExecutionProvider")
    assert Session(load(canary_model.build(tmp_path)), "auto", threads=1).device == "cpu"


def falls_back(path: str, options: Any, providers: list[str]) -> onnxruntime.InferenceSession:
    """ONNX Runtime built for CUDA where there is no usable card: it loads on the CPU, and says so."""
    assert providers[0] == "CUDAExecutionProvider"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        SessionOptions = onnxruntime.SessionOptions
        InferenceSession = staticmethod(falls_back)

        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(module, "ort", Runtime)


def test_cuda_that_fell_back_to_the_cpu_is_refused(tmp_path: Path, no_card: None) -> None:
    directory = load(canary_model.build(tmp_path))
    with pytest.raises(ModelError, match="no usable one"):
        Session(directory, "cuda", threads=1)


def test_auto_that_fell_back_knows_that_it_runs_on_the_cpu(tmp_path: Path, no_card: None) -> None:
    assert Session(load(canary_model.build(tmp_path)), "auto", threads=1).device == "cpu"
