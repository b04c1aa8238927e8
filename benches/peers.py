#!/usr/bin/env python3
"""Time nnc beside other engines: ONNX Runtime and OpenVINO from Python, tract and rten from benches/peers.

    benches/peers.py MODEL-FOLDER... [options of time_peers.py]

Wraps tools/time_peers.py of the shared folder (`--tool` where it lies elsewhere): the engines take turns in
processes of their own, on the same inputs, with the same number of threads. Builds what is missing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches/peers"


def build(manifest: Path, program: str) -> Path:
    """Compiles a package with optimization and says where its program is."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", manifest.parent / "target"))
    subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest, "--target-dir", target], check=True)
    return target / "release" / program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", type=Path, default=ROOT.parent / "shared/tools/time_peers.py")
    parser.add_argument("--no-rust-peers", action="store_true", help="leave tract and rten out")
    args, rest = parser.parse_known_args()
    commands = [f"nnc={build(ROOT / 'Cargo.toml', 'nnc')} bench --json --time 0.2s"]
    if not args.no_rust_peers:
        peers = build(PEERS / "Cargo.toml", "nnc-peers")
        commands += [f"{engine}={peers} {engine}" for engine in ("tract", "rten")]
    words = [word for command in commands for word in ("--command", command)]
    return subprocess.run([sys.executable, args.tool, *rest, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
