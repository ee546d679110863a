"""Published folders that cannot be served: refused before the port opens, with the reason."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, processors

from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.model.directory import ModelError, load
from extauthz.model.scorer import Scorer, open_scorer
from extauthz.model.session import Session
from tests.canary_model import CANARY
from tests.model import drop_ins
from tests.model.drop_ins import DropIn

GUARD = DropIn("bert", ("SAFE", "INJECTION"), ("INJECTION",), external=True)


def opened(path: Path) -> Scorer:
    """As the server does it, up to where the port would open."""
    directory = load(path)
    return open_scorer(directory, Session(directory, "cpu", threads=1))


def refused(path: Path, *expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        opened(path).close()
    for text in (str(path), *expected):
        assert text in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good one, for a test to break."""
    return drop_ins.build(tmp_path / "guard", GUARD)


def described(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def regraphed(folder: Path, change: Callable[[onnx.GraphProto], object]) -> Path:
    model = onnx.load(folder / "model.onnx")
    change(model.graph)
    onnx.save(model, folder / "model.onnx")
    return folder


def test_the_folder_is_good_before_it_is_broken(folder: Path) -> None:
    opened(folder).close()


# Labels


@pytest.mark.parametrize("labels", [("GOOD", "BAD"), ("LABEL_0", "LABEL_1"), ("0", "1")])
def test_labels_that_do_not_say_which_is_the_attack(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    drop_ins.build(tmp_path, DropIn("deberta-v2", labels, labels[1:]))
    refused(tmp_path, "cannot tell which", str(list(labels)), '"malicious_labels": [...]')


def test_four_labels(tmp_path: Path) -> None:
    labels = ("BENIGN", "INJECTION", "JAILBREAK", "UNSAFE")
    drop_ins.build(tmp_path, DropIn("deberta-v2", labels, labels[1:]))
    refused(tmp_path, "config.json: id2label has 4 labels, expected 1 to 3")


def test_a_gap_in_the_labels(folder: Path) -> None:
    described(folder, id2label={"0": "SAFE", "2": "INJECTION"})
    refused(folder, "config.json: id2label has keys ['0', '2'], expected ['0', '1']")


@pytest.mark.parametrize("labels", [("INJECTION",), ("BENIGN", "INJECTION", "JAILBREAK")])
@pytest.mark.parametrize("dimension", [2, "labels"], ids=["fixed", "named"])
def test_a_head_of_another_width_than_the_labels(
    folder: Path, labels: tuple[str, ...], dimension: int | str
) -> None:
    described(folder, id2label={str(index): label for index, label in enumerate(labels)})
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", dimension])
    regraphed(folder, lambda graph: graph.output[0].CopyFrom(output))
    refused(folder, f"model.onnx: logits of shape (1, 2), expected (1, {len(labels)})")


# Files


def test_no_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    refused(folder, "expected model.onnx or ", " here or under onnx/, found neither")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "guard.pt"])
def test_weights_of_another_framework_only(folder: Path, name: str) -> None:
    (folder / "model.onnx").rename(folder / name)
    refused(folder, f"found {name}, which is not read: export the model to ONNX")


@pytest.mark.parametrize("name", ["spm.model", "sentencepiece.bpe.model", "vocab.txt"])
def test_a_slow_tokenizer_only(folder: Path, name: str) -> None:
    (folder / "tokenizer.json").rename(folder / name)
    refused(folder, "expected tokenizer.json", f"found {name}, which is not read: save the fast")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_graph_that_is_cut_short(folder: Path, share: float) -> None:
    path = folder / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    said = "Protobuf parsing failed" if share else "No graph was found"
    refused(folder, "model.onnx: ONNX Runtime refuses it: Load model from ", said)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_weights_that_are_cut_short(folder: Path, share: float) -> None:
    path = folder / "model.onnx_data"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(folder, "model.onnx: ONNX Runtime refuses it: ", "External initializer: c", "in full")


def test_weights_that_are_not_there(folder: Path) -> None:
    (folder / "model.onnx_data").unlink()
    refused(folder, "model.onnx: ONNX Runtime refuses it: ", "model.onnx_data")


# Inputs


def test_inputs_that_nobody_knows(folder: Path) -> None:
    places = helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["batch", "seq"])
    regraphed(folder, lambda graph: graph.input.append(places))
    refused(folder, "model.onnx: inputs ['attention_mask', 'input_ids', 'position_ids'], expected")


def test_a_graph_for_texts_of_one_length_only(folder: Path) -> None:
    def fixed(graph: onnx.GraphProto) -> None:
        for item in graph.input:
            item.type.tensor_type.shape.dim[1].dim_value = 128

    regraphed(folder, fixed)
    refused(folder, "model.onnx: ", "invalid dimensions for input")


# Tokenizers


@pytest.mark.parametrize("content", ["", "{}", '{"model": {"type": "Unigram"}}'])
def test_a_file_that_is_no_tokenizer(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    refused(folder, "tokenizer.json")


def test_a_tokenizer_that_puts_nothing_around_a_text(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.save(str(folder / "tokenizer.json"))
    refused(folder, "tokenizer.json: 0 special tokens around a text, expected 1 to")


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "xlm-roberta"])
def test_a_tokenizer_of_another_model_with_more_tokens(tmp_path: Path, family: str) -> None:
    """Nothing in a harmless text shows it, and a client could make the model fail at will."""
    drop_ins.build(tmp_path, DropIn(family, ("SAFE", "INJECTION"), ("INJECTION",), rows=105))
    largest = {"bert": 201, "deberta-v2": 108, "xlm-roberta": 108}[family]
    refused(tmp_path, f"model.onnx: it cannot read id {largest}, the largest of tokenizer.json")


def test_words_that_were_added_to_the_tokenizer_and_not_to_the_model(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"word{number}" for number in range(drop_ins.ROWS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    refused(folder, "model.onnx: it cannot read id", "indices element out of data bounds")


def test_special_tokens_that_no_text_can_have_may_be_too_many(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([f"<extra_{number}>" for number in range(drop_ins.ROWS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    opened(folder).close()


# What is no number


def test_logits_of_a_harmless_text_that_are_no_numbers(folder: Path) -> None:
    def spoilt(graph: onnx.GraphProto) -> None:
        (head,) = (node for node in graph.node if "logits" in node.output)
        (bias,) = (item for item in graph.initializer if item.name == head.input[2])
        bias.CopyFrom(numpy_helper.from_array(np.array([0, np.nan], np.float32), bias.name))

    regraphed(folder, spoilt)
    refused(folder, "model.onnx: logits of a harmless text are not finite")


async def test_one_word_whose_logits_are_no_numbers_fails_its_own_text(folder: Path) -> None:
    """No warm-up reads every word."""
    word = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("lazy")

    def spoilt(graph: onnx.GraphProto) -> None:
        table = next(node.input[0] for node in graph.node if node.op_type == "Gather")
        (words,) = (item for item in graph.initializer if item.name == table)
        values = numpy_helper.to_array(words).copy()
        values[word] = np.nan
        words.CopyFrom(numpy_helper.from_array(values, words.name))

    scorer = opened(regraphed(folder, spoilt))
    try:
        results = [await scored(scorer, text) for text in ("the lazy dog", "a dog", CANARY)]
    finally:
        scorer.close()
    assert results[0] is Failure.MODEL_FAULT
    assert [result > 0.5 for result in results[1:] if not isinstance(result, Failure)] == [0, 1]


async def scored(scorer: Scorer, text: str) -> float | Failure:
    deadline = asyncio.get_running_loop().time() + 30
    passages = [Passage(Provenance.USER, text)]
    result = await scorer.score(passages, 10**6, deadline, Cancellation())
    return result if isinstance(result, Failure) else result[0].score
