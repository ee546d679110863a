"""The architectures that published guards have, tiny and written node by node, as exporters write them.

The weights are random but for one circuit: a token that raises the alarm is what every other token
attends to, and the head reads whether anybody did. So a known word flips the score wherever it stands,
while positions, masks and neighbours still move the logits a little, as in a trained model.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from extauthz.training.graph import IR_VERSION, MASKED, OPSET, Graph

HIDDEN, HEADS, INNER, LAYERS = 32, 2, 48, 2
SIZE = HIDDEN // HEADS
#: Places of a token's vector: how much alarm it raises, and a one that every token has.
ALARM, ALWAYS = 0, 1
NOISE = 0.1

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """What differs between two guards of one architecture.

    Attributes:
        tokens: rows of the embedding.
        alarms: ids that raise the alarm.
        positions: `max_position_embeddings`.
        pad: id of the padding.
        attacks: for each logit, whether it rises with the alarm.
        token_types: whether the graph takes `token_type_ids`.
    """

    tokens: int
    alarms: tuple[int, ...]
    positions: int
    pad: int
    attacks: tuple[bool, ...]
    token_types: bool


class Encoder(ABC):
    """Nodes that the architectures have in common. Hidden states are [batch, seq, hidden]."""

    biased: ClassVar[bool] = True
    #: The place in a head where the circuit is. Rotary positions turn the last pair least.
    place: ClassVar[int] = 0

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.graph = Graph({})
        self.node, self.constant = self.graph.node, self.graph.constant
        self.what = shape
        self.rng = np.random.default_rng(seed)

    def model(self) -> onnx.ModelProto:
        """`input_ids`, `attention_mask` and perhaps `token_type_ids` -> `logits`."""
        self.logits(self.encoded())
        names = ("input_ids", "attention_mask", "token_type_ids")[: 2 + self.what.token_types]
        inputs = [
            helper.make_tensor_value_info(one, TensorProto.INT64, ["batch", "seq"]) for one in names
        ]
        width = len(self.what.attacks)
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", width])
        body = helper.make_graph(
            self.graph.nodes, "guard", inputs, [output], self.graph.initializers
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)

    @abstractmethod
    def encoded(self) -> str:
        """Hidden states after the last layer."""

    @abstractmethod
    def logits(self, hidden: str) -> None:
        """The head."""

    def random(self, *shape: int, scale: float = NOISE) -> Weights:
        return self.rng.normal(0, scale, shape).astype(np.float32)

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def float(self, value: float) -> str:
        return self.constant(np.float32(value))

    def words(self) -> str:
        table = self.random(self.what.tokens, HIDDEN, scale=0.5)
        table[:, ALARM] = 0
        table[:, ALWAYS] = 2
        table[list(self.what.alarms), ALARM] = 8
        return self.node("Gather", self.constant(table), "input_ids")

    def norm(self, value: str) -> str:
        parts = [np.ones(HIDDEN, np.float32) + self.random(HIDDEN)]
        if self.biased:
            parts.append(self.random(HIDDEN))
        names = map(self.constant, parts)
        return self.node("LayerNormalization", value, *names, axis=-1, epsilon=1e-7)

    def dense(self, value: str, weight: Weights) -> str:
        """`value @ weight.T`, with a bias where the architecture has one."""
        return self.projection(weight)(value)

    def projection(self, weight: Weights) -> "Projection":
        bias = self.constant(self.random(len(weight))) if self.biased else ""
        return Projection(self.graph, self.constant(weight.T), bias)

    def projections(self) -> tuple["Projection", "Projection", "Projection"]:
        """Query, key and value: who raises the alarm is attended to, and the alarm is passed on."""
        query, key, value = (self.random(HIDDEN, HIDDEN) for _ in range(3))
        query[self.place, ALWAYS] = 2
        key[self.place, ALARM] = 4
        value[self.place, ALARM] = 1
        return self.projection(query), self.projection(key), self.projection(value)

    def attention(self, hidden: str, mask: str) -> str:
        """Attention over `hidden`, projected back. `mask` is added to the scores."""
        query, key, value = (self.heads(project(hidden)) for project in self.projections())
        scores = self.product(self.placed(query), self.placed(key))
        scaled = self.node("Div", scores, self.float(SIZE**0.5))
        return self.mixed(self.node("Add", scaled, mask), value)

    def placed(self, heads: str) -> str:
        """Queries or keys with what they know of their place."""
        return heads

    def product(self, left: str, right: str) -> str:
        return self.node("MatMul", left, self.node("Transpose", right, perm=[0, 1, 3, 2]))

    def heads(self, value: str) -> str:
        """[batch, heads, seq, size]."""
        apart = self.node("Reshape", value, self.ints(0, 0, HEADS, SIZE))
        return self.node("Transpose", apart, perm=[0, 2, 1, 3])

    def mixed(self, scores: str, value: str) -> str:
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        joined = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        weight = self.random(HIDDEN, HIDDEN)
        weight[ALARM, self.place] = 1
        return self.dense(self.node("Reshape", joined, self.ints(0, 0, HIDDEN)), weight)

    def feed_forward(self, hidden: str) -> str:
        inner = self.node("Gelu", self.dense(hidden, self.random(INNER, HIDDEN)))
        return self.dense(inner, self.random(HIDDEN, INNER))

    def post_normed(self, hidden: str, attended: str) -> str:
        """A layer's second half, normalised after each sum, as everybody but ModernBERT has it."""
        hidden = self.norm(self.node("Add", attended, hidden))
        return self.norm(self.node("Add", self.feed_forward(hidden), hidden))

    def absent(self) -> str:
        """What hides padding from the scores: [batch, 1, 1, seq]."""
        there = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        gone = self.node("Sub", self.float(1), there)
        bias = self.node("Mul", gone, self.float(MASKED))
        return self.node("Unsqueeze", bias, self.ints(1, 2))

    def seq(self) -> str:
        """How many tokens the longest row has, a vector of one."""
        return self.node("Shape", "input_ids", start=1)

    def counted(self) -> str:
        """0, 1, 2, ...: [seq] int64."""
        zero, one = (self.constant(np.int64(n)) for n in (0, 1))
        return self.node("Range", zero, self.node("Squeeze", self.seq()), one)

    def distances(self) -> str:
        """Query place minus key place: [seq, seq] int64."""
        places = self.counted()
        down = self.node("Unsqueeze", places, self.ints(1))
        return self.node("Sub", down, self.node("Unsqueeze", places, self.ints(0)))

    def first(self, hidden: str) -> str:
        """The first token's state: [batch, hidden]."""
        return self.node("Gather", hidden, self.constant(np.int64(0)), axis=1)

    def read(self, pooled: str) -> str:
        """A dense layer: alarm in its place 0, calm in place 1."""
        weight = self.random(HIDDEN, HIDDEN)
        weight[0, [ALARM, ALWAYS]] = 1, -0.7
        weight[1, [ALARM, ALWAYS]] = -1, 0.7
        return self.dense(pooled, weight)

    def classify(self, features: str) -> None:
        weight = self.random(len(self.what.attacks), HIDDEN, scale=0.3)
        for row, attack in zip(weight, self.what.attacks, strict=True):
            row[:2] = (4, -4) if attack else (-4, 4)
        offset = self.random(len(weight))
        names = map(self.constant, (weight, offset))
        self.node("Gemm", features, *names, transB=1, to_output="logits")


@dataclass(frozen=True)
class Projection:
    """A dense layer that may be used twice."""

    graph: Graph
    weight: str
    bias: str

    def __call__(self, value: str) -> str:
        product = self.graph.node("MatMul", value, self.weight)
        return self.graph.node("Add", product, self.bias) if self.bias else product


class Bert(Encoder):
    """Absolute positions, token types, a pooler of tanh."""

    def encoded(self) -> str:
        hidden = self.norm(self.node("Add", self.words(), self.places()))
        mask = self.absent()
        for _ in range(LAYERS):
            hidden = self.post_normed(hidden, self.attention(hidden, mask))
        return hidden

    def places(self) -> str:
        table = self.constant(self.random(self.what.positions, HIDDEN, scale=0.2))
        return self.node("Add", self.node("Gather", table, self.counted()), self.types())

    def types(self) -> str:
        table = self.constant(self.random(2, HIDDEN))
        return self.node("Gather", table, self.type_ids())

    def type_ids(self) -> str:
        """As asked for, or all 0."""
        if self.what.token_types:
            return "token_type_ids"
        return self.node("Sub", "input_ids", "input_ids")

    def logits(self, hidden: str) -> None:
        self.classify(self.node("Tanh", self.read(self.first(hidden))))


class XlmRoberta(Bert):
    """Positions are counted over what is no padding, from the padding's id + 1."""

    def places(self) -> str:
        table = self.constant(self.random(self.what.positions, HIDDEN, scale=0.2))
        pad = self.constant(np.int64(self.what.pad))
        padding = self.node("Equal", "input_ids", pad)
        there = self.node("Cast", self.node("Not", padding), to=TensorProto.INT64)
        counted = self.node("CumSum", there, self.constant(np.int64(1)))
        counted = self.node("Add", self.node("Mul", counted, there), pad)
        return self.node("Add", self.node("Gather", table, counted), self.types())


class DebertaV2(Encoder):
    """Disentangled attention: content to content, content to position, position to content.

    Positions are relative, in buckets that grow with the distance; there is no table of absolute ones.
    """

    buckets: ClassVar[int] = 16

    def encoded(self) -> str:
        there = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        shown = self.node("Unsqueeze", there, self.ints(2))
        hidden = self.node("Mul", self.norm(self.words()), shown)
        self.relative = self.norm(self.constant(self.relative_table()))
        self.bucket = self.bucketed(self.distances())
        mask = self.pairs(there)
        for _ in range(LAYERS):
            hidden = self.post_normed(hidden, self.attention(hidden, mask))
        return hidden

    def relative_table(self) -> Weights:
        table = self.random(1, 2 * self.buckets, HIDDEN, scale=0.5)
        table[..., [ALARM, ALWAYS]] = 0
        return table

    def pairs(self, there: str) -> str:
        """Added to the scores of every pair in which one is padding: [batch, 1, seq, seq]."""
        down = self.node("Unsqueeze", there, self.ints(1, 3))
        across = self.node("Unsqueeze", there, self.ints(1, 2))
        gone = self.node("Sub", self.float(1), self.node("Mul", down, across))
        return self.node("Mul", gone, self.float(MASKED))

    def bucketed(self, distance: str) -> str:
        """Near distances as they are, far ones by their logarithm: [seq, seq] int64."""
        middle = self.buckets // 2
        away = self.node("Cast", self.node("Abs", distance), to=TensorProto.FLOAT)
        at_least = self.node("Max", away, self.float(middle))
        steps = (middle - 1) / np.log((self.what.positions - 1) / middle)
        log = self.node("Log", self.node("Div", at_least, self.float(middle)))
        far = self.node("Ceil", self.node("Mul", log, self.float(steps)))
        far = self.node("Add", far, self.float(middle))
        signed = self.node(
            "Mul", far, self.node("Cast", self.node("Sign", distance), to=TensorProto.FLOAT)
        )
        near = self.node("LessOrEqual", away, self.float(middle))
        return self.node("Where", near, distance, self.node("Cast", signed, to=TensorProto.INT64))

    def attention(self, hidden: str, mask: str) -> str:
        to_query, to_key, to_value = self.projections()
        query, key, value = (self.heads(one(hidden)) for one in (to_query, to_key, to_value))
        # share_att_key: positions go through the projections of the content.
        far_query, far_key = (self.heads(one(self.relative)) for one in (to_query, to_key))
        content = self.product(query, key)
        to_position = self.gathered(self.product(query, far_key), self.bucket)
        back = self.gathered(self.product(key, far_query), self.node("Neg", self.bucket))
        from_position = self.node("Transpose", back, perm=[0, 1, 3, 2])
        total = self.node("Sum", content, to_position, from_position)
        scaled = self.node("Div", total, self.float((3 * SIZE) ** 0.5))
        return self.mixed(self.node("Add", scaled, mask), value)

    def gathered(self, scores: str, bucket: str) -> str:
        """The score of each pair's bucket, from [batch, heads, seq, buckets]: [..., seq, seq]."""
        index = self.node("Add", bucket, self.constant(np.int64(self.buckets)))
        bounds = (self.constant(np.int64(n)) for n in (0, 2 * self.buckets - 1))
        index = self.node("Clip", index, *bounds)
        leading = self.node("Shape", scores, start=0, end=3)
        shape = self.node("Concat", leading, self.seq(), axis=0)
        return self.node("GatherElements", scores, self.node("Expand", index, shape), axis=-1)

    def logits(self, hidden: str) -> None:
        self.classify(self.node("Gelu", self.read(self.first(hidden))))


class ModernBert(Encoder):
    """Rotary positions, gates, no biases; every other layer sees its neighbourhood only."""

    biased = False
    place = SIZE // 2 - 1
    bases: ClassVar[tuple[float, float]] = (160_000.0, 10_000.0)
    reach: ClassVar[int] = 8

    def encoded(self) -> str:
        hidden, everywhere = self.norm(self.words()), self.absent()
        masks = (everywhere, self.node("Add", everywhere, self.nearby()))
        for layer in range(LAYERS):
            self.turn = self.rotation(self.bases[layer % 2])
            # The first layer has no norm of its own: the embedding's is just before it.
            into = self.norm(hidden) if layer else hidden
            hidden = self.node("Add", hidden, self.attention(into, masks[layer % 2]))
            hidden = self.node("Add", hidden, self.feed_forward(self.norm(hidden)))
        return self.norm(hidden)

    def nearby(self) -> str:
        """Hides what is out of reach: [seq, seq]."""
        away = self.node("Abs", self.distances())
        far = self.node("Greater", away, self.constant(np.int64(self.reach)))
        return self.node("Mul", self.node("Cast", far, to=TensorProto.FLOAT), self.float(MASKED))

    def rotation(self, base: float) -> tuple[str, str]:
        """Cosine and sine of each place's angles: [seq, size]."""
        places = self.node("Cast", self.counted(), to=TensorProto.FLOAT)
        places = self.node("Unsqueeze", places, self.ints(1))
        speeds = np.tile(base ** (-np.arange(0, SIZE, 2) / SIZE), 2).astype(np.float32)
        angles = self.node("Mul", places, self.constant(speeds))
        return self.node("Cos", angles), self.node("Sin", angles)

    def placed(self, heads: str) -> str:
        cosine, sine = self.turn
        half = SIZE // 2
        left = self.node("Slice", heads, *(self.ints(n) for n in (0, half, 3)))
        right = self.node("Slice", heads, *(self.ints(n) for n in (half, SIZE, 3)))
        swapped = self.node("Concat", self.node("Neg", right), left, axis=-1)
        return self.node("Add", self.node("Mul", heads, cosine), self.node("Mul", swapped, sine))

    def feed_forward(self, hidden: str) -> str:
        """GeGLU: one half, through Gelu, times the other."""
        both = self.dense(hidden, self.random(2 * INNER, HIDDEN))
        inner, gate = (
            self.node("Slice", both, *(self.ints(n) for n in (start, start + INNER, 2)))
            for start in (0, INNER)
        )
        return self.dense(
            self.node("Mul", self.node("Gelu", inner), gate), self.random(HIDDEN, INNER)
        )

    def logits(self, hidden: str) -> None:
        """The mean over the tokens that are there, a dense layer, Gelu, a norm."""
        there = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        row = self.node("Unsqueeze", there, self.ints(1))
        total = self.node("Squeeze", self.node("MatMul", row, hidden), self.ints(1))
        count = self.node("ReduceSum", there, self.ints(1), keepdims=1)
        mean = self.node("Div", total, count)
        self.classify(self.norm(self.node("Gelu", self.read(mean))))
