#!/usr/bin/env python3
"""Verify exporter graphs at their default sizes and at others, against ONNX Runtime.

    corpus.py --tools ../shared/tools --nnc target/release/nnc            every model below, every size
    corpus.py --tools ../shared/tools --nnc target/release/nnc NAME ...   some models

Each case is made with materialize.py (which needs numpy, onnx and onnxruntime) in a temporary folder,
verified by `nnc verify --json` and removed. Exit code 1 if a case does not pass.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BATCHES = ["", "batch=2", "batch=5"]
SEQUENCES = ["", "batch=1,seq=7", "batch=3,seq=33", "batch=2,seq=200"]
LONG_SEQUENCES = ["", "batch=2,seq=19", "batch=1,seq=300"]
IMAGES = ["", "batch=1,height=64,width=96", "batch=2,height=160,width=112"]
SIZES = {
    **dict.fromkeys(
        ["squeezenet1_1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "conv_autoencoder",
         "dcgan_generator", "vae_mnist", "dqn_mlp", "keras_mobilenet_v2", "jax_policy", "resnet50",
         "densenet121"], BATCHES),
    **dict.fromkeys(["vit_b_16", "vit_b_16_dynamo", "vgg16"], ["", "batch=2"]),
    **dict.fromkeys(["bilstm_tagger", "gru_lm", "minilm_l6"], SEQUENCES),
    **dict.fromkeys(["bert_base", "bert_base_dynamo"], LONG_SEQUENCES),
    "unet": IMAGES,
    "llama_small_kv": ["", "batch=1,past=3,seq=5", "batch=2,past=60,seq=1"],
    "gpt2_kv_dynamo": ["", "batch=1,past=3,seq=5,total=8", "batch=2,past=60,seq=1,total=61"],
}


def verify(nnc, tools, name, dims):
    """The result of one case as `nnc verify --json` prints it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, tools / "materialize.py", "make", name, "-o", folder]
        subprocess.run(command + (["--dims", dims] if dims else []), check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([nnc, "verify", "--json", Path(folder) / name], capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(SIZES))
    parser.add_argument("--tools", type=Path, required=True, help="folder of materialize.py")
    parser.add_argument("--nnc", default="target/release/nnc")
    args = parser.parse_args()
    failed = 0
    for name in args.names:
        for dims in SIZES.get(name, [""]):
            result = verify(args.nnc, args.tools, name, dims)
            failed += result["status"] != "pass"
            print(f"{result['status']:12} {name:22} {dims or 'default sizes':34} rel L2 {result['rel_l2']:.1e}"
                  f"  {result['message']}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
