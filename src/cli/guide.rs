//! What nnc says about itself: the tour, the documents of its JSON, its version.

use super::out::say;
use nnc_runtime::Isa;
use std::sync::LazyLock;

/// Shown without arguments.
const TOUR: &str = "\
nnc compiles trained networks (ONNX) to machine code and runs them.

  nnc check   examples/digits/model.onnx           what stands in a model's way
  nnc compile examples/digits/model.onnx           writes examples/digits/model.nnc
  nnc run     examples/digits/model.nnc --input examples/digits/seven.png \\
              --image-mean 0.1307 --image-std 0.3081
  nnc bench   examples/digits                      latency, throughput, memory
  nnc verify  examples/digits                      compares with the expected outputs
  nnc show    examples/digits/model.onnx --costs   what the compiler made of it
  nnc ops                                          the supported operators

nnc help VERB explains a verb, nnc help json what --json prints.
";

/// The keys of every `--json` output; they stay as they are.
const JSON: &str = "\
With --json each verb prints one object, or one object a line. Times are seconds, sizes bytes.
Keys may be added; those below keep their names and meanings. A number that is not finite is null.

compile  model, artifact, nodes, operators (different ones), opset, kernels, steps, weights_bytes,
         code_bytes, peak_bytes (activations), precision, target, seconds, report (the page's file, or
         null), verified ({reference (files, interpreter), max_abs, rel_l2}, or null)
run      outputs: [{name, type, shape, data (flat, row-major; null for containers)}], seconds, target;
         with --profile also binding (time to find sizes and places), profile: [{kernel, node, calls,
         seconds, bytes, share}]
bench    a line a measurement: model, threads, batch (null without --batch), engine, min, median, p99,
         throughput (runs or items a second), runs, activation_bytes, peak_rss_bytes (of the process),
         kernels, target, peers: [{engine, min, median, p99, throughput, runs, ratio (to nnc's median),
         max_abs, rel_l2, agrees}]; --kernels: contract, sizes, kernel, isa, rate (a second), of
         (operations, elements), peak (operations a second), share (of the peak, or null), seconds, picked
check    model, supported, problems: [{node, domain, operator, version, reason}]; where supported also
         inputs and outputs: [{name, type}], dynamic (names of free sizes), precision, weights_bytes,
         activation_bytes, kernels
verify   a line a case: case, status (pass, fail, unsupported, error), message, max_abs, rel_l2,
         kernels (number of), routines (names), isa; with --layers also layer (the first node that
         deviates, or null); with --reference f64 also expected_rel_l2 (how far the case's expected
         outputs are from the result in double precision)
ops      a line an operator: domain, operator, versions (at which its meaning changed), doc, supported
show     a line a step: step, kernel, node, output (type), grid, flop (arithmetic operations, a
         multiply-add being two; null for routines and artifacts), bytes, estimate;
         --memory: step, kernel, node, alive_bytes; --why: pass, node, blocked (null where applied)

Exit codes: 0 done; 1 a bug of nnc, or results that verify finds wrong; 2 the model, an input or an
option is wrong or not supported.
";

/// Prints the tour.
pub(crate) fn tour() {
    say!("{}", TOUR.trim_end());
}

/// Prints the document of the JSON outputs.
pub(crate) fn json() {
    say!("{}", JSON.trim_end());
}

/// Version, target and what the CPU has.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let sets: Vec<&str> = Isa::available().iter().map(|i| i.name()).collect();
    let target = nnc_codegen::cpu::CpuTarget::parse("native").map_or("none".into(), |t| t.to_string());
    format!(
        "{}\ncpu      {}, native target {target}, kernels for {}\nthreads  {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        sets.join(", "),
        nnc_runtime::default_threads()
    )
});
