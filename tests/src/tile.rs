//! A product of floats as a kernel of its own, without the model of many results that it would take to have large
//! tiles.

use nnc::Precision;
use nnc_codegen::gpu::{Sm, compile};
use nnc_ir::tile::{Access, Arg, Kernel, KernelBuilder};
use nnc_ir::{DType, Dim};
use nnc_ptx::{Memory, Module, Options, Use};

/// Results, which one block makes one after the other.
const RESULTS: usize = 2;
/// Elements between rows of operands, which are no numbers.
const APART: usize = 4;

/// Products of matrices of so many rows, columns and steps.
pub(crate) struct Tile {
    kernel: Kernel,
    sizes: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
    expected: Vec<f64>,
}

/// What a run gave: the error as a relative L2 norm, and what it took.
pub(crate) struct Run {
    pub(crate) error: f64,
    pub(crate) instructions: u64,
    pub(crate) conflicts: u64,
}

impl Tile {
    /// The right operand lies by columns, or by steps of k.
    pub(crate) fn new(sizes: [usize; 3], by_columns: bool) -> Tile {
        let [m, n, k] = sizes;
        let (along_k, along_n) = if by_columns { (1, k + APART) } else { (n + APART, 1) };
        let a = numbers(m, k, 1);
        let b = if by_columns { numbers(n, k, 7) } else { numbers(k, n, 7) };
        let (a_len, b_len) = (a.len() / RESULTS, b.len() / RESULTS);
        let mut expected = Vec::new();
        for (r, row, column) in (0..RESULTS * m * n).map(|i| (i / (m * n), i / n % m, i % n)) {
            let term = |i: usize| {
                let x = a[r * a_len + row * (k + APART) + i];
                f64::from(x) * f64::from(b[r * b_len + i * along_k + column * along_n])
            };
            expected.push((0..k).map(term).sum());
        }
        let kernel = kernel(sizes, [a_len, b_len], [along_k, along_n]);
        Tile { kernel, sizes, a, b, expected }
    }

    /// Its code.
    pub(crate) fn text(&self, sm: Sm, precision: Precision) -> String {
        compile(std::slice::from_ref(&self.kernel), sm, precision).expect("the product has code").text
    }

    /// Runs a text, at most so many instructions of it.
    pub(crate) fn run(&self, text: &str, limit: u64) -> Result<Run, String> {
        let module = Module::parse(text).map_err(|e| e.to_string())?;
        let module = module.with_options(Options { limit, ..Options::default() });
        let [m, n, _] = self.sizes;
        let mut memory = Memory::new();
        let mut buffer = |bytes: Vec<u8>, usage: Use| {
            let at = memory.alloc(bytes.len());
            memory.write(at, &bytes).expect("it was allocated");
            memory.view(at, bytes.len(), usage).expect("it was allocated")
        };
        let bytes = |x: &[f32]| x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let c = buffer(vec![0; 4 * RESULTS * m * n], Use::Write);
        let (a, b) = (buffer(bytes(&self.a), Use::Constant), buffer(bytes(&self.b), Use::Constant));
        let words = [c, a, b, RESULTS as u64, 0];
        let params: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let stats = module.launch(&mut memory, "k0", [1, 1, 1], [256, 1, 1], 0, &params);
        let stats = stats.map_err(|e| e.to_string())?;
        let found = memory.read(c, 4 * RESULTS * m * n).map_err(|e| e.to_string())?;
        let found = found.chunks_exact(4).map(|c| f64::from(f32::from_le_bytes([c[0], c[1], c[2], c[3]])));
        let (mut off, mut all) = (0.0, 0.0);
        for (found, expected) in found.zip(&self.expected) {
            off += (found - expected).powi(2);
            all += expected.powi(2);
        }
        let error = (off / all).sqrt();
        Ok(Run { error, instructions: stats.instructions, conflicts: stats.conflicts })
    }
}

/// Matrices with numbers of all 24 bits.
fn numbers(rows: usize, len: usize, seed: u32) -> Vec<f32> {
    let bits = |i: usize| (i as u32 + seed).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7;
    let number = |i: usize| match i % (len + APART) < len {
        true => bits(i) as f32 / (1 << 24) as f32 - 1.0,
        false => f32::NAN,
    };
    (0..RESULTS * rows * (len + APART)).map(number).collect()
}

fn kernel([m, n, k]: [usize; 3], [a_len, b_len]: [usize; 2], [along_k, along_n]: [usize; 2]) -> Kernel {
    let mut kb = KernelBuilder::new("product");
    let result = kb.grid(Dim::len(RESULTS));
    let mut operand = |elems: usize, access: Access| {
        let mem = kb.param(DType::F32, Dim::len(RESULTS * elems), access);
        Arg::Ptr(mem, result.clone() * Dim::len(elems))
    };
    let int = |v: usize| Arg::Int(Dim::len(v));
    let (c, a) = (operand(m * n, Access::Write), operand(a_len, Access::Read));
    let b = operand(b_len, Access::Read);
    let mut args = vec![c, int(n), int(m), int(n), Arg::Null, int(0), a, int(k + APART), int(1), int(k)];
    args.extend([b, int(along_k), int(along_n), int(0), Arg::Null, Arg::Null, Arg::Null, int(0)]);
    args.extend([Arg::F32(0.0), Arg::F32(0.0), Arg::Null]);
    kb.call("f32_gemm_strided", 1, args);
    kb.finish(Dim::ONE)
}
