"""A trained network as an ONNX graph, quantised to int8.

In: a ``FlowLanguageModel``, and words that show which values its layers take. Out: the bytes of the graph that
``model.scorer`` runs.
Must never: scale an activation by what else is in a run; a score would then depend on how the stream was cut.
Source: ONNX operator set 17; ``MatMulIntegerToFloat`` of ONNX Runtime (u8 activations, s8 weights, per column).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from thingwarden.train.network import FlowLanguageModel

OPSET: Final = 17
LOGIT_LIMIT: Final = 30.0
"""Next-word logits are clipped here, so that their exponentials stay finite in float32."""

_EPSILON: Final = 1e-5
_LEVELS: Final = 255.0
_HALF_LEVELS: Final = 127


def export_network(model: FlowLanguageModel, sample: npt.NDArray[np.uint8] | None = None) -> bytes:
    """The network as ONNX.

    Args:
        model: trained.
        sample: uint8 (B, T, F), sentences by which the scales of int8 activations are fixed; float32 without.

    Inputs: ids int32 (T, B, F), counts int32 (B,), hidden float32 (1, B, H), summary float32 (B, H).
    Outputs: class (T, B, C), ton (T, B, 10), role (T, B, 3) probabilities, surprise nats (T, B),
    hidden (1, B, H), summaries (T, B, H), memory (T, B, H), the hidden state after every word; T is time, because
    ONNX's recurrence reads time first.
    """
    graph = _Graph(None if sample is None else measure_ranges(model, sample))
    _build(graph, model)
    exported = graph.finish(model)
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

    def linear(self, x: str, layer: torch.nn.Linear, result: str) -> str:
        bias = self.weight(f"{result}.bias", layer.bias)
        if self._ranges is not None:
            return self.int8_product(x, layer.weight.T, self._ranges[layer], result, bias)
        product = self.op("MatMul", [x, self.weight(f"{result}.weight", layer.weight.T)], f"{result}.product")
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
        heads = {"attack_class": model.class_head, "ton_class": model.ton_head, "role": model.role_head}
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["T", "B", fields]),
            helper.make_tensor_value_info("counts", TensorProto.INT32, ["B"]),
            helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, "B", state_width]),
            helper.make_tensor_value_info("summary", TensorProto.FLOAT, ["B", state_width]),
        ]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", "B", head.out_features])
            for name, head in heads.items()
        ]
        outputs.append(helper.make_tensor_value_info("surprise_nats", TensorProto.FLOAT, ["T", "B"]))
        outputs.append(helper.make_tensor_value_info("hidden_out", TensorProto.FLOAT, [1, "B", state_width]))
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", "B", state_width])
            for name in ("summaries", "memory")
        ]
        weights = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "flow_language_model", inputs, outputs, weights)
        opset = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name="thingwarden")


def _build(graph: _Graph, model: FlowLanguageModel) -> None:
    ids = graph.op("Cast", ["ids"], "ids64", to=TensorProto.INT64)
    columns = graph.op("Add", [ids, graph.weight("offsets", model.offsets)], "columns")  # (T, B, F)
    full, opened = _embed(graph, model, columns)
    x = graph.rms_norm(full, model.word_norm, "word_norm")
    inner = graph.squared_relu(graph.linear(x, model.word_in, "word_in"), "word_in.active")
    x = graph.op("Add", [x, graph.linear(inner, model.word_out, "word_out")], "word")  # (T, B, D)
    remembered = _recur(graph, model, x)
    both = graph.op("Concat", [x, remembered], "mix.input", axis=-1)
    mixed = graph.squared_relu(graph.linear(both, model.mix, "mix"), "mix.active")
    y = graph.rms_norm(graph.linear(mixed, model.summary, "summary.linear"), model.summary_norm, "summaries")
    for head, name in ((model.class_head, "attack_class"), (model.ton_head, "ton_class"), (model.role_head, "role")):
        graph.op("Softmax", [graph.linear(y, head, f"{name}.logits")], name, axis=-1)
    logits = _expect_word(graph, model, y, opened)
    _add_surprise(graph, model, logits, columns, ids)


def _embed(graph: _Graph, model: FlowLanguageModel, columns: str) -> tuple[str, str]:
    """Sums of embeddings as one product of a multi-hot row with the table, once for all fields, once for openings'."""
    total, width = model.table.weight.shape
    outcome = model.outcome_columns[:, None]
    table = torch.cat([model.table.weight, torch.where(outcome, 0.0, model.table.weight)], dim=1)
    shape = graph.op("Shape", [columns], "columns.shape")
    lead = graph.op("Slice", [shape, graph.ints("zero", [0]), graph.ints("two", [2])], "lead")
    row_shape = graph.op("Concat", [lead, graph.ints("total", [total])], "row.shape", axis=0)
    zeros = graph.op("ConstantOfShape", [row_shape], "zeros", value=_scalar(0.0))
    ones = graph.op("ConstantOfShape", [shape], "ones", value=_scalar(1.0))
    hot = graph.op("ScatterElements", [zeros, columns, ones], "multi_hot", axis=2)  # (T, B, V)
    sums = graph.multi_hot_product(hot, table, "sums")
    graph.nodes.append(
        helper.make_node("Split", [sums, graph.ints("widths", [width, width])], ["full", "opened"], axis=-1)
    )
    return "full", "opened"


def _scalar(value: float) -> onnx.TensorProto:
    return helper.make_tensor("value", TensorProto.FLOAT, [1], [value])


def _recur(graph: _Graph, model: FlowLanguageModel, x: str) -> str:
    """The recurrence; ONNX orders its gates update, reset, candidate, PyTorch reset, update, candidate."""
    cell = model.recurrence

    def reorder(weight: torch.Tensor) -> torch.Tensor:
        reset, update, candidate = weight.chunk(3)
        return torch.cat([update, reset, candidate])

    weights = dict(cell.named_parameters())
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
            hidden_size=model.shape.state_width,
            linear_before_reset=1,
        )
    )
    return graph.op("Squeeze", ["gru.output", graph.ints("one", [1])], "memory")


def _expect_word(graph: _Graph, model: FlowLanguageModel, y: str, opened: str) -> str:
    first = graph.op("Unsqueeze", ["summary", "zero"], "summary.first")
    earlier = graph.op("Slice", [y, "zero", graph.ints("minus_one", [-1])], "summaries.earlier")
    before = graph.op("Concat", [first, earlier], "before", axis=0)
    known = graph.op("Concat", [before, graph.rms_norm(opened, model.open_norm, "open_norm")], "known", axis=-1)
    expected = graph.squared_relu(graph.linear(known, model.expect, "expect"), "expect.active")
    outcome = graph.linear(expected, model.outcome_head, "outcome")
    opening = graph.linear(before, model.opening_head, "opening")
    is_outcome = graph.weight("is_outcome", model.outcome_columns.numpy())
    return graph.op("Where", [is_outcome, outcome, opening], "word.logits")  # (T, B, V)


def _add_surprise(graph: _Graph, model: FlowLanguageModel, logits: str, columns: str, ids: str) -> None:
    """-log p of the fields that a word is the first to tell; see ``finetune.told_fields``."""
    sizes = torch.tensor(model.shape.sizes)
    member = torch.nn.functional.one_hot(torch.repeat_interleave(torch.arange(len(sizes)), sizes)).float()
    low, high = (graph.weight(f"limit{sign:+d}", np.float32(sign * LOGIT_LIMIT)) for sign in (-1, 1))
    clipped = graph.op("Clip", [logits, low, high], "word.clipped")
    masses = graph.op("Exp", [clipped], "word.masses")
    sums = graph.op("MatMul", [masses, graph.weight("member", member)], "sum_within_fields")  # (T, B, F)
    normaliser = graph.op("Log", [sums], "field.normaliser")
    chosen = graph.op("GatherElements", [clipped, columns], "field.chosen", axis=2)
    nats = graph.op("Sub", [normaliser, chosen], "field.nats")
    kind = graph.op("Slice", [ids, "zero", "one", "two"], "kind")
    is_close = graph.op("Equal", [kind, "two"], "is_close")
    fields_outcome = graph.weight("fields.is_outcome", np.array(model.shape.is_outcome))
    differs = graph.op("Xor", [is_close, fields_outcome], "differs")
    is_told = graph.op(
        "And", [graph.op("Not", [differs], "agrees"), graph.op("Greater", [ids, "zero"], "given")], "told"
    )
    told = graph.op("Cast", [is_told], "told.float", to=TensorProto.FLOAT)
    graph.op("ReduceSum", [graph.op("Mul", [nats, told], "told.nats"), "two"], "surprise_nats", keepdims=0)
