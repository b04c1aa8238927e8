//! Code for devices without one of its barriers, waits, fences or bounds: the interpreter of PTX must report
//! nearly every one of them, or its silence about the code as it is would mean little.

use crate::compare::error;
use crate::interpreted::{Settings, open};
use crate::operators::{conv, graph, ramp};
use crate::standard::Generation;
use crate::tile::Tile;
use nnc::{Options, Precision};
use nnc_codegen::gpu::Sm;
use nnc_ir::{Attr, Builder, Dim, Graph, Interpreter, OpError, ScalarOp, Value, ValueId, attrs};
use nnc_ptx::Module;
use nnc_ptx::mutate::{Mutant, Site, mutants};

type Build = fn(&mut Builder, ValueId) -> Result<ValueId, OpError>;

/// What is mutated: the kernels of a graph of one input.
struct Case {
    name: &'static str,
    shape: &'static [usize],
    build: Build,
    precision: Precision,
}

impl Case {
    const fn new(name: &'static str, shape: &'static [usize], build: Build) -> Case {
        Case { name, shape, build, precision: Precision::F32 }
    }
}

// Depths of an odd number of steps, so that the next tile would overwrite what the last step of this one reads;
// matrices that end with their memory.
const CASES: &[Case] = &[
    Case::new("gemm with packed weights", &[70, 37], packed_gemm),
    Case {
        precision: Precision::F32Strict,
        ..Case::new("gemm with packed weights by plain arithmetic", &[70, 37], packed_gemm)
    },
    Case::new("gemm of activations", &[2, 13, 38], gemm_of_activations),
    Case::new("gemm of activations in fours", &[2, 13, 40], gemm_of_activations),
    Case::new("convolution", &[2, 18, 9, 7], convolution),
    Case::new("products of few rows", &[3, 37], few_rows),
    Case::new("depthwise convolution", &[1, 6, 9, 7], depthwise),
    Case::new("attention", &[1, 2, 13, 20], attention),
    Case::new("causal attention over wide rows", &[1, 1, 140, 20], causal_attention),
];

/// Sites that a case does without: how often, by their kind and how they begin, and why that is right.
struct Survivors {
    case: &'static str,
    site: Site,
    begins: &'static str,
    most: usize,
    why: &'static str,
}

const SURVIVORS: &[Survivors] = &[
    Survivors {
        case: "products of few rows",
        site: Site::Bound,
        begins: "@!",
        most: 3,
        why: "all groups of a warp's lanes hold its sums, so that each may store them",
    },
    Survivors {
        case: "products of few rows",
        site: Site::Barrier,
        begins: "bar.sync",
        most: 1,
        why: "a grid of one point ends with a barrier for the next",
    },
    Survivors {
        case: "convolution",
        site: Site::Bound,
        begins: "@!",
        most: 1,
        why: "the address of a tap is stored whether it is inside or not; one outside is replaced at once",
    },
    Survivors {
        case: "convolution",
        site: Site::Bound,
        begins: "@%",
        most: 1,
        why: "rows that the first tap does not have are the next one's in the table",
    },
    Survivors {
        case: "convolution",
        site: Site::Barrier,
        begins: "bar.sync",
        most: 1,
        why: "the next point fills the table first, behind which is a barrier before tiles are filled",
    },
    Survivors {
        case: "attention",
        site: Site::Bound,
        begins: "@",
        most: 2,
        why: "all lanes of a warp hold its part of the reduction, so that each may store it",
    },
    Survivors {
        case: "attention",
        site: Site::Barrier,
        begins: "bar.sync",
        most: 1,
        why: "a loop of one turn ends with a barrier for the next",
    },
    Survivors {
        case: "attention",
        site: Site::Barrier,
        begins: "bar.warp.sync",
        most: 1,
        why: "a loop of no turns begins with a barrier that only sizes known at run time could need",
    },
    Survivors {
        case: "causal attention over wide rows",
        site: Site::Bound,
        begins: "@",
        most: 2,
        why: "all lanes of a warp hold its part of the reduction, so that each may store it",
    },
    Survivors {
        case: "causal attention over wide rows",
        site: Site::Barrier,
        begins: "bar.sync",
        most: 1,
        why: "a loop of one turn ends with a barrier for the next",
    },
    Survivors {
        case: "causal attention over wide rows",
        site: Site::Barrier,
        begins: "bar.warp.sync",
        most: 1,
        why: "a loop of no turns begins with a barrier that only sizes known at run time could need",
    },
];

fn packed_gemm(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let (w, bias) = (b.constant(ramp(&[37, 45])), b.constant(ramp(&[45])));
    let y = b.contract("mk", "kn", "mn", x, w)?;
    let y = b.binary(ScalarOp::Add, y, bias)?;
    b.binary_const(ScalarOp::Max, y, 0.0)
}

fn few_rows(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let y = packed_gemm(b, x)?;
    let z = b.contract("ik", "jk", "ij", y, y)?;
    let y = b.contract("ij", "jk", "ik", z, y)?;
    let attrs = attrs! { axis: Attr::Int(1), log: Attr::Int(0) };
    b.one("softmax", attrs, &[y])
}

fn gemm_of_activations(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let y = b.contract("bik", "bjk", "bij", x, x)?;
    b.contract("bij", "bjk", "bik", y, x)
}

fn convolution(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let y = conv(b, x, ramp(&[7, 18, 3, 3]), 1, 1, 1)?;
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
    let (k, v) = (b.unary(ScalarOp::Abs, x)?, b.unary(ScalarOp::Neg, x)?);
    let mask = b.constant(ramp(&[1, 1, 1, keys]));
    b.one("attention", attrs, &[x, k, v, mask])
}

fn attention(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    attend(b, x, 13, 0)
}

fn causal_attention(b: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    attend(b, x, 140, 1)
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
        let options = Options { precision: case.precision, ..Generation::SM_80.options() };
        nnc::compile(&graph, &options, &prepared.path()).unwrap_or_else(|e| panic!("{e}"));
        prepared
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("model.nnc")
    }

    /// The text that ran and its instructions, or what was wrong.
    fn run(&self, limit: u64, text: Option<String>) -> Result<(String, u64), String> {
        // One block, so that it has several points of the grid, one after the other.
        let settings = Settings { limit, blocks: 1, text, ..Settings::default() };
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
    let (mut total, mut survivors, mut wrong) = (0, 0, Vec::new());
    for case in CASES {
        let prepared = Prepared::new(case);
        let (text, instructions) =
            prepared.run(u64::MAX, None).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let all = mutants(&Module::parse(&text).expect("it has just run"));
        let mut left: Vec<usize> = SURVIVORS.iter().map(|s| s.most).collect();
        total += all.len();
        for Mutant { site, function, line, was, text } in all {
            if prepared.run(10 * instructions, Some(text)).is_err() {
                continue;
            }
            survivors += 1;
            let known = SURVIVORS
                .iter()
                .zip(&mut left)
                .find(|(s, _)| s.case == case.name && s.site == site && was.starts_with(s.begins));
            match known {
                Some((_, left)) if *left > 0 => *left -= 1,
                Some((s, _)) => {
                    wrong.push(format!("{}, line {line}: more than {} {}", case.name, s.most, s.why))
                }
                None => wrong.push(format!("{}: {site:?} in {function}, line {line}: {was}", case.name)),
            }
        }
    }
    eprintln!("{survivors} of {total} are not reported");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(survivors * 20 <= total, "{survivors} of {total} are not reported");
}

#[test]
fn what_products_of_warpgroups_need_is_missed_when_it_is_gone() {
    let (mut total, mut survivors) = (0, Vec::new());
    for (sizes, by_columns) in [([66, 101, 36], true), ([66, 101, 36], false), ([70, 20, 36], false)] {
        let tile = Tile::new(sizes, by_columns);
        let text = tile.text(Sm::Sm90a, Precision::F32);
        assert!(text.contains("wgmma"), "{text}");
        let run = tile.run(&text, u64::MAX).unwrap_or_else(|e| panic!("{sizes:?}: {e}"));
        assert!(run.error <= 1e-5, "{sizes:?}: {:e}", run.error);
        for m in mutants(&Module::parse(&text).expect("it has just run")) {
            total += 1;
            if tile.run(&m.text, 10 * run.instructions).is_ok_and(|run| run.error <= 1e-5) {
                survivors.push(format!("{sizes:?}: {:?}, line {}: {}", m.site, m.line, m.was));
            }
        }
    }
    eprintln!("{} of {total} are not reported", survivors.len());
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}
