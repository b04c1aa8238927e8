//! Code for devices without one of its barriers, waits, fences or bounds: the interpreter of PTX must report
//! nearly every one of them, or its silence about the code as it is would mean little.

use crate::compare::error;
use crate::interpreted::{Settings, open};
use crate::operators::{conv, graph, ramp};
use crate::standard;
use nnc_ir::{Attr, Builder, Dim, Graph, Interpreter, OpError, ScalarOp, Value, ValueId, attrs};
use nnc_ptx::Module;
use nnc_ptx::mutate::{Mutant, mutants};

type Build = fn(&mut Builder, ValueId) -> Result<ValueId, OpError>;

/// What is mutated: the kernels of a graph of one input.
struct Case {
    name: &'static str,
    shape: &'static [usize],
    build: Build,
}

const CASES: &[Case] = &[
    Case { name: "gemm with packed weights", shape: &[70, 37], build: packed_gemm },
    Case { name: "gemm of activations", shape: &[2, 23, 18], build: gemm_of_activations },
    Case { name: "convolution", shape: &[2, 5, 9, 7], build: convolution },
    Case { name: "depthwise convolution", shape: &[1, 6, 9, 7], build: depthwise },
    Case { name: "attention", shape: &[1, 2, 19, 12], build: attention },
    Case { name: "causal attention over wide rows", shape: &[1, 1, 300, 8], build: causal_attention },
];

fn packed_gemm(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let (w, bias) = (b.constant(ramp(&[37, 45])), b.constant(ramp(&[45])));
    let y = b.contract("mk", "kn", "mn", x, w)?;
    let y = b.binary(ScalarOp::Add, y, bias)?;
    b.binary_const(ScalarOp::Max, y, 0.0)
}

fn gemm_of_activations(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let y = b.contract("bik", "bjk", "bij", x, x)?;
    b.contract("bij", "bjk", "bik", y, x)
}

fn convolution(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let y = conv(b, x, ramp(&[7, 5, 3, 3]), 1, 1, 1)?;
    let z = conv(b, y, ramp(&[7, 7, 1, 1]), 1, 0, 1)?;
    b.binary(ScalarOp::Add, y, z)
}

fn depthwise(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    conv(b, x, ramp(&[6, 1, 3, 3]), 2, 1, 6)
}

fn attend(b: &mut Builder, x: ValueId, keys: usize, causal: i64) -> Result<ValueId, OpError> {
    let attrs = attrs! {
        causal: Attr::Int(causal), heads_last: Attr::Int(0), past: Attr::Dims(vec![Dim::ZERO]),
        scale: Attr::Float(0.25), softcap: Attr::Float(0.0)
    };
    let (k, v) = (b.unary(ScalarOp::Sin, x)?, b.unary(ScalarOp::Cos, x)?);
    let mask = b.constant(ramp(&[1, 1, 1, keys]));
    b.one("attention", attrs, &[x, k, v, mask])
}

fn attention(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    attend(b, x, 19, 0)
}

fn causal_attention(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    attend(b, x, 300, 1)
}

/// A case compiled, with what it must give.
struct Prepared {
    folder: tempfile::TempDir,
    input: Value,
    expected: Vec<Value>,
}

impl Prepared {
    fn new(case: &Case) -> Prepared {
        let dims: Vec<Dim> = case.shape.iter().map(|n| Dim::len(*n)).collect();
        let graph: Graph = graph(&dims, case.build);
        let input = Value::Tensor(ramp(case.shape));
        let expected = Interpreter::new(&graph).run(std::slice::from_ref(&input)).expect("it is defined");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let prepared = Prepared { folder, input, expected };
        nnc::compile(&graph, &standard::options(), &prepared.path()).unwrap_or_else(|e| panic!("{e}"));
        prepared
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("model.nnc")
    }

    /// The text that ran and its instructions, or what was wrong.
    fn run(&self, limit: u64, text: Option<String>) -> Result<(String, u64), String> {
        // Two blocks, so that each has several points of the grid, one after the other.
        let settings = Settings { limit, blocks: 2, text, ..Settings::default() };
        let (mut session, device) = open(&self.path(), settings).map_err(|e| e.to_string())?;
        let found = session.run(&[("x", self.input.clone())]).map_err(|e| e.to_string())?;
        let worst = self.expected.iter().zip(&found).map(|(e, f)| error(e, f)).fold(0.0, f64::max);
        if worst <= 1e-5 {
            Ok((device.text(), device.instructions()))
        } else {
            Err(format!("error {worst:e}"))
        }
    }
}

#[test]
fn what_kernels_need_is_missed_when_it_is_gone() {
    let (mut total, mut survivors) = (0, Vec::new());
    for case in CASES {
        let prepared = Prepared::new(case);
        let (text, instructions) =
            prepared.run(u64::MAX, None).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let all = mutants(&Module::parse(&text).expect("it has just run"));
        eprintln!("{}: {} sites, {instructions} instructions", case.name, all.len());
        total += all.len();
        for mutant in all {
            let Mutant { site, function, line, was, text } = mutant;
            if prepared.run(10 * instructions, Some(text)).is_ok() {
                survivors.push(format!("{}: {site:?} in {function}, line {line}: {was}", case.name));
            }
        }
    }
    eprintln!("{} of {total} are not reported:\n{}", survivors.len(), survivors.join("\n"));
    assert!(survivors.len() * 20 <= total);
}
