"""Folders as guards are published: the architecture, its tokenizer, its labels and its files, tiny.

Their scores rise with one word, as the canary's do.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.canary_model import CANARY
from tests.model.encoders import Bert, DebertaV2, Encoder, ModernBert, Shape, XlmRoberta

PRINTABLE = [chr(c) for c in range(0x21, 0x7F)]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
#: Embeddings are padded to a multiple of it, so they have more rows than there are tokens.
ROWS = 64


@dataclass(frozen=True)
class Family:
    """What all guards of an architecture share."""

    encoder: type[Encoder]
    tokenizer: Callable[[], Tokenizer]
    positions: int
    config: dict[str, object]


@dataclass(frozen=True)
class DropIn:
    """One published guard.

    Attributes:
        family: its `model_type`.
        labels: in the order of the logits.
        attacks: those that rise with the word.
        named: the `malicious_labels` that its owner had to add to config.json.
        graph: where the graph is.
        token_types: whether the graph takes `token_type_ids`.
        external: whether the weights are in a file of their own.
        positions: `max_position_embeddings`, if not the family's.
        rows: of the embedding, if not enough for the tokenizer.
    """

    family: str
    labels: tuple[str, ...]
    attacks: tuple[str, ...]
    named: tuple[str, ...] = ()
    graph: str = "model.onnx"
    token_types: bool = False
    external: bool = False
    positions: int | None = None
    rows: int | None = None


def build(path: Path, guard: DropIn) -> Path:
    """Write the folder."""
    graph = path / guard.graph
    graph.parent.mkdir(parents=True, exist_ok=True)
    family = FAMILIES[guard.family]
    tokenizer = family.tokenizer()
    tokenizer.save(str(path / "tokenizer.json"))
    config = _config(guard, family, tokenizer)
    (path / "config.json").write_text(json.dumps(config))
    model = family.encoder(_shape(guard, config, tokenizer)).model()
    onnx.checker.check_model(model, full_check=True)
    if "quantized" in graph.name:  # as published: one scale for all activations of a batch
        onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
        quantize_dynamic(model, graph, weight_type=QuantType.QInt8)
        model = onnx.load(graph)
    weights = f"{graph.name}_data" if guard.external else None
    onnx.save(model, graph, save_as_external_data=guard.external, location=weights)
    return path


def _config(guard: DropIn, family: Family, tokenizer: Tokenizer) -> dict[str, object]:
    size = tokenizer.get_vocab_size()
    pad = next(i for one in ("[PAD]", "<pad>") if (i := tokenizer.token_to_id(one)) is not None)
    config: dict[str, object] = {
        "model_type": guard.family,
        "id2label": {str(index): label for index, label in enumerate(guard.labels)},
        "label2id": {label: index for index, label in enumerate(guard.labels)},
        "max_position_embeddings": guard.positions or family.positions,
        "pad_token_id": pad,
        "vocab_size": guard.rows or -(-size // ROWS) * ROWS,
        "transformers_version": "4.48.0",
    }
    named = {"malicious_labels": guard.named} if guard.named else {}
    return config | family.config | named


def _shape(guard: DropIn, config: dict[str, object], tokenizer: Tokenizer) -> Shape:
    words = tokenizer.get_vocab().items()
    alarms = (place for word, place in words if word.strip("▁Ġ") == CANARY)
    return Shape(
        tokens=_int(config["vocab_size"]),
        alarms=tuple(alarms),
        positions=_int(config["max_position_embeddings"]),
        pad=_int(config["pad_token_id"]),
        attacks=tuple(label in guard.attacks for label in guard.labels),
        token_types=guard.token_types,
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def word_pieces() -> Tokenizer:
    """BERT's: words, and pieces of words."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*specials, CANARY, *WORDS, *PRINTABLE, *(f"##{one}" for one in PRINTABLE)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _finished(made, specials, "[CLS]", "[SEP]")


def _pieces_of_sentences(specials: list[str], unknown: str) -> Tokenizer:
    """SentencePiece's Unigram: pieces with scores, the special ones first and likeliest."""
    words = [(f"▁{word}", -2.0) for word in [CANARY, *WORDS]]
    scored = [(one, 0.0) for one in specials] + [("▁", -3.0), (CANARY, -2.5), *words]
    scored += [(one, -6.0) for one in PRINTABLE]
    made = Tokenizer(models.Unigram(scored, unk_id=specials.index(unknown), byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def deberta_pieces() -> Tokenizer:
    """DeBERTa-v3's: as BERT around a text, and [MASK] after all the others."""
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    made = _pieces_of_sentences(specials, "[UNK]")
    return _finished(made, [*specials, "[MASK]"], "[CLS]", "[SEP]")


def roberta_pieces() -> Tokenizer:
    """XLM-R's: the padding is 1."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    made = _pieces_of_sentences(specials, "<unk>")
    return _finished(made, [*specials, "<mask>"], "<s>", "</s>")


def byte_pairs() -> Tokenizer:
    """ModernBERT's: bytes and pairs of them; the special tokens come last."""
    merges = [("x", "y"), ("z", "z"), ("xy", "zz"), ("xyzz", "y"), ("Ġ", CANARY)]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    made = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, merges))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    return _finished(made, specials, "[CLS]", "[SEP]")


def _finished(made: Tokenizer, specials: list[str], before: str, after: str) -> Tokenizer:
    made.add_special_tokens(specials)
    made.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}",
        special_tokens=[(one, made.token_to_id(one)) for one in (before, after)],
    )
    return made


FAMILIES = {
    "bert": Family(Bert, word_pieces, 512, {"type_vocab_size": 2}),
    "deberta-v2": Family(
        DebertaV2,
        deberta_pieces,
        512,
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": DebertaV2.buckets,
            "max_relative_positions": -1,
            "pos_att_type": ["p2c", "c2p"],
        },
    ),
    "modernbert": Family(ModernBert, byte_pairs, 8_192, {"local_attention": 2 * ModernBert.reach}),
    "xlm-roberta": Family(XlmRoberta, roberta_pieces, 514, {"type_vocab_size": 1}),
}

#: Each architecture, each set of labels, each head and each kind of file that guards are published with.
PUBLISHED = {
    "deberta": DropIn("deberta-v2", ("SAFE", "INJECTION"), ("INJECTION",), graph="onnx/model.onnx"),
    "deberta, three labels": DropIn(
        "deberta-v2",
        ("BENIGN", "INJECTION", "JAILBREAK"),
        ("INJECTION", "JAILBREAK"),
        token_types=True,
        external=True,
    ),
    "deberta, nameless labels": DropIn(
        "deberta-v2", ("LABEL_0", "LABEL_1"), ("LABEL_1",), named=("LABEL_1",)
    ),
    "deberta, quantized": DropIn(
        "deberta-v2",
        ("BENIGN", "MALICIOUS"),
        ("MALICIOUS",),
        graph="onnx/model_quantized.onnx",
        external=True,
    ),
    "bert": DropIn("bert", ("benign", "jailbreak"), ("jailbreak",), token_types=True),
    "bert, one logit": DropIn(
        "bert", ("LABEL_0",), ("LABEL_0",), graph="onnx/model_quantized.onnx"
    ),
    "modernbert": DropIn(
        "modernbert",
        ("benign", "jailbreak"),
        ("jailbreak",),
        graph="onnx/model.onnx",
        external=True,
    ),
    "modernbert, attack first": DropIn("modernbert", ("INJECTION", "SAFE"), ("INJECTION",)),
    "xlm-roberta": DropIn(
        "xlm-roberta", ("SAFE", "INJECTION"), ("INJECTION",), graph="onnx/model.onnx", external=True
    ),
    "xlm-roberta, three labels": DropIn(
        "xlm-roberta", ("BENIGN", "INJECTION", "JAILBREAK"), ("INJECTION", "JAILBREAK")
    ),
}
