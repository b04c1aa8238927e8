"""One engine that runs a model and answers times. Started by `nnc bench --against`.

Arguments: engine, model.onnx, inputs.npz, outputs.npz, threads. Each line `SECONDS` on standard
input is answered by a JSON line with the latencies of as many runs as fill that time.
"""
import json
import sys
import time

import numpy as np


def open_onnxruntime(path, feed, threads):
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda: dict(zip(names, session.run(None, feed))), ort.__version__


def open_openvino(path, feed, threads):
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    of = lambda port: next(feed[name] for name in port.get_names() if name in feed)
    # Static shapes, as its users are told to set for latency.
    model.reshape({port: list(of(port).shape) for port in model.inputs})
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    ports = {port: of(port) for port in compiled.inputs}
    names = [next(iter(port.get_names())) for port in compiled.outputs]

    def run():
        request.infer(ports, share_inputs=True, share_outputs=True)
        return {name: request.get_output_tensor(i).data for i, name in enumerate(names)}

    return run, ov.__version__


def open_torch(path, feed, threads):
    import onnx
    import onnx2torch
    import torch

    torch.set_num_threads(threads)
    graph = onnx.load(path).graph
    given = {tensor.name for tensor in graph.initializer}
    inputs = [torch.from_numpy(feed[i.name]) for i in graph.input if i.name not in given]
    names = [o.name for o in graph.output]
    module = onnx2torch.convert(path).eval()

    def run():
        with torch.inference_mode():
            found = module(*inputs)
        values = found if isinstance(found, (list, tuple)) else [found]
        return {name: value.numpy() for name, value in zip(names, values)}

    return run, torch.__version__.split("+")[0]


def main():
    engine, path, inputs, outputs, threads = sys.argv[1:]
    openers = {"onnxruntime": open_onnxruntime, "openvino": open_openvino, "torch": open_torch}
    try:
        with np.load(inputs) as arrays:
            feed = {name: arrays[name] for name in arrays.files}
        run, version = openers[engine](path, feed, int(threads))
        np.savez(outputs, **{name: np.asarray(value) for name, value in run().items()})
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        print(json.dumps({"error": f"{type(error).__name__}: {text}"}), flush=True)
        return
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        limit, begin, times = float(line), time.perf_counter(), []
        while not times or time.perf_counter() - begin < limit:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(json.dumps({"times": times}), flush=True)


main()
