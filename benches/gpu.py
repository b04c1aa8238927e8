#!/usr/bin/env python3
"""Take every figure that needs a GPU, in one go: is it right, how fast is it beside PyTorch, how soon does it start.

    benches/gpu.py [--device cuda:0] [--json gpu.json] [--minutes 10] [--only models,decode]

Prints one table and writes the rows as JSON. What the machine lacks (PyTorch, compute-sanitizer, the shared folder
with models and tools) is left out by name; without a device it ends with nnc's message. Times are medians of whole
runs that end with a wait; inputs and outputs stay on the device, for PyTorch as well.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


class Missing(Exception):
    """What a section needs and the machine lacks."""


@dataclass
class Row:
    """One figure, beside what it is measured against and what it has to reach."""

    section: str
    name: str
    found: str
    against: str = ""
    ratio: float | None = None
    goal: float | None = None
    note: str = ""

    def verdict(self) -> str:
        if self.ratio is None or self.goal is None:
            return self.note
        return " ".join(filter(None, ["reached" if self.ratio >= self.goal else "missed", self.note]))


@dataclass
class Bench:
    """What all sections share."""

    nnc: Path
    device: str
    models: Path
    folder: Path
    end: float
    rows: list[Row] = field(default_factory=list)

    def left(self) -> float:
        left = self.end - time.monotonic()
        if left <= 5:
            raise Missing("time: --minutes is over")
        return left

    def run(self, *words: object, env: dict | None = None, check: bool = True) -> subprocess.CompletedProcess:
        """Runs a program to its end, or to the end of the time."""
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=self.left(),
                              env={**os.environ, **(env or {})}, check=False)
        if check and done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
            raise Missing(lines[0].removeprefix("error: "))
        return done

    def text_model(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.nnir"
        path.write_text(text)
        return path

    def time(self, model: Path, *options: str, seconds: float = 0.5) -> dict:
        """nnc's own line for a model: its median, and its peers' if there are any."""
        out = self.run(self.nnc, "bench", model, "--device", self.device, "--resident", "--json",
                       "--time", f"{seconds}s", *options).stdout
        return json.loads(out.splitlines()[-1])

    def precision(self, name: str) -> list[str]:
        """Options for a precision class."""
        if name == "f32":
            return []
        if "--precision" not in self.run(self.nnc, "bench", "--help").stdout:
            raise Missing(f"the precision class {name} in this nnc")
        return ["--precision", name]


def torch_on(bench: Bench):
    """PyTorch, where it reaches the device."""
    try:
        import torch
    except ImportError as error:
        raise Missing("PyTorch") from error
    if not torch.cuda.is_available():
        raise Missing("a PyTorch with CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.cuda.set_device(bench.device)
    return torch


def torch_time(torch, f, seconds: float = 0.5) -> float:
    """The median time of a call, by events."""
    begin, times = time.monotonic(), []
    while len(times) < 10 or time.monotonic() - begin < seconds:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        f()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times[3:])


def rate(operations: float, seconds: float) -> str:
    return f"{operations / seconds * 1e-12:.1f} TFLOP/s"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def compare(bench: Bench, row: Row, ours: float, theirs, show) -> None:
    """Adds a row with PyTorch's time, if there is one."""
    row.found = show(ours)
    try:
        time_of_theirs = theirs(torch_on(bench))
        row.against, row.ratio = f"torch {show(time_of_theirs)}", time_of_theirs / ours
    except Missing as lack:
        row.note = f"skipped beside it: {lack}"
    bench.rows.append(row)


def verify(bench: Bench) -> None:
    """Trained models and examples against their expected outputs."""
    cases = [p.parent for p in sorted((ROOT / "examples").glob("*/model.onnx"))]
    cases += [p.parent for p in sorted((SHARED / "models/trained").glob("*/model.onnx"))]
    done = bench.run(bench.nnc, "verify", "--json", "--device", bench.device, *cases, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    bad = [line for line in lines if line.get("status") != "pass"]
    for line in bad:
        bench.rows.append(Row("verify", Path(line["case"]).name, line["status"], note=line["message"][:80]))
    found = len(lines) - len(bad)
    bench.rows.append(Row("verify", "models", f"{found} pass", f"of {len(cases)}", found / len(cases), 1.0))


def conformance(bench: Bench) -> None:
    """The standard's cases that pass on the CPU."""
    tool = SHARED / "tools/onnx_suite.py"
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    cases, python = target / "conformance", target / "ci-venv/bin/python"
    if not tool.exists() or not cases.is_dir() or not python.exists():
        raise Missing("the standard's cases: `.ci/run conformance` writes them")
    report = bench.folder / "conformance.json"
    command = f"{bench.nnc} verify --json --device {bench.device}"
    bench.run(python, tool, "run", "--command", command, "--jobs", min(8, os.cpu_count() or 1), "--batch", "50",
              "--json", report, cases, check=False)
    passed = names_that_pass(json.loads(report.read_text()))
    before = names_that_pass(json.loads((ROOT / "tests/conformance/baseline.json").read_text()))
    for name in sorted(before - passed)[:10]:
        bench.rows.append(Row("conformance", name, "no pass"))
    found = len(before & passed)
    bench.rows.append(Row("conformance", "cases", f"{found} pass", f"of {len(before)}", found / len(before), 1.0))


def names_that_pass(report: dict) -> set[str]:
    """Names of the cases that passed, in a report of tools/onnx_suite.py."""
    return {name for name, case in report["results"].items() if case["status"] == "pass"}


def gemm(bench: Bench) -> None:
    """Square products, bf16 beside the vendor's, f32 beside the vendor's without tf32."""
    for dtype, goal in (("bf16", 0.85), ("f32", 1.0)):
        for n in (4096, 8192):
            t = f"{dtype}[{n}, {n}]"
            model = bench.text_model(f"gemm_{dtype}_{n}", f"""graph @gemm(%a: {t}, %b: {t}) -> ({t}) {{
  %c = contract(%a, %b) {{lhs = "mk", out = "mn", rhs = "kn", to = {dtype}}} : {t}
  return %c
}}
""")
            row = Row("gemm", f"{dtype} {n}³", "", goal=goal)
            try:
                ours = bench.time(model, *bench.precision(dtype))["median"]
            except Missing as lack:
                bench.rows.append(Row("gemm", row.name, "skipped", note=str(lack)))
                continue

            def theirs(torch, n=n, dtype=dtype):
                kind = torch.bfloat16 if dtype == "bf16" else torch.float32
                a, b = (torch.randn(n, n, device="cuda", dtype=kind) for _ in range(2))
                return torch_time(torch, lambda: a @ b)

            compare(bench, row, ours, theirs, lambda s, n=n: rate(2 * n**3, s))


def attention(bench: Bench) -> None:
    """Forward attention beside PyTorch's fused one."""
    batch, heads, size = 4, 16, 128
    for dtype in ("bf16", "f32"):
        for sequence, causal in ((2048, 0), (4096, 0), (4096, 1)):
            t = f"{dtype}[{batch}, {heads}, {sequence}, {size}]"
            model = bench.text_model(f"attention_{dtype}_{sequence}_{causal}",
                                     f"""graph @attention(%q: {t}, %k: {t}, %v: {t}) -> ({t}) {{
  %zero = constant() {{value = {dtype}[1, 1, 1, 1] [0.0]}} : {dtype}[1, 1, 1, 1]
  %mask = broadcast(%zero) {{shape = [1, 1, 1, {sequence}]}} : {dtype}[1, 1, 1, {sequence}]
  %y = attention(%q, %k, %v, %mask) {{causal = {causal}, heads_last = 0, past = [0], scale = {size ** -0.5}, softcap = 0.0}} : {t}
  return %y
}}
""")
            name = f"{dtype} {sequence}{', causal' if causal else ''}"
            row = Row("attention", name, "", goal=0.8 if dtype == "bf16" else None)
            try:
                ours = bench.time(model, *bench.precision(dtype))["median"]
            except Missing as lack:
                bench.rows.append(Row("attention", name, "skipped", note=str(lack)))
                continue

            def theirs(torch, dtype=dtype, sequence=sequence, causal=causal):
                kind = torch.bfloat16 if dtype == "bf16" else torch.float32
                shape = (batch, heads, sequence, size)
                q, k, v = (torch.randn(shape, device="cuda", dtype=kind) for _ in range(3))
                f = torch.nn.functional.scaled_dot_product_attention
                return torch_time(torch, lambda: f(q, k, v, is_causal=bool(causal)))

            work = 4 * batch * heads * sequence**2 * size * (0.5 if causal else 1)
            compare(bench, row, ours, theirs, lambda s, work=work: rate(work, s))


def exported(bench: Bench, name: str) -> Path:
    """An exporter's graph with weights, made where it is missing."""
    path = bench.models / name / "model.onnx"
    tool = SHARED / "tools/materialize.py"
    if not path.exists():
        if not tool.exists():
            raise Missing(f"the model {name} in {bench.models}")
        bench.run(sys.executable, tool, "make", name, "-o", bench.models)
    if not path.exists():
        raise Missing(f"the model {name}")
    return path


def models(bench: Bench) -> None:
    """Whole models end to end, beside PyTorch as it is, then compiled."""
    table = {"resnet50": [], "mobilenet_v2": [], "bert_base": ["--dim", "seq=128"]}
    for peer in ("torch", "torch-compiled"):
        for name, dims in table.items():
            for batch in (1, 32):
                for precision in ("f32", "bf16"):
                    goal = (1.0 if batch == 1 else 0.8) if peer == "torch-compiled" else None
                    row = Row("models", f"{name} {precision}, batch {batch}", "", goal=goal)
                    try:
                        model_beside(bench, exported(bench, name), row, precision, peer,
                                     ["--dim", f"batch={batch}", *dims])
                    except Missing as lack:
                        row.found, row.note = row.found or "skipped", str(lack)
                    bench.rows.append(row)


def model_beside(bench: Bench, model: Path, row: Row, precision: str, peer: str, options: list[str]) -> None:
    options = [*options, *bench.precision(precision)]
    try:
        line = bench.time(model, *options, "--against", peer)
    except Missing as lack:
        if peer != "torch":
            raise
        row.note = f"skipped beside it: {lack}"
        line = bench.time(model, *options)
    row.found = ms(line["median"])
    for other in line["peers"]:
        row.against, row.ratio = f"{other['engine']} {ms(other['median'])}", other["median"] / line["median"]
        if not other.get("agrees") and precision == "f32":
            row.note = "outputs differ"


def decode(bench: Bench) -> None:
    """One token of a language model beside the time to read its weights once."""
    n = 1 << 28
    copy = bench.text_model("copy", f"""graph @copy(%x: f32[{n}]) -> (f32[{n}]) {{
  %y = neg(%x) : f32[{n}]
  return %y
}}
""")
    bandwidth = 8 * n / bench.time(copy)["median"]
    bench.rows.append(Row("decode", "read and write of 2 GiB", f"{bandwidth * 1e-9:.0f} GB/s"))
    for precision, width in (("f32", 4), ("bf16", 2)):
        for name in ("gpt2_kv", "llama_small_kv_dynamo"):
            row = Row("decode", f"{name} {precision}, past 128", "", goal=0.75)
            try:
                path = exported(bench, name)
                free = json.loads(bench.run(bench.nnc, "check", "--json", path).stdout)["dynamic"]
                names = [d for d in ("batch=1", "seq=1", "past=128") if d.split("=")[0] in free]
                dims = [word for d in names for word in ("--dim", d)]
                # However the weights are stored: a class that could halve them has half the floor.
                floor = product_bytes(bench, path, dims) * width / 4 / bandwidth
                ours = bench.time(path, *dims, *bench.precision(precision), seconds=1)["median"]
                row.found, row.against, row.ratio = ms(ours), f"floor {ms(floor)}", floor / ours
            except Missing as lack:
                row.found, row.note = "skipped", str(lack)
            bench.rows.append(row)


def product_bytes(bench: Bench, model: Path, dims: list[str]) -> int:
    """Bytes of the operands of all products in f32: what a token has to read. Of an embedding it reads a row."""
    out = bench.run(bench.nnc, "show", "--costs", "--json", "--target", "cuda", model, *dims).stdout
    steps = (json.loads(line) for line in out.splitlines())
    return sum(step["bytes"] for step in steps if "contract" in step["kernel"])


def start(bench: Bench) -> None:
    """From the start of the program to its first result, with and without compiled code in the cache."""
    artifact = bench.folder / "resnet50.nnc"
    bench.run(bench.nnc, "compile", exported(bench, "resnet50"), "-o", artifact, "--target", "cuda", "--dim", "batch=1")
    cache = {"NNC_CACHE": str(bench.folder / "cache")}

    def once() -> float:
        begin = time.monotonic()
        bench.run(bench.nnc, "run", artifact, "--device", bench.device, "--input", "image=zeros", env=cache)
        return time.monotonic() - begin

    cold, warm = once(), statistics.median(once() for _ in range(5))
    bench.rows.append(Row("start", "resnet50, empty cache", ms(cold)))
    bench.rows.append(Row("start", "resnet50, warm cache", ms(warm), "goal 500 ms", 0.5 / warm, 1.0))


def sanitizer(bench: Bench) -> None:
    """Kernels under the vendor's checkers."""
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if not program:
        raise Missing("compute-sanitizer")
    cases = [ROOT / "examples" / name for name in ("digits", "voice", "keywords")]
    for tool in ("memcheck", "racecheck", "initcheck"):
        done = bench.run(program, "--tool", tool, "--error-exitcode", "9", bench.nnc, "verify", "--device",
                         bench.device, *cases, check=False)
        last = (done.stdout.strip().splitlines() or ["no output"])[-1].strip("= ")
        clean = done.returncode == 0
        bench.rows.append(Row("sanitizer", tool, "clean" if clean else "reports", "", float(clean), 1.0,
                              "" if clean else last[:80]))


SECTIONS = {f.__name__: f for f in (verify, start, gemm, attention, decode, models, conformance, sanitizer)}


def probe(bench: Bench) -> None:
    """Ends the program where there is no device."""
    model = bench.text_model("probe", "graph @probe(%x: f32[8]) -> (f32[8]) {\n  %y = neg(%x) : f32[8]\n  return %y\n}\n")
    try:
        bench.run(bench.nnc, "run", model, "--device", bench.device, "--input", "x=zeros")
    except Missing as why:
        sys.exit(f"no figures: {why}")


def show(rows: list[Row]) -> None:
    cells = [("", "figure", "nnc", "against", "ratio", "goal", "")]
    number = lambda x: "" if x is None else f"{x:.2f}"
    cells += [(r.section, r.name, r.found, r.against, number(r.ratio), number(r.goal), r.verdict()) for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def program(given: Path | None) -> Path:
    if given:
        return given.resolve()
    subprocess.run(["cargo", "build", "--release", "--bin", "nnc"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release/nnc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--nnc", type=Path, help="the program; built if not given")
    parser.add_argument("--models", type=Path, default=ROOT / "target/gpu-models", help="exporters' graphs with weights")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where the rows go")
    parser.add_argument("--minutes", type=float, default=10.0, help="when to end, whatever is left")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between them")
    args = parser.parse_args()
    nnc = program(args.nnc)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(nnc, args.device, args.models, Path(folder), time.monotonic() + 60 * args.minutes)
        probe(bench)
        for name in args.only.split(","):
            begin = time.monotonic()
            try:
                SECTIONS[name](bench)
            except Missing as lack:
                bench.rows.append(Row(name, "", "skipped", note=str(lack)))
            except subprocess.TimeoutExpired:
                bench.rows.append(Row(name, "", "skipped", note="time: --minutes is over"))
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        show(bench.rows)
        args.json.write_text(json.dumps([asdict(row) for row in bench.rows], indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
