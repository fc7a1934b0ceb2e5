"""A trained network as an ONNX graph, quantised to int8.

In: a ``FlowLanguageModel``, and words that show which values its layers take. Out: the bytes of the graph that
``model.scorer`` runs.
Must never: scale an activation by what else is in a run; a score would then depend on how the stream was cut.
Source: ONNX operator set 17; ``MatMulIntegerToFloat`` of ONNX Runtime (u8 activations, s8 weights, per column).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from thingwarden.encode.vocabulary import FIELD_INDEX
from thingwarden.train.attention import AttentionLayer, AttentionReader
from thingwarden.train.network import FlowLanguageModel
from thingwarden.train.reader import RecurrentReader

OPSET: Final = 17
_EPSILON: Final = 1e-5
_LEVELS: Final = 255.0
_HALF_LEVELS: Final = 127


def export_network(model: FlowLanguageModel, sample: npt.NDArray[np.uint8] | None = None) -> bytes:
    """The network as ONNX.

    Args:
        model: trained.
        sample: uint8 (B, T, F), sentences by which the scales of int8 activations are fixed; float32 without.

    Inputs: ids int32 (T, B, F), counts int32 (B,), hidden float32 (1, B, S).
    Outputs: class (T, B, C), ton (T, B, 10), role (T, B, 3) probabilities, hidden (1, B, S), summaries (T, B, H),
    memory (T, B, S), what is remembered after every word. T is time, because ONNX's recurrence reads time first; S
    numbers are all that the reader remembers of a sentence: a recurrent state, or a window's keys and values one after
    the other.
    """
    graph = _Graph(None if sample is None else measure_ranges(model, sample))
    _build(graph, model)
    return _serialise(graph.finish(model))


def export_habit(model: FlowLanguageModel) -> bytes:
    """What the model expects of openings to come, as ONNX in float32: it runs once in minutes a device.

    Input: summary float32 (B, H). Outputs: nats float32 (B, V), -log p of every bucket of the fields that openings
    tell; offsets int64 (F,), where each field's buckets begin among them, -1 for the fields that only
    outcomes have and for the kind of word, which is the same of all openings.
    """
    graph = _Graph(None)
    opening = ~model.outcome_columns
    active = graph.squared_relu(graph.linear("summary", model.habit, "habit"), "habit.active")
    weight = graph.weight("head.weight", model.habit_head.weight[opening].T)
    logits = graph.op("Add", [graph.op("MatMul", [active, weight], "head.product"),
                              graph.weight("head.bias", model.habit_head.bias[opening])], "logits")  # fmt: skip
    told = zip(model.shape.sizes, model.shape.is_outcome, strict=True)
    sizes = [bucket_count for bucket_count, outcome in told if not outcome]
    parts = [f"field{number}" for number in range(len(sizes))]
    graph.nodes.append(helper.make_node("Split", [logits, graph.ints("sizes", sizes)], parts, axis=-1))
    logs = [graph.op("LogSoftmax", [part], f"{part}.log", axis=-1) for part in parts]
    graph.op("Neg", [graph.op("Concat", logs, "logs", axis=-1)], "nats")
    starts = iter(np.cumsum([0, *sizes[:-1]]).tolist())
    offsets = [-1 if outcome else next(starts) for outcome in model.shape.is_outcome]
    offsets[FIELD_INDEX["kind"]] = -1
    graph.op("Identity", [graph.ints("starts", offsets)], "offsets")
    inputs = [helper.make_tensor_value_info("summary", TensorProto.FLOAT, ["B", model.shape.state_width])]
    outputs = [
        helper.make_tensor_value_info("nats", TensorProto.FLOAT, ["B", sum(sizes)]),
        helper.make_tensor_value_info("offsets", TensorProto.INT64, [len(offsets)]),
    ]
    return _serialise(graph.assemble("habit", inputs, outputs))


def _serialise(exported: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString())


def measure_ranges(
    model: FlowLanguageModel, sample: npt.NDArray[np.uint8]
) -> dict[torch.nn.Module, tuple[float, float]]:
    """The smallest and largest input of every linear layer over the sample.

    Args:
        model: trained.
        sample: uint8 (B, T, F).
    """
    ranges: dict[torch.nn.Module, tuple[float, float]] = {}

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        low, high = ranges.get(layer, (0.0, 0.0))
        ranges[layer] = (min(low, float(inputs[0].min())), max(high, float(inputs[0].max())))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        model(torch.from_numpy(sample.astype(np.int64)), model.initial_state(len(sample)))
    for hook in hooks:
        hook.remove()
    return ranges


class _Graph:
    """Collects nodes and weights; every method returns the name of its result."""

    def __init__(self, ranges: Mapping[torch.nn.Module, tuple[float, float]] | None) -> None:
        self._ranges = ranges
        self.nodes: list[Any] = []
        self.weights: dict[str, npt.NDArray[Any]] = {}

    def weight(self, name: str, value: torch.Tensor | npt.NDArray[Any] | np.float32) -> str:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        self.weights[name] = np.asarray(array, order="C")
        return name

    def ints(self, name: str, values: Sequence[int]) -> str:
        return self.weight(name, np.array(values, dtype=np.int64))

    def op(self, kind: str, inputs: Sequence[str], result: str, **attributes: Any) -> str:
        name = attributes.pop("name", result)
        self.nodes.append(helper.make_node(kind, list(inputs), [result], name=name, **attributes))
        return result

    def linear(self, x: str, layer: torch.nn.Linear, result: str, rows: torch.Tensor | slice = slice(None)) -> str:
        """The layer, or those of its results that ``rows`` picks."""
        bias, weight = self.weight(f"{result}.bias", layer.bias[rows]), layer.weight[rows].T
        if self._ranges is not None:
            return self.int8_product(x, weight, self._ranges[layer], result, bias)
        product = self.op("MatMul", [x, self.weight(f"{result}.weight", weight)], f"{result}.product")
        return self.op("Add", [product, bias], result)

    def multi_hot_product(self, x: str, table: torch.Tensor, result: str) -> str:
        if self._ranges is not None:
            return self.int8_product(x, table, (0.0, _LEVELS), result)  # zeros and ones stay exact
        return self.op("MatMul", [x, self.weight(f"{result}.weight", table)], result)

    def int8_product(
        self, x: str, weight: torch.Tensor, value_range: tuple[float, float], result: str, bias: str = ""
    ) -> str:
        """x (..., K) times weight (K, N), with x in 256 fixed levels and each column of the weight in 255."""
        low, high = value_range
        step = max((high - low) / _LEVELS, 1e-8)
        columns = weight.detach().abs().amax(dim=0).clamp(min=1e-8) / _HALF_LEVELS
        scale = self.weight(f"{result}.scale", np.float32(step))
        zero = self.weight(f"{result}.zero", np.array(round(-low / step), dtype=np.uint8))
        rounded = (weight.detach() / columns).round().clamp(-_HALF_LEVELS, _HALF_LEVELS).to(torch.int8)
        inputs = [
            self.op("QuantizeLinear", [x, scale, zero], f"{result}.quantised"),
            self.weight(f"{result}.weight", rounded),
            scale,
            self.weight(f"{result}.columns", columns),
            zero,
            "",
            bias,
        ]
        return self.op("MatMulIntegerToFloat", inputs if bias else inputs[:5], result, domain="com.microsoft")

    def squared_relu(self, x: str, result: str) -> str:
        positive = self.op("Relu", [x], f"{result}.relu")
        return self.op("Mul", [positive, positive], result)

    def rms_norm(self, x: str, layer: torch.nn.RMSNorm, result: str) -> str:
        squared = self.op("Mul", [x, x], f"{result}.squared")
        mean = self.op("ReduceMean", [squared], f"{result}.mean", axes=[-1], keepdims=1)
        shifted = self.op("Add", [mean, self.weight(f"{result}.epsilon", np.float32(_EPSILON))], f"{result}.shifted")
        root = self.op("Sqrt", [shifted], f"{result}.root")
        scaled = self.op("Div", [x, root], f"{result}.scaled")
        return self.op("Mul", [scaled, self.weight(f"{result}.gain", layer.weight)], result)

    def finish(self, model: FlowLanguageModel) -> onnx.ModelProto:
        fields, state_width = len(model.shape.sizes), model.shape.state_width
        memory_width = sum(math.prod(shape) for shape in model.reader.memory_shapes())
        heads = {"attack_class": model.class_head, "ton_class": model.ton_head, "role": model.role_head}
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["T", "B", fields]),
            helper.make_tensor_value_info("counts", TensorProto.INT32, ["B"]),
            helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, "B", memory_width]),
        ]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", "B", head.out_features])
            for name, head in heads.items()
        ]
        outputs += [
            helper.make_tensor_value_info("hidden_out", TensorProto.FLOAT, [1, "B", memory_width]),
            helper.make_tensor_value_info("summaries", TensorProto.FLOAT, ["T", "B", state_width]),
            helper.make_tensor_value_info("memory", TensorProto.FLOAT, ["T", "B", memory_width]),
        ]
        return self.assemble("flow_language_model", inputs, outputs)

    def assemble(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.ModelProto:
        """The nodes and weights collected so far as a model."""
        weights = [numpy_helper.from_array(value, key) for key, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), weights)
        opset = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name="thingwarden")


def _build(graph: _Graph, model: FlowLanguageModel) -> None:
    ids = graph.op("Cast", ["ids"], "ids64", to=TensorProto.INT64)
    columns = graph.op("Add", [ids, graph.weight("offsets", model.offsets)], "columns")  # (T, B, F)
    x = graph.rms_norm(_embed(graph, model, columns), model.word_norm, "word_norm")
    inner = graph.squared_relu(graph.linear(x, model.word_in, "word_in"), "word_in.active")
    x = graph.op("Add", [x, graph.linear(inner, model.word_out, "word_out")], "word")  # (T, B, D)
    known = _read(graph, model, x)
    both = graph.op("Concat", [x, known], "mix.input", axis=-1)
    mixed = graph.squared_relu(graph.linear(both, model.mix, "mix"), "mix.active")
    y = graph.rms_norm(graph.linear(mixed, model.summary, "summary.linear"), model.summary_norm, "summaries")
    for head, name in ((model.class_head, "attack_class"), (model.ton_head, "ton_class"), (model.role_head, "role")):
        graph.op("Softmax", [graph.linear(y, head, f"{name}.logits")], name, axis=-1)


def _embed(graph: _Graph, model: FlowLanguageModel, columns: str) -> str:
    """Sums of the fields' embeddings as the product of a multi-hot row with the table."""
    total = model.table.weight.shape[0]
    shape = graph.op("Shape", [columns], "columns.shape")
    lead = graph.op("Slice", [shape, graph.ints("zero", [0]), graph.ints("two", [2])], "lead")
    row_shape = graph.op("Concat", [lead, graph.ints("total", [total])], "row.shape", axis=0)
    zeros = graph.op("ConstantOfShape", [row_shape], "zeros", value=_scalar(0.0))
    ones = graph.op("ConstantOfShape", [shape], "ones", value=_scalar(1.0))
    hot = graph.op("ScatterElements", [zeros, columns, ones], "multi_hot", axis=2)  # (T, B, V)
    return graph.multi_hot_product(hot, model.table.weight, "sums")


def _scalar(value: float) -> onnx.TensorProto:
    return helper.make_tensor("value", TensorProto.FLOAT, [1], [value])


def _read(graph: _Graph, model: FlowLanguageModel, x: str) -> str:
    reader = model.reader
    if isinstance(reader, RecurrentReader):
        return _recur(graph, reader, x)
    if isinstance(reader, AttentionReader):
        return _attend(graph, reader, x)
    raise TypeError(f"no graph is known for {type(reader).__name__}")


def _recur(graph: _Graph, reader: RecurrentReader, x: str) -> str:
    """The recurrence; ONNX orders its gates update, reset, candidate, PyTorch reset, update, candidate."""

    def reorder(weight: torch.Tensor) -> torch.Tensor:
        reset, update, candidate = weight.chunk(3)
        return torch.cat([update, reset, candidate])

    weights = dict(reader.recurrence.named_parameters())
    inputs = graph.weight("gru.input", reorder(weights["weight_ih_l0"])[None])
    recurrent = graph.weight("gru.recurrent", reorder(weights["weight_hh_l0"])[None])
    biases = torch.cat([reorder(weights["bias_ih_l0"]), reorder(weights["bias_hh_l0"])])
    bias = graph.weight("gru.bias", biases[None])
    graph.nodes.append(
        helper.make_node(
            "GRU",
            [x, inputs, recurrent, bias, "counts", "hidden"],
            ["gru.output", "hidden_out"],
            name="recurrence",
            hidden_size=reader.read_width,
            linear_before_reset=1,
        )
    )
    return graph.op("Squeeze", ["gru.output", graph.ints("one", [1])], "memory")


def _attend(graph: _Graph, reader: AttentionReader, x: str) -> str:
    layers = [layer for layer in reader.layers if isinstance(layer, AttentionLayer)]
    window_words, row_width = reader.window_words, 2 * layers[0].head_width
    distance = _distances(graph, x, window_words)
    graph.ints("last", [-1])
    shape = graph.ints("window.shape", [-1, window_words, row_width * len(layers)])
    past = graph.op("Reshape", ["hidden", shape], "window.past")  # (B, W, 2 E L)
    pasts = [f"layer{number}.past" for number in range(len(layers))]
    graph.nodes.append(helper.make_node("Split", [past, graph.ints("rows", [row_width] * len(layers))], pasts, axis=-1))
    recent = []
    for number, (layer, layer_past) in enumerate(zip(layers, pasts, strict=True)):
        x, keys_values = _attend_once(graph, layer, x, layer_past, distance, f"layer{number}")
        recent.append(keys_values)
    rows = graph.op("Concat", [past, graph.op("Concat", recent, "recent", axis=-1)], "window.rows", axis=1)
    _keep_window(graph, rows, window_words, window_words * row_width * len(layers))
    return graph.rms_norm(x, reader.out_norm, "read")


def _keep_window(graph: _Graph, rows: str, window_words: int, memory_width: int) -> None:
    """From the window before and all words' rows (B, W + T, 2 E L): the windows after each word and after the last."""
    counts = graph.op("Unsqueeze", [graph.op("Cast", ["counts"], "counts64", to=TensorProto.INT64), "last"], "column")
    within = graph.ints("window.places", range(window_words))
    kept = graph.op("Unsqueeze", [graph.op("Add", [counts, within], "kept.places"), "last"], "kept.indices")
    ended = graph.op("GatherND", [rows, kept], "kept", batch_dims=1)  # (B, W, 2 E L)
    graph.op("Reshape", [ended, graph.ints("kept.shape", [1, -1, memory_width])], "hidden_out")
    after = graph.op("Add", [graph.op("Unsqueeze", ["word.places", "last"], "word.rows"), "count1"], "word.next")
    every = graph.op("Gather", [rows, graph.op("Add", [after, within], "every.places")], "every", axis=1)
    timed = graph.op("Transpose", [every], "every.timed", perm=[1, 0, 2, 3])  # (T, B, W, 2 E L)
    graph.op("Reshape", [timed, graph.ints("every.shape", [0, 0, memory_width])], "memory")


def _distances(graph: _Graph, x: str, window_words: int) -> str:
    """How far back each key stands from each word, int64 (T, W + T); W + 1 where it is outside the window."""
    shape = graph.op("Shape", [x], "x.shape")
    steps = graph.op("Gather", [shape, graph.weight("first", np.array(0, dtype=np.int64))], "steps")
    start, stride = (graph.weight(f"count{number}", np.array(number, dtype=np.int64)) for number in (0, 1))
    reach = graph.weight("reach", np.array(window_words, dtype=np.int64))
    outside = graph.weight("outside", np.array(window_words + 1, dtype=np.int64))
    words = graph.op("Range", [start, steps, stride], "word.places")
    keys = graph.op("Range", [start, graph.op("Add", [steps, reach], "key.count"), stride], "key.places")
    column = graph.op(
        "Unsqueeze", [graph.op("Add", [words, reach], "word.ahead"), graph.ints("one", [1])], "word.column"
    )
    back = graph.op("Sub", [column, keys], "back")
    is_inside = graph.op(
        "And",
        [graph.op("GreaterOrEqual", [back, start], "is_past"), graph.op("Less", [back, outside], "is_near")],
        "is_inside",
    )
    return graph.op("Where", [is_inside, back, outside], "distance")


def _attend_once(graph: _Graph, layer: AttentionLayer, x: str, past: str, distance: str, name: str) -> tuple[str, str]:
    """One layer's words (T, B, D), and their keys and values (B, T, 2 E); within, (B, N T, E) by (B, E, W + T)."""
    heads, width = layer.head_count, layer.head_width
    normed = graph.rms_norm(x, layer.norm, f"{name}.norm")
    key_value = graph.linear(normed, layer.key_value, f"{name}.key_value")  # (T, B, 2 E)
    recent = graph.op("Transpose", [key_value], f"{name}.recent", perm=[1, 0, 2])
    rows = graph.op("Concat", [past, recent], f"{name}.window", axis=1)  # (B, W + T, 2 E)
    halves = graph.ints(f"{name}.halves", [width, width])
    graph.nodes.append(helper.make_node("Split", [rows, halves], [f"{name}.keys", f"{name}.values"], axis=-1))
    keys = graph.op("Transpose", [f"{name}.keys"], f"{name}.keys.turned", perm=[0, 2, 1])
    query = graph.linear(normed, layer.query, f"{name}.query")
    scaled = graph.op("Mul", [query, graph.weight(f"{name}.scale", np.float32(width**-0.5))], f"{name}.scaled")
    split = graph.op("Reshape", [scaled, graph.ints(f"{name}.split", [0, 0, heads, width])], f"{name}.heads")
    turned = graph.op("Transpose", [split], f"{name}.turned", perm=[1, 2, 0, 3])  # (B, N, T, E)
    flat = graph.op("Reshape", [turned, graph.ints(f"{name}.rows", [0, -1, width])], f"{name}.flat")
    scores = graph.op("MatMul", [flat, keys], f"{name}.scores")  # (B, N T, W + T)
    weights = _weigh_window(graph, layer, scores, distance, name)
    found = graph.op("MatMul", [weights, f"{name}.values"], f"{name}.found")
    parted = graph.op("Reshape", [found, graph.ints(f"{name}.part", [0, heads, -1, width])], f"{name}.parted")
    back = graph.op("Transpose", [parted], f"{name}.back", perm=[2, 0, 1, 3])  # (T, B, N, E)
    joined = graph.op("Reshape", [back, graph.ints(f"{name}.join", [0, 0, heads * width])], f"{name}.joined")
    x = graph.op("Add", [x, graph.linear(joined, layer.gather, f"{name}.gather")], f"{name}.attended")
    inner = graph.linear(graph.rms_norm(x, layer.inner_norm, f"{name}.inner_norm"), layer.inner, f"{name}.inner")
    outer = graph.linear(graph.squared_relu(inner, f"{name}.active"), layer.outer, f"{name}.outer")
    return graph.op("Add", [x, outer], f"{name}.out"), recent


def _weigh_window(graph: _Graph, layer: AttentionLayer, scores: str, distance: str, name: str) -> str:
    """Softmax of scores (B, N T, W + T) plus the bias of their distances."""
    nowhere = torch.full((layer.head_count, 1), -1e30)
    bias = graph.weight(f"{name}.bias", torch.cat([layer.distance_bias.detach(), nowhere], dim=1))
    band = graph.op("Gather", [bias, distance], f"{name}.band", axis=1)  # (N, T, W + T)
    columns = graph.op("Slice", [graph.op("Shape", [band], f"{name}.band.shape"), *_last(graph)], f"{name}.columns")
    shape = graph.op("Concat", [graph.ints(f"{name}.any", [-1]), columns], f"{name}.row.shape", axis=0)
    rows = graph.op("Reshape", [band, shape], f"{name}.band.rows")  # (N T, W + T)
    return graph.op("Softmax", [graph.op("Add", [scores, rows], f"{name}.biased")], f"{name}.weights", axis=-1)


def _last(graph: _Graph) -> tuple[str, str]:
    return graph.ints("two", [2]), graph.ints("three", [3])
