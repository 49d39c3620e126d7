"""Convert a graph model of TensorFlow.js to TensorFlow Lite with float16 weights. Needs tensorflow-cpu 2.21.

Called by package_detector_models.py; not part of the package.
"""

import json
import math
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2, types_pb2

_UNFUSED = {
    "_FusedConv2D": "Conv2D",
    "_FusedMatMul": "MatMul",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
}
"""TensorFlow.js's fused operations, which TensorFlow cannot run, and the first operation of each."""
_FIRST_ATTRIBUTES = (
    "T",
    "strides",
    "padding",
    "data_format",
    "dilations",
    "explicit_paddings",
    "transpose_a",
    "transpose_b",
)


def convert(model_json: bytes, weights: bytes) -> bytes:
    """Return the TensorFlow Lite file of a graph model, given its two files."""
    model = json.loads(model_json)
    graph = unfused(with_weights(model, weights))
    signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
    inputs = [f"{node.name}:0" for node in graph.node if node.op == "Placeholder"]
    outputs = [output["name"] for output in signature["outputs"].values()]
    outputs = [name if ":" in name else f"{name}:0" for name in outputs]

    def load() -> None:
        tf.compat.v1.import_graph_def(graph, name="")

    function = tf.compat.v1.wrap_function(load, []).prune(inputs, outputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def with_weights(model: dict[str, Any], weights: bytes) -> Any:
    """Return the model's graph with its constants filled in."""
    values = read_weights(model["weightsManifest"], weights)
    graph = json_format.ParseDict(model["modelTopology"], graph_pb2.GraphDef(), ignore_unknown_fields=True)
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name]))
            node.attr["dtype"].type = node.attr["value"].tensor.dtype
        for attribute in node.attr.values():
            if attribute.type == types_pb2.DT_INT64:  # TensorFlow.js holds such values as int32.
                attribute.type = types_pb2.DT_INT32
    return graph


def read_weights(manifest: list[dict[str, Any]], weights: bytes) -> dict[str, np.ndarray]:
    """Return all weights by name; quantised ones as float32."""
    values, offset = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        quantization = entry.get("quantization", {})
        stored = np.dtype(quantization.get("dtype", entry["dtype"]))
        count = math.prod(entry["shape"])
        value = np.frombuffer(weights, stored, count, offset).reshape(entry["shape"])
        offset += value.nbytes
        if "scale" in quantization:
            value = value.astype(np.float32) * quantization["scale"] + quantization["min"]
        values[entry["name"]] = value.astype(entry["dtype"])
    if offset != len(weights):
        raise ValueError(
            f"weights: expected {offset} bytes, found {len(weights)}; take both files of one model"
        )
    return values


def unfused(graph: Any) -> Any:
    """Return a graph in which each fused operation is a chain of plain ones."""
    plain = graph_pb2.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.op in _UNFUSED:
            _add_chain(plain, node)
        else:
            plain.node.add().CopyFrom(node)
    return plain


def _add_chain(graph: Any, node: Any) -> None:
    """Add a fused operation as its first operation, bias and activation; the last one has the node's name."""
    steps = [step.decode() for step in node.attr["fused_ops"].list.s]
    names = [f"{node.name}/{part}" for part in ("__conv", "__f0", "__f1")[: len(steps)]] + [node.name]
    first = graph.node.add(name=names[0], op=_UNFUSED[node.op], input=node.input[:2])
    for key in _FIRST_ATTRIBUTES:
        if key in node.attr:
            first.attr[key].CopyFrom(node.attr[key])
    arguments = iter(node.input[2:])
    for step, before, name in zip(steps, names[:-1], names[1:], strict=True):
        if step not in ("BiasAdd", "Relu", "Relu6", "Elu", "Sigmoid"):
            raise ValueError(f"{node.name}: cannot take the fused step {step} apart")
        inputs = [before, next(arguments)] if step == "BiasAdd" else [before]
        added = graph.node.add(name=name, op=step, input=inputs)
        added.attr["T"].CopyFrom(node.attr["T"])
