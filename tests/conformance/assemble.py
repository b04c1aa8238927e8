#!/usr/bin/env python3
"""Prints models as PTX and assembles the text for every generation of devices.

    assemble.py --nnc target/release/nnc --ptxas PATH [--generations sm_75,sm_80] [--precision bf16]
        [--jobs 2] [--json FILE] FOLDER_OR_MODEL..

A model that the compiler refuses is counted by its message; a text that ptxas refuses, or whose kernels
spill registers, fails. ptxas is in the package nvidia-cuda-nvcc and needs no GPU.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# Each text and the devices that take it.
GENERATIONS = {"sm_75": ["sm_75"], "sm_80": ["sm_80", "sm_89", "sm_100"], "sm_90a": ["sm_90a"]}


def models(paths):
    for path in map(pathlib.Path, paths):
        yield from sorted(path.rglob("*.onnx")) if path.is_dir() else [path]


def assemble(args, model):
    """The message why there is no text, or what ptxas says of each text."""
    failures, registers, shared, kernels, spills = [], 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for generation in args.generations.split(","):
            devices = GENERATIONS[generation]
            text = pathlib.Path(folder) / f"{generation}.ptx"
            target = f"cuda:{generation}"
            command = [args.nnc, "compile", str(model), "--target", target, "--precision", args.precision]
            command += ["--emit", "asm", "-o", str(text)]
            run = subprocess.run(command, capture_output=True, text=True, timeout=600)
            if run.returncode != 0:
                return {"refused": (run.stderr.strip() or "no message").splitlines()[0]}
            for device in devices:
                command = [args.ptxas, f"-arch={device}", "-v", str(text), "-o", f"{folder}/cubin"]
                run = subprocess.run(command, capture_output=True, text=True, timeout=600)
                if run.returncode != 0:
                    failures.append(f"{device}: {run.stderr.strip()[:400]}")
                used = re.findall(r"Used (\d+) registers", run.stderr)
                registers = max([registers, *map(int, used)])
                shared = max([shared, *map(int, re.findall(r"(\d+) bytes smem", run.stderr))])
                spills += sum(map(int, re.findall(r"(\d+) bytes spill stores", run.stderr)))
                kernels += len(used)
    return {
        "failures": failures, "kernels": kernels, "registers": registers, "shared_bytes": shared,
        "spill_bytes": spills,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nnc", required=True)
    parser.add_argument("--ptxas", required=True)
    parser.add_argument("--generations", default=",".join(GENERATIONS))
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    todo = list(models(args.paths))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(map(str, todo), pool.map(lambda m: assemble(args, m), todo)))
    refused = collections.Counter(re.sub(r'node "[^"]*"', 'node "…"', r["refused"]) for r in found.values() if "refused" in r)
    made = {name: r for name, r in found.items() if "refused" not in r}
    broken = {name: r["failures"] for name, r in made.items() if r["failures"]}
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    for message, count in refused.most_common():
        print(f"  refused {count:5}  {message}")
    for name, failures in broken.items():
        print(f"  broken  {name}: {failures[0]}")
    spilling = {name: r["spill_bytes"] for name, r in made.items() if r["spill_bytes"]}
    for name, size in spilling.items():
        print(f"  spills  {name}: {size} bytes")
    kernels = sum(r["kernels"] for r in made.values())
    most = {key: max((r[key] for r in made.values()), default=0) for key in ("registers", "shared_bytes")}
    print(
        f"{args.precision}: {len(found)} models, {len(made)} with code, {len(made) - len(broken)} assembled, "
        f"{kernels} kernels assembled, at most {most['registers']} registers, {most['shared_bytes']} bytes shared"
    )
    return 1 if broken or spilling else 0


if __name__ == "__main__":
    sys.exit(main())
