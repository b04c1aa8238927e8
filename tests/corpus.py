#!/usr/bin/env python3
"""Verify exporter graphs at their default sizes and at others, against ONNX Runtime.

    corpus.py --tools ../shared/tools --nnc target/release/nnc            every graph, every dimension
    corpus.py --tools ../shared/tools --nnc target/release/nnc NAME ...   some graphs

Every dynamic dimension of every graph takes four other values, small and large, odd ones included. All
sizes of a graph go through one session of `nnc verify`, in an order that goes up and down. A graph that
fails so is verified size by size, which tells a wrong size from a wrong change of sizes. Graphs are made by
materialize.py (which needs numpy, onnx and onnxruntime) in a temporary folder. Exit code 1 if one fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# By name of dimension; those that belong together keep their order.
VALUES = {
    "batch": [3, 2, 9, 5],
    "seq": [61, 1, 300, 7],
    "source_seq": [7, 1, 90, 33],
    "target_seq": [3, 1, 40, 17],
    "past": [60, 0, 500, 3],
    "height": [65, 33, 321, 200],
    "width": [97, 40, 200, 301],
}
DECODERS = {"seq": [1, 7, 2, 5]}
# Encoders and decoders meet at sizes that their strides divide.
BY_SIXTEEN = {"height": [64, 16, 272, 160], "width": [96, 32, 208, 112]}
BY_EIGHT = {"height": [24, 8, 56, 40], "width": [40, 16, 8, 48]}
LATENT = {"height": [13, 5, 47, 24], "width": [9, 7, 24, 31]}
OVERRIDES = {
    **dict.fromkeys(["gpt2_kv", "gpt2_kv_dynamo", "llama_small_kv", "llama_small_kv_dynamo",
                     "llama_small_kv_int4"], DECODERS),
    "unet": BY_SIXTEEN,
    "sd_unet_small": BY_EIGHT,
    "sd_vae_decoder_small": LATENT,
}


def cases(name, default):
    """Four sets of sizes beside the default ones."""
    values = {d: OVERRIDES.get(name, {}).get(d, VALUES.get(d)) for d in default if d != "total"}
    for i in range(4 if values else 0):
        yield {d: v[i] for d, v in values.items()}


def write_set(materialize, folder, name, at, dims, session):
    """One more data set of a model, expected outputs included."""
    model, record = materialize.load(materialize.ARCHITECTURES, name)
    sizes = {**record.get("dims", {}), **dims}
    if "total" in sizes:
        sizes["total"] = sizes["past"] + sizes["seq"]
    for key, text in record.get("derived", {}).items():
        sizes[key] = materialize.evaluate(text, sizes, name)
    filled = {t.name for t in model.graph.initializer}
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*model.graph.input, *model.graph.output]}
    inputs = {i.name: materialize.make_input(i, record["inputs"][i.name], sizes, name)
              for i in model.graph.input if i.name not in filled}
    data = folder / f"test_data_set_{at}"
    data.mkdir()
    for k, (key, array) in enumerate(inputs.items()):
        (data / f"input_{k}.pb").write_bytes(materialize.make_tensor(array, key, kinds[key]).SerializeToString())
    for k, (out, value) in enumerate(zip(model.graph.output, session.run(None, inputs))):
        is_array = hasattr(value, "dtype")
        proto = materialize.make_tensor(value, out.name, kinds[out.name]) if is_array \
            else materialize.value_proto(value, out.name)
        (data / f"output_{k}.pb").write_bytes(proto.SerializeToString())


def reference(path):
    """ONNX Runtime without optimizations, as materialize.py uses it."""
    import onnxruntime as ort
    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def verify(nnc, folder):
    """The result of one case as `nnc verify --json` prints it."""
    done = subprocess.run([nnc, "verify", "--json", folder], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"status": "crash", "message": done.stderr[-300:], "rel_l2": None}


def report(result, name, what):
    failed = result["status"] != "pass"
    error = "" if result["rel_l2"] is None else f"rel L2 {result['rel_l2']:.1e}"
    print(f"{result['status']:12} {name:28} {what:48} {error}  {result['message'][:200]}", flush=True)
    return failed


def check(materialize, args, name, folder):
    """Verifies one graph; the number of its sizes that fail."""
    default = materialize.load(materialize.ARCHITECTURES, name)[1].get("dims", {})
    others = list(cases(name, default))
    command = [sys.executable, args.tools / "materialize.py", "make", name, "-o", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    case = Path(folder) / name
    session = reference(case / "model.onnx")
    for at, dims in enumerate(others):
        write_set(materialize, case, name, at + 1, dims, session)
    del session
    result = verify(args.nnc, case)
    if not report(result, name, f"default and {len(others)} other sizes"):
        return 0
    failed = 0
    sets = sorted(case.glob("test_data_set_*"))
    for at, dims in enumerate([{}] + others):
        single = Path(folder) / f"{name}.{at}"
        (single / "test_data_set_0").mkdir(parents=True)
        for file in case.glob("model.onnx*"):
            os.link(file, single / file.name)
        for file in sets[at].iterdir():
            os.link(file, single / "test_data_set_0" / file.name)
        what = ",".join(f"{k}={v}" for k, v in dims.items()) or "default sizes"
        failed += report(verify(args.nnc, single), name, f"  {what}")
    return max(failed, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tools", type=Path, required=True, help="folder of materialize.py")
    parser.add_argument("--nnc", default="target/release/nnc")
    args = parser.parse_args()
    sys.path.insert(0, str(args.tools.resolve()))
    import materialize
    failed = 0
    for name in args.names or materialize.names(materialize.ARCHITECTURES):
        with tempfile.TemporaryDirectory() as folder:
            failed += check(materialize, args, name, folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
