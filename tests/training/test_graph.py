import math

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from extauthz.training.graph import HEADS, LEVELS, WEIGHT_LEVELS, model, rowwise

WIDTH, INNER, VOCABULARY, POSITIONS = 48, 96, 40, 32
Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def weights() -> Weights:
    generator = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "classifier.weight": (2, WIDTH),
        "classifier.bias": (2,),
    }
    for layer in (f"encoder.layer.{index}" for index in range(2)):
        denses = {
            f"{layer}.attention.self.query": (WIDTH, WIDTH),
            f"{layer}.attention.self.key": (WIDTH, WIDTH),
            f"{layer}.attention.self.value": (WIDTH, WIDTH),
            f"{layer}.attention.output.dense": (WIDTH, WIDTH),
            f"{layer}.intermediate.dense": (INNER, WIDTH),
            f"{layer}.output.dense": (WIDTH, INNER),
        }
        for name, shape in denses.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for norm in (f"{layer}.attention.output", f"{layer}.output"):
            shapes |= {f"{norm}.LayerNorm.{part}": (WIDTH,) for part in ("weight", "bias")}
    made = {name: generator.normal(0, 0.2, shape) for name, shape in shapes.items()}
    return {name: representable(name, value) for name, value in made.items()}


def representable(name: str, value: NDArray[np.float64]) -> NDArray[np.float32]:
    """The nearest weights that the graph can hold, so that only activations are rounded in the graph."""
    single = (value + ("LayerNorm.weight" in name)).astype(np.float32)
    if single.ndim == 1 or "position" in name or "token_type" in name:
        return single
    integers, scale = rowwise(single, LEVELS if "word" in name else WEIGHT_LEVELS)
    return np.asarray(integers * scale[:, None], np.float32)


def slow_logits(weights: Weights, ids: list[int]) -> NDArray[np.float64]:
    """BERT of one unpadded text in float64, written from its definition."""

    def norm(value: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = value - value.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return np.asarray(
            scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]
        )

    def dense(value: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return np.asarray(value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])

    hidden = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
    hidden = norm(hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for layer in (f"encoder.layer.{index}" for index in range(2)):
        query, key, value = (
            dense(hidden, f"{layer}.attention.self.{part}").reshape(len(ids), HEADS, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(WIDTH // HEADS)
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, value).reshape(len(ids), WIDTH)
        hidden = norm(
            hidden + dense(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output"
        )
        inner = dense(hidden, f"{layer}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        hidden = norm(hidden + dense(inner, f"{layer}.output.dense"), f"{layer}.output")
    return dense(hidden.mean(0), "classifier")


def padded(texts: list[list[int]]) -> dict[str, NDArray[np.int64]]:
    seq = max(map(len, texts))
    ids = np.zeros((len(texts), seq), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def test_the_exported_graph_computes_the_network_but_for_rounding(weights: Weights) -> None:
    session = ort.InferenceSession(model(weights).SerializeToString())
    texts = [[1, 5, 9, 2], [1, 2], [1, *range(3, 30), 2], [39] * POSITIONS]
    (logits,) = session.run(None, padded(texts))
    expected = np.stack([slow_logits(weights, text) for text in texts])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=0.02)
    assert np.ptp(expected, axis=0).min() > 0.2, "texts too alike to tell a right graph by"


@pytest.mark.parametrize("levels", [63, 127])
def test_rounding_to_levels_is_within_half_a_step(levels: int) -> None:
    table = np.random.default_rng(2).normal(size=(7, 30)).astype(np.float32)
    integers, scale = rowwise(table, levels)
    assert np.abs(integers.astype(int)).max(axis=1).tolist() == [levels] * 7
    error = np.abs(integers * scale[:, None] - table).max(axis=1)
    assert (error <= scale * 0.5001).all()
