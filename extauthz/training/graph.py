"""The trained classifier as an ONNX graph of standard operators, written node by node.

The weights are stored as 8-bit integers and the products are integer products, in a form whose
scores do not depend on the batch: each token's activations are scaled by that token's own largest
value. (The usual dynamic quantisation takes one scale for the whole batch, so that a neighbour with
large activations coarsens everybody else's.)
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.generic]
Attribute = int | float | list[int]
Weights = Mapping[str, NDArray[np.float32]]

# Opset 20 has Gelu; opset 21 lets QuantizeLinear name its output type.
OPSET = 21
IR_VERSION = 10
# Activations are unsigned around 128, which the integer product is fastest with.
ZERO_POINT = 128
LEVELS = 127
# Weights use 7 of their 8 bits. A processor without VNNI adds two neighbouring products in 16 bits:
# 2 * 255 * 63 fits, 2 * 255 * 127 would saturate and give that machine other scores.
WEIGHT_LEVELS = 63
# Added to the attention scores of padding: exp() of it is exactly 0 in float32.
MASKED = -10_000.0
HEADS, EPSILON = 12, 1e-12


def model(weights: Weights) -> onnx.ModelProto:
    """`input_ids`, `attention_mask` [batch, seq] int64 -> `logits` [batch, 2] float32.

    `weights` are named as in the torch model (`encoder.layer.0.attention.self.query.weight`, ...).
    """
    graph = Graph(weights)
    graph.build()
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    body = helper.make_graph(graph.nodes, "guard", inputs, [logits], graph.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(made, full_check=True)
    return made


class Graph:
    """Nodes and initializers in the making. Values between nodes are referred to by name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def build(self) -> None:
        """The whole network, from `input_ids` and `attention_mask` to `logits`."""
        self.shape = self.node("Shape", "input_ids")
        mask = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        absent = self.node("Sub", self.constant(np.float32(1)), mask)
        bias = self.node("Mul", absent, self.constant(np.float32(MASKED)))
        bias = self.node("Unsqueeze", bias, self.constant(np.array([1, 2])))
        hidden = self.embeddings()
        layers = sum(".attention.self.query.weight" in name for name in self.weights)
        for layer in range(layers):
            hidden = self.layer(hidden, bias, f"encoder.layer.{layer}")
        self.head(hidden, mask)

    def embeddings(self) -> str:
        """Word, position and type, normalised: [batch * seq, hidden]."""
        table, scale = rowwise(self.weights["embeddings.word_embeddings.weight"], LEVELS)
        words = self.node("Gather", self.constant(table), "input_ids")
        levels = self.node("Cast", words, to=TensorProto.FLOAT)
        scales = self.node("Gather", self.constant(scale[:, None]), "input_ids")
        places = (
            self.weights["embeddings.position_embeddings.weight"]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
        )
        seq = self.node("Slice", self.shape, *(self.constant(np.array([n])) for n in (1, 2)))
        place = self.node("Slice", self.constant(places), self.constant(np.array([0])), seq)
        total = self.node("Add", self.node("Mul", levels, scales), place)
        flat = self.node("Reshape", total, self.constant(np.array([-1, places.shape[1]])))
        return self.normalised(flat, "embeddings")

    def layer(self, hidden: str, bias: str, name: str) -> str:
        """Self-attention and feed-forward, each added to its input and normalised."""
        attended = self.linear(self.attention(hidden, bias, name), f"{name}.attention.output.dense")
        hidden = self.normalised(self.node("Add", attended, hidden), f"{name}.attention.output")
        inner = self.node("Gelu", self.linear(hidden, f"{name}.intermediate.dense"))
        outer = self.linear(inner, f"{name}.output.dense")
        return self.normalised(self.node("Add", outer, hidden), f"{name}.output")

    def attention(self, hidden: str, bias: str, name: str) -> str:
        """The values mixed by attention, before their projection: [batch * seq, hidden]."""
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self.weights[f"{part}.weight"] for part in parts])
        offset = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        width = weight.shape[1]
        weight[:width] *= (width // HEADS) ** -0.5
        offset[:width] *= (width // HEADS) ** -0.5
        joined = self.product(hidden, weight, offset)
        split = self.constant(np.array([3, HEADS, width // HEADS]))
        shape = self.node("Concat", self.shape, split, axis=0)
        heads = self.node("Reshape", joined, shape)
        query, key, value = (
            self.node("Gather", heads, self.constant(np.array(part)), axis=2) for part in range(3)
        )
        query = self.node("Transpose", query, perm=[0, 2, 1, 3])
        key = self.node("Transpose", key, perm=[0, 2, 3, 1])
        value = self.node("Transpose", value, perm=[0, 2, 1, 3])
        scores = self.node("Add", self.node("MatMul", query, key), bias)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        mixed = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.node("Reshape", mixed, self.constant(np.array([-1, width])))

    def head(self, hidden: str, mask: str) -> None:
        """The mean over the tokens that are there, and two logits."""
        width = self.weights["classifier.weight"].shape[1]
        shape = self.node("Concat", self.shape, self.constant(np.array([width])), axis=0)
        tokens = self.node("Reshape", hidden, shape)
        there = self.node("Unsqueeze", mask, self.constant(np.array([1])))
        total = self.node(
            "Squeeze", self.node("MatMul", there, tokens), self.constant(np.array([1]))
        )
        count = self.node("ReduceSum", mask, self.constant(np.array([1])), keepdims=1)
        mean = self.node("Div", total, count)
        weight, bias = (self.weights[f"classifier.{part}"] for part in ("weight", "bias"))
        self.node(
            "Gemm", mean, self.constant(weight), self.constant(bias), transB=1, to_output="logits"
        )

    def linear(self, value: str, name: str) -> str:
        """`value` [rows, in] through the named dense layer: [rows, out]."""
        return self.product(value, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def product(self, value: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """`value @ weight.T + bias` in 8-bit integers, one scale per row of `value`."""
        integers, row_scale = self.quantised(value)
        table, scale = rowwise(weight, WEIGHT_LEVELS)
        zero = self.constant(np.uint8(ZERO_POINT))
        summed = self.node("MatMulInteger", integers, self.constant(table.T), zero)
        real = self.node("Cast", summed, to=TensorProto.FLOAT)
        real = self.node("Mul", self.node("Mul", real, self.constant(scale)), row_scale)
        return self.node("Add", real, self.constant(bias))

    def quantised(self, value: str) -> tuple[str, str]:
        """`value` [rows, n] as uint8 around 128, and each row's scale [rows, 1]."""
        size = self.node("Abs", value)
        largest = self.node("ReduceMax", size, self.constant(np.array([1])), keepdims=0)
        scale = self.node("Div", largest, self.constant(np.float32(LEVELS)))
        zeros = self.node("Expand", self.constant(np.uint8(ZERO_POINT)), self.node("Shape", scale))
        integers = self.node("QuantizeLinear", value, scale, zeros, axis=0)
        return integers, self.node("Unsqueeze", scale, self.constant(np.array([1])))

    def normalised(self, value: str, name: str) -> str:
        """Layer normalisation with the named layer's gain and offset."""
        gain, offset = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return self.node(
            "LayerNormalization",
            value,
            self.constant(gain),
            self.constant(offset),
            axis=-1,
            epsilon=EPSILON,
        )

    def node(
        self, operator: str, *inputs: str, to_output: str = "", **attributes: Attribute
    ) -> str:
        """Appends a node and names its output."""
        output = to_output or f"v{len(self.nodes)}"
        made = helper.make_node(operator, list(inputs), [output])
        made.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(made)
        return output

    def constant(self, value: Array | np.generic) -> str:
        """Appends an initializer and names it."""
        name = f"c{len(self.initializers)}"
        # np.ascontiguousarray alone would make a scalar a vector of one.
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        self.initializers.append(numpy_helper.from_array(array, name))
        return name


def rowwise(
    table: NDArray[np.float32], levels: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`table` [rows, n] as int8 within +-`levels`, and one scale per row: value = q * scale."""
    scale = (np.abs(table).max(axis=1) / np.float32(levels)).astype(np.float32)
    return np.rint(table / scale[:, None]).astype(np.int8), scale
