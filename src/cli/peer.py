"""One engine that runs a model and answers times. Started by `nnc bench --against`.

Arguments: engine, model.onnx, inputs.npz, outputs.npz, threads, and a JSON object with `device` (cpu, cuda:0),
`precision` (f32, bf16, f16) and `resident` (inputs and outputs stay on the device), which torch heeds. Each line
`SECONDS` on standard input is answered by a JSON line with the latencies of as many runs as fill that time.
"""
import json
import sys
import time

import numpy as np


def open_onnxruntime(path, feed, threads, _):
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda: dict(zip(names, session.run(None, feed))), ort.__version__


def open_openvino(path, feed, threads, _):
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


def open_torch(path, feed, threads, setting, compiled=False):
    import onnx
    import onnx2torch
    import torch

    torch.set_num_threads(threads)
    device = torch.device(setting["device"])
    on_cuda = device.type == "cuda"
    if on_cuda and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch has no CUDA device")
    # Single precision means that: products of rounded operands are another class.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(setting["precision"])
    graph = onnx.load(path).graph
    given = {tensor.name for tensor in graph.initializer}
    names = [o.name for o in graph.output]

    def place(x):
        return x.to(device, dtype) if dtype and x.is_floating_point() else x.to(device)

    inputs = [torch.from_numpy(feed[i.name]) for i in graph.input if i.name not in given]
    module = onnx2torch.convert(path).eval().to(device)
    module = module.to(dtype) if dtype else module
    if compiled:
        # On a device this records a graph of launches, as nnc does.
        module = torch.compile(module, mode="reduce-overhead" if on_cuda else "default")
    held = [place(x) for x in inputs] if setting["resident"] else None

    def run():
        with torch.inference_mode():
            found = module(*(held or map(place, inputs)))
            values = found if isinstance(found, (list, tuple)) else [found]
            if not setting["resident"]:
                values = [value.cpu() for value in values]
        if on_cuda:
            torch.cuda.synchronize(device)
        return dict(zip(names, values))

    # Compilation and the recording of graphs take several runs.
    for _ in range(3 if compiled else 0):
        run()
    return run, torch.__version__.split("+")[0]


def open_torch_compiled(path, feed, threads, setting):
    return open_torch(path, feed, threads, setting, compiled=True)


def array(value):
    """An output as NumPy has it, which knows no bfloat16."""
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "is_floating_point"):
        return np.asarray(value)
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


def main():
    engine, path, inputs, outputs, threads, setting = sys.argv[1:]
    openers = {"onnxruntime": open_onnxruntime, "openvino": open_openvino, "torch": open_torch,
               "torch-compiled": open_torch_compiled}
    try:
        with np.load(inputs) as arrays:
            feed = {name: arrays[name] for name in arrays.files}
        run, version = openers[engine](path, feed, int(threads), json.loads(setting))
        np.savez(outputs, **{name: array(value) for name, value in run().items()})
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
