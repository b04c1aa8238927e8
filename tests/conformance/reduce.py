#!/usr/bin/env python3
"""Reduced versions of the exporters' architectures, small enough to be interpreted.

    reduce.py --tools ../shared/tools -o DIR [NAME ...]      by reduced.json beside this file
    reduce.py --tools ../shared/tools -o DIR --search NAME   looks for the strongest reduction that runs

Widths are divided by a factor: every number of at least 32 that is a size of some weight, wherever it occurs
(sizes of weights, shapes in constants, groups, hidden sizes); with "heads", also what divides such a size and
occurs in the shapes of inputs or in constants, as the sizes of attention heads do. Images are cut to a size,
symbolic dimensions to small numbers; "also" maps further numbers, such as those of patches, in floats too, and
"shapes" whole constants and shapes (0: symbolic), where a number is a width here and a count of tokens there. "skip" puts an earlier value
in the place of a later one, which leaves out repeated layers; otherwise the graph stays as the exporter wrote it.
Weights are drawn by the recipes of materialize.py. Each model gets a folder with its inputs, and no outputs: whoever runs it compares with a reference of its own. --search needs
onnxruntime, to see whether a reduced model still runs.
"""

import argparse
import importlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

TABLE = Path(__file__).with_name("reduced.json")
LEAST = 32
SMALL_CONSTANT = 16
WIDTH_ATTRIBUTES = {"group", "hidden_size", "split", "shape", "num_groups", "output_shape"}
FACTORS, SIZES = (8, 4, 2, 1), (32, 64, 96, 128, 160, 224, 320, 0)
BATCH, LENGTH = 1, 8


def mentioned(tools, model) -> set:
    """The numbers in the shapes of inputs and in small constants."""
    found = {d.dim_value for i in model.graph.input for d in i.type.tensor_type.shape.dim}
    for _, tensor in tools.weights(model):
        if tensor.data_type == TensorProto.INT64 and np.prod(tensor.dims, dtype=int) <= SMALL_CONSTANT:
            found.update(int(v) for v in numpy_helper.to_array(tensor).ravel())
    return found


def width_map(tools, model, factor: int, heads: bool) -> dict:
    """From each size of a weight to the reduced one."""
    found = set()
    for _, tensor in tools.weights(model):
        if tensor.data_type != TensorProto.INT64:
            found.update(d for d in tensor.dims)
    if heads:
        found |= {v for v in mentioned(tools, model) if v >= LEAST and any(d % v == 0 for d in found)}
    return {d: d // factor for d in found if d >= LEAST and d % factor == 0}


def reduce_constants(tools, model, widths: dict, also: dict, shapes: dict) -> None:
    for _, tensor in tools.weights(model):
        small = np.prod(tensor.dims, dtype=int) <= SMALL_CONSTANT
        if tools.RECIPE.match(tensor.doc_string):
            dims = [widths.get(d, d) for d in tensor.dims]
            del tensor.dims[:]
            tensor.dims.extend(dims)
        elif tensor.data_type == TensorProto.INT64 and small:
            array = numpy_helper.to_array(tensor)
            before = array.ravel().tolist()
            after = shapes.get(str(before)) or [widths.get(v, v) for v in before]
            tools.fill(tensor, np.array(after, np.int64).reshape(array.shape))
        elif any(d in widths for d in tensor.dims):
            # What is there as it is: a part of it is as good as another.
            array = numpy_helper.to_array(tensor)[tuple(slice(widths.get(d, d)) for d in tensor.dims)]
            del tensor.dims[:]
            tensor.dims.extend(array.shape)
            tools.fill(tensor, array)
        elif tensor.data_type == TensorProto.FLOAT and small:
            array = numpy_helper.to_array(tensor)
            changed = np.array([also.get(v, v) for v in array.ravel().tolist()], np.float32)
            tools.fill(tensor, changed.reshape(array.shape))


def reduce_attributes(tools, model, widths: dict) -> None:
    for graph in tools.graphs(model.graph):
        for node in graph.node:
            for a in node.attribute:
                if a.name not in WIDTH_ATTRIBUTES and not a.name.startswith("value_int"):
                    continue
                if a.type == AttributeProto.INT:
                    a.i = widths.get(a.i, a.i)
                elif a.type == AttributeProto.INTS:
                    changed = [widths.get(v, v) for v in a.ints]
                    del a.ints[:]
                    a.ints.extend(changed)


def reduce_inputs(model, record, widths: dict, size: int, shapes: dict) -> None:
    for info in [*model.graph.input, *model.graph.output]:
        shape = info.type.tensor_type.shape.dim
        whole = shapes.get(str([d.dim_value for d in shape]))
        for i, d in enumerate(shape):
            if not d.HasField("dim_value"):
                continue
            if whole:
                d.dim_value = whole[i]
            elif info in model.graph.input and len(shape) == 4 and size and d.dim_value > size:
                d.dim_value = size
            elif d.dim_value in widths:
                d.dim_value = widths[d.dim_value]
    sizes = record["dims"]
    small = {n: min(v, BATCH if "batch" in n or n in ("n", "N") else LENGTH) for n, v in sizes.items()}
    for name, value in sizes.items():
        # What was a sum of two others, as of past and present, stays one.
        sums = [small[a] + small[b] for a, b in itertools.combinations(sizes, 2) if sizes[a] + sizes[b] == value]
        if sums and value > LENGTH:
            small[name] = sums[0]
    sizes.update(small)
    for spec in record["inputs"].values():
        if spec.get("high") in widths:
            spec["high"] = widths[spec["high"]]


def skip_layers(model, skip: dict) -> None:
    """Without the nodes that nothing needs any more."""
    for node in model.graph.node:
        node.input[:] = [skip.get(i, i) for i in node.input]
    needed = {o.name for o in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


def reduced(tools, folder: Path, name: str, factor: int, size: int, heads=False, also=(), shapes=(), skip=()):
    """The reduced model and its inputs."""
    also, shapes, skip = {int(k): v for k, v in dict(also).items()}, dict(shapes), dict(skip)
    model, record = tools.load(folder, name)
    widths = width_map(tools, model, factor, heads) if factor > 1 else {}
    widths.update(also)
    reduce_constants(tools, model, widths, also, shapes)
    reduce_attributes(tools, model, widths)
    reduce_inputs(model, record, widths, size, shapes)
    if skip:
        skip_layers(model, skip)
    for graph in tools.graphs(model.graph):
        del graph.value_info[:]
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    tools.fill_weights(model, name)
    known = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in known]
    return model, {i.name: tools.make_input(i, record["inputs"][i.name], record["dims"], name) for i in inputs}


def runs(model, inputs) -> bool:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        outputs = session.run(None, inputs)
    except Exception:  # whatever it refuses does not run
        return False
    # A result without a number tests nothing.
    return all(np.isfinite(o).all() for o in outputs if isinstance(o, np.ndarray) and o.dtype.kind == "f")


def search(tools, folder: Path, name: str):
    for factor, heads, size in itertools.product(FACTORS, (False, True), SIZES):
        choice = {"factor": factor, "size": size, "heads": heads}
        try:
            model, inputs = reduced(tools, folder, name, **choice)
        except (ValueError, KeyError, SystemExit):
            continue
        if runs(model, inputs):
            return choice
    return None


def write(model, inputs, folder: Path) -> None:
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for k, (name, value) in enumerate(inputs.items()):
        (data / f"input_{k}.pb").write_bytes(numpy_helper.from_array(value, name).SerializeToString())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--tools", type=Path, required=True, help="the folder of materialize.py")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--search", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, str(args.tools))
    tools = importlib.import_module("materialize")
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for name in args.names or sorted(table):
        if args.search:
            found = search(tools, tools.ARCHITECTURES, name)
            print(name, found, flush=True)
            if found is None:
                continue
            table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
            table[name] = found
            TABLE.write_text("{\n" + ",\n".join(f' "{k}": {json.dumps(v)}' for k, v in sorted(table.items())) + "\n}\n")
        model, inputs = reduced(tools, tools.ARCHITECTURES, name, **table[name])
        write(model, inputs, args.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
