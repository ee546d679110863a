"""A model directory for tests that fires on one word, so that plumbing is tested apart from accuracy.

The graph is real ONNX and the tokenizer is a real one; only the weights are a joke: the score is
0.9999 when the word `xyzzy` is among the tokens and 0.0001 when not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from extauthz.core.call import Provenance

CANARY = "xyzzy"
#: What a canary built with them is told where a text is from; it does not care.
MARKERS: Mapping[Provenance, str] = MappingProxyType(
    {one: f"[{one.upper()}]" for one in Provenance}
)
_PAD, _UNKNOWN, _CLS, _SEP, _WORD, _LETTERS = 0, 1, 2, 3, 4, 5


def build(
    path: Path,
    labels: tuple[str, ...] = ("BENIGN", "INJECTION"),
    *,
    nested: bool = False,
    token_types: bool = False,
    markers: bool = False,
    config: dict[str, object] | None = None,
) -> Path:
    """Write a Hugging Face style folder with a canary model; `nested` puts the graph under onnx/.

    With `markers` its vocabulary has MARKERS; it takes a guard.json to use them.
    """
    path.mkdir(parents=True, exist_ok=True)
    onnx_path = path / "onnx" if nested else path
    onnx_path.mkdir(exist_ok=True)
    more = list(MARKERS.values()) if markers else []
    graph = _graph(len(labels), len(more), token_types=token_types)
    onnx.save(graph, onnx_path / "model.onnx")
    _tokenizer(more).save(str(path / "tokenizer.json"))
    described = {
        "model_type": "canary",
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "max_position_embeddings": 32,
        "pad_token_id": _PAD,
    }
    (path / "config.json").write_text(json.dumps(described | (config or {})))
    return path


def _tokenizer(markers: list[str]) -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", CANARY]
    pieces = [chr(c) for c in range(0x21, 0x7F)]
    vocabulary = {word: index for index, word in enumerate([*words, *pieces])}
    vocabulary |= {f"##{p}": len(vocabulary) + i for i, p in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *markers])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", _CLS), ("[SEP]", _SEP)]
    )
    return tokenizer


def _graph(labels: int, markers: int, *, token_types: bool) -> onnx.ModelProto:
    """One embedding row per token id: a lookup table that is 1 at the canary, then a maximum.

    The Gather is real, so an id outside the vocabulary fails the whole call as in a real model.
    """
    size = _LETTERS + 2 * (0x7F - 0x21) + markers
    table = [0.0] * size
    table[_WORD] = 1.0
    weights = [-9.0 if label == 0 and labels > 1 else 9.0 for label in range(labels)]
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, [size, 1], table),
        helper.make_tensor("weights", TensorProto.FLOAT, [1, labels], weights),
        helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["fired"]),
        helper.make_node("ReduceMax", ["fired", "one"], ["seen"], keepdims=0),
        helper.make_node("Sub", ["seen", "half"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["logits"]),
    ]
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if token_types else [])]
    graph = helper.make_graph(
        nodes,
        "canary",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", labels])],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)
