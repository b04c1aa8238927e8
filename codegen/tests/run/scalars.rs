//! Every scalar function, cast and storage type on every data type.

use crate::harness::{Case, Random, check};
use nnc_codegen::cpu::{CpuTarget, compile};
use nnc_ir::tile::{Access, Expr, Kernel, KernelBuilder, Local, Mem, Turns, arithmetic_type};
use nnc_ir::{Arity, DType, Dim, ScalarOp};

const INTS: [DType; 8] =
    [DType::I8, DType::U8, DType::I16, DType::U16, DType::I32, DType::U32, DType::I64, DType::U64];
const NARROW: [DType; 7] = [
    DType::F16,
    DType::BF16,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F8E8M0,
];
const PACKED: [DType; 5] = [DType::U4, DType::I4, DType::U2, DType::I2, DType::F4E2M1];

/// The interesting numbers of a type and some random ones, as bytes.
fn specimens(dtype: DType) -> Vec<u8> {
    let mut random = Random::new(dtype as u64 + 7);
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        3.0,
        -3.0,
        7.25,
        -7.25,
        100.0,
        1e-3,
        300.0,
        -70000.0,
        3e9,
        -3e9,
        1e19,
        -1e19,
        1e30,
        1e-40,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    match dtype {
        DType::F32 => {
            let mut out: Vec<u8> = floats.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
            out.extend(random.elements(dtype, 16));
            out
        }
        DType::F64 => {
            let mut out: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
            out.extend(random.elements(dtype, 16));
            out
        }
        DType::Bool => vec![0, 1],
        _ => {
            let (low, high) = dtype.int_range().expect("an integer type");
            let mut numbers: Vec<i128> =
                vec![0, 1, 2, 3, 5, 7, 8, 31, 63, 64, high, high - 1, high / 2, low, low + 1];
            numbers.extend([-1, -2, -3, -7].iter().filter(|v| **v >= low));
            numbers.extend((0..8).map(|_| i128::from(random.bits()).rem_euclid(high - low + 1) + low));
            numbers.iter().flat_map(|v| v.to_le_bytes()[..dtype.size()].to_vec()).collect()
        }
    }
}

fn elementwise(
    name: &str,
    inputs: &[(DType, Dim)],
    output: DType,
    n: Dim,
    turns: Turns,
    f: impl Fn(&mut KernelBuilder, &[Local]) -> Local,
) -> Kernel {
    let mut kb = KernelBuilder::new(name);
    let params: Vec<Mem> =
        inputs.iter().map(|(d, elems)| kb.param(*d, elems.clone(), Access::Read)).collect();
    let out = kb.param(output, n.clone(), Access::Write);
    let open = kb.begin(turns, n, &[]);
    let values: Vec<Local> = params.iter().map(|p| kb.load(*p, open.index())).collect();
    let value = f(&mut kb, &values);
    kb.store(out, open.index(), value);
    kb.end(open, &[], &[]);
    kb.finish(Dim::ONE)
}

/// All pairs of specimens as two columns.
fn pairs(dtype: DType) -> (Vec<u8>, Vec<u8>, usize) {
    let all = specimens(dtype);
    let list: Vec<&[u8]> = all.chunks(dtype.size()).collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for a in &list {
        for b in &list {
            x.extend(*a);
            y.extend(*b);
        }
    }
    (x, y, list.len() * list.len())
}

fn run(kernel: &Kernel, inputs: Vec<Vec<u8>>) {
    check(&Case { kernel, tolerance: 0.0, runs: vec![(vec![], inputs)] });
}

fn check_op(op: ScalarOp, dtype: DType, turns: Turns) {
    let predicate = op.is_predicate();
    let output = if predicate { DType::Bool } else { dtype };
    let (x, y, n) = pairs(dtype);
    let len = Dim::len(n);
    let out = vec![0; n * output.size()];
    let name = format!("{} {dtype}", op.name());
    match op.arity() {
        Arity::Unary | Arity::Test => {
            let inputs = [(dtype, len.clone())];
            let kernel = elementwise(&name, &inputs, output, len, turns, |kb, v| kb.op(op, v));
            run(&kernel, vec![x, out]);
        }
        Arity::Binary | Arity::Compare => {
            let inputs = [(dtype, len.clone()), (dtype, len.clone())];
            let kernel = elementwise(&name, &inputs, output, len, turns, |kb, v| kb.op(op, v));
            run(&kernel, vec![x, y, out]);
        }
    }
}

#[test]
fn every_function_on_every_type() {
    for op in ScalarOp::ALL {
        for dtype in INTS.into_iter().chain([DType::Bool]).filter(|_| op.on_ints().is_some()) {
            check_op(*op, dtype, Turns::Serial);
            check_op(*op, dtype, Turns::Lanes);
        }
        for dtype in [DType::F32, DType::F64].into_iter().filter(|_| op.on_floats().is_some()) {
            check_op(*op, dtype, Turns::Serial);
            check_op(*op, dtype, Turns::Lanes);
        }
    }
}

#[test]
fn casts_between_all_types() {
    let types: Vec<DType> = INTS.into_iter().chain([DType::Bool, DType::F32, DType::F64]).collect();
    for from in &types {
        for to in &types {
            for turns in [Turns::Serial, Turns::Lanes] {
                let x = specimens(*from);
                let n = x.len() / from.size();
                let name = format!("cast {from} to {to}");
                let inputs = [(*from, Dim::len(n))];
                let kernel = elementwise(&name, &inputs, *to, Dim::len(n), turns, |kb, v| kb.cast(v[0], *to));
                run(&kernel, vec![x, vec![0; n * to.size()]]);
            }
        }
    }
}

#[test]
fn narrow_floats_are_read_exactly() {
    for from in NARROW {
        let (x, n) = match from.size() {
            1 => ((0..=255u8).collect::<Vec<u8>>(), 256),
            _ => ((0..=65535u16).flat_map(u16::to_le_bytes).collect(), 65536),
        };
        for turns in [Turns::Serial, Turns::Lanes] {
            let inputs = [(from, Dim::len(n))];
            let kernel = elementwise("widen", &inputs, DType::F32, Dim::len(n), turns, |_, v| v[0]);
            run(&kernel, vec![x.clone(), vec![0; 4 * n]]);
        }
    }
}

#[test]
fn narrow_floats_are_written_with_ties_to_even() {
    let mut random = Random::new(3);
    let mut x: Vec<f32> =
        vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE];
    // Every exponent with significands at and beside ties.
    for exponent in 0..255u32 {
        for low in
            [0u32, 1, 0x7f_ffff, 0x40_0000, 0x20_0000, 0x10_0000, 0x60_0000, 0x30_0000, 0x8000, 0x1_8000]
        {
            x.extend([low, low | 1].map(|m| f32::from_bits((exponent << 23) | m)));
        }
        for shift in [12, 13, 15, 16, 19, 20, 21] {
            let tie = (random.bits() as u32 & 0x7f_ffff) >> shift << shift | 1 << (shift - 1);
            x.extend([tie - 1, tie, tie + 1].map(|m| -f32::from_bits((exponent << 23) | m)));
        }
    }
    let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let len = Dim::len(x.len());
    for to in NARROW {
        for turns in [Turns::Serial, Turns::Lanes] {
            let inputs = [(DType::F32, len.clone())];
            let kernel = elementwise("narrow", &inputs, to, len.clone(), turns, |_, v| v[0]);
            run(&kernel, vec![bytes.clone(), vec![0; x.len() * to.size()]]);
            let kernel = elementwise("round", &inputs, DType::F32, len.clone(), turns, |kb, v| {
                kb.def(DType::F32, Expr::RoundTo(to, v[0]))
            });
            run(&kernel, vec![bytes.clone(), vec![0; 4 * x.len()]]);
        }
    }
}

#[test]
fn packed_elements_are_read() {
    for from in PACKED {
        let x: Vec<u8> = (0..=255u8).collect();
        let n = 256 * 8 / from.bits();
        for turns in [Turns::Serial, Turns::Lanes] {
            let to = arithmetic_type(from);
            let inputs = [(from, Dim::len(n))];
            let kernel = elementwise("unpack", &inputs, to, Dim::len(n), turns, |_, v| v[0]);
            run(&kernel, vec![x.clone(), vec![0; n * to.size()]]);
        }
    }
}

#[test]
fn fused_multiply_add_rounds_once() {
    let mut random = Random::new(5);
    let n = 4096;
    let columns: Vec<Vec<u8>> = (0..3)
        .map(|k| {
            let scale = if k == 2 { 2f64.powi(-20) } else { 1.0 };
            (0..n)
                .flat_map(|i| ((random.float() * if i % 2 == 0 { scale } else { 1.0 }) as f32).to_le_bytes())
                .collect()
        })
        .collect();
    let inputs = [(); 3].map(|()| (DType::F32, Dim::len(n)));
    for turns in [Turns::Serial, Turns::Lanes] {
        let kernel = elementwise("fma", &inputs, DType::F32, Dim::len(n), turns, |kb, v| {
            kb.def(DType::F32, Expr::Fma(v[0], v[1], v[2]))
        });
        let mut buffers = columns.clone();
        buffers.push(vec![0; 4 * n]);
        run(&kernel, buffers);
    }
}

#[test]
fn selections_bitcasts_and_constants() {
    let n = 77;
    let mut random = Random::new(6);
    for turns in [Turns::Serial, Turns::Lanes] {
        let inputs = [(DType::F32, Dim::len(n)), (DType::I32, Dim::len(n)), (DType::Bool, Dim::len(n))];
        let kernel = elementwise("mix", &inputs, DType::I32, Dim::len(n), turns, |kb, v| {
            let bits = kb.def(DType::I32, Expr::Bitcast(v[0]));
            let seven = kb.int(DType::I32, -7);
            let sum = kb.op(ScalarOp::Add, &[v[1], seven]);
            let half = kb.float(DType::F32, 0.5);
            let above = kb.op(ScalarOp::Gt, &[v[0], half]);
            let both = kb.op(ScalarOp::Xor, &[above, v[2]]);
            kb.select(both, bits, sum)
        });
        let mut buffers: Vec<Vec<u8>> = inputs.iter().map(|(d, _)| random.elements(*d, n)).collect();
        buffers.push(vec![0; 4 * n]);
        run(&kernel, buffers);
    }
}

#[test]
fn every_microkernel_that_code_asks_for_exists() {
    for op in ScalarOp::ALL.iter().filter(|op| op.on_floats().is_some() && !op.is_predicate()) {
        for dtype in [DType::F32, DType::F64] {
            let inputs = vec![(dtype, Dim::ONE); op.n_operands()];
            let kernel =
                elementwise(op.name(), &inputs, dtype, Dim::ONE, Turns::Serial, |kb, v| kb.op(*op, v));
            let target = CpuTarget::parse("native").expect("a supported machine");
            for contract in compile(&[kernel], &target).expect("compiles").contracts {
                let found = nnc_kernels::kernels()
                    .any(|row| row.contract == contract.name && row.version == contract.version);
                assert!(found, "{}@{}", contract.name, contract.version);
            }
        }
    }
}
