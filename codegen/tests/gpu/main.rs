//! Kernels as PTX: the form of the text, the places of barriers, and that ptxas takes it.
//!
//! ptxas is looked for by the environment's `NNC_PTXAS`, then on the path; without it the texts are
//! still made, and the test says that they were not assembled.

use nnc_codegen::Precision;
use nnc_codegen::gpu::{Sm, compile};
use nnc_ir::tile::{Access, Arg, Expr, Kernel, KernelBuilder, Turns};
use nnc_ir::{DType, Dim, ScalarOp};
use std::io::Write;
use std::process::{Command, Stdio};

/// The program that assembles, if there is one.
fn ptxas() -> Option<String> {
    let named = std::env::var("NNC_PTXAS").ok().filter(|p| !p.is_empty());
    let program = named.unwrap_or_else(|| "ptxas".to_owned());
    let found = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|s| s.success()).then_some(program)
}

/// Prints kernels for every generation and assembles the texts; gives that of the first.
fn text_of(kernels: &[Kernel]) -> String {
    text_in(kernels, Precision::F32)
}

/// The same in a precision class. No kernel may spill registers.
fn text_in(kernels: &[Kernel], precision: Precision) -> String {
    let program = ptxas();
    for sm in Sm::ALL {
        let text = compile(kernels, sm, precision).expect("the kernels have code").text;
        if let Some(program) = &program {
            assemble(program, sm, &text);
        }
    }
    if program.is_none() {
        eprintln!("no ptxas: the text was not assembled");
    }
    compile(kernels, Sm::Sm75, precision).expect("the kernels have code").text
}

fn assemble(program: &str, sm: Sm, text: &str) {
    let folder = std::env::temp_dir();
    let names = (std::process::id(), std::thread::current().id());
    let (source, object) =
        (folder.join(format!("nnc-{names:?}-{sm}.ptx")), folder.join(format!("nnc-{names:?}-{sm}.cubin")));
    let mut file = std::fs::File::create(&source).expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for a text");
    let mut command = Command::new(program);
    command.args(["-v", &format!("-arch={sm}")]).arg(&source).arg("-o").arg(&object);
    let run = command.output().expect("ptxas starts");
    let (_, _) = (std::fs::remove_file(&source), std::fs::remove_file(&object));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{sm}: {said}\n{text}");
    let spills = said.lines().filter(|l| l.contains("spill stores") && !l.contains(" 0 bytes spill stores"));
    assert_eq!(spills.collect::<Vec<_>>(), Vec::<&str>::new(), "{sm}");
}

/// `y[i] = op(x[i], …)` over `n` elements.
fn map(op: ScalarOp, dtype: DType) -> Kernel {
    let mut kb = KernelBuilder::new(op.name());
    let n = Dim::named("n");
    let operands: Vec<_> = (0..op.n_operands()).map(|_| kb.param(dtype, n.clone(), Access::Read)).collect();
    let result = if op.is_predicate() { DType::Bool } else { dtype };
    let y = kb.param(result, n.clone(), Access::Write);
    let lanes = kb.begin(Turns::Lanes, n, &[]);
    let values: Vec<_> = operands.iter().map(|x| kb.load(*x, lanes.index())).collect();
    let value = kb.op(op, &values);
    kb.store(y, lanes.index(), value);
    kb.end(lanes, &[], &[]);
    kb.finish(Dim::ONE)
}

#[test]
fn every_scalar_function_has_code() {
    let mut kernels = Vec::new();
    for op in ScalarOp::ALL {
        let floats = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::F8E4M3FN];
        let ints = [
            DType::Bool,
            DType::I8,
            DType::U8,
            DType::I16,
            DType::U16,
            DType::I32,
            DType::U32,
            DType::I64,
            DType::U64,
        ];
        if op.on_floats().is_some() {
            kernels.extend(floats.map(|d| map(*op, d)));
        }
        if op.on_ints().is_some() {
            kernels.extend(ints.map(|d| map(*op, d)));
        }
    }
    text_of(&kernels);
}

#[test]
fn every_conversion_has_code() {
    const TYPES: [DType; 20] = [
        DType::Bool,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::U16,
        DType::I32,
        DType::U32,
        DType::I64,
        DType::U64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::F8E4M3FN,
        DType::F8E4M3FNUZ,
        DType::F8E5M2,
        DType::F8E5M2FNUZ,
        DType::F8E8M0,
        DType::F4E2M1,
        DType::I4,
    ];
    let mut kernels = Vec::new();
    for from in TYPES {
        for to in TYPES.into_iter().filter(|t| !t.is_packed()) {
            let mut kb = KernelBuilder::new("cast");
            let n = Dim::named("n");
            let (x, y) = (kb.param(from, n.clone(), Access::Read), kb.param(to, n.clone(), Access::Write));
            let lanes = kb.begin(Turns::Lanes, n, &[]);
            let value = kb.load(x, lanes.index());
            let value = kb.cast(value, nnc_ir::tile::arithmetic_type(to));
            kb.store(y, lanes.index(), value);
            kb.end(lanes, &[], &[]);
            kernels.push(kb.finish(Dim::ONE));
        }
    }
    text_of(&kernels);
}

/// The sum of each row, by way of a scratch object.
fn row_sums(dtype: DType, op: ScalarOp) -> Kernel {
    reduced_rows(dtype, op, |_, i| i)
}

/// The same with the elements of the scratch object in another order than they were written.
fn reduced_rows(dtype: DType, op: ScalarOp, order: fn(Dim, Dim) -> Dim) -> Kernel {
    let mut kb = KernelBuilder::new("rows");
    let (rows, n) = (Dim::named("rows"), Dim::named("n"));
    let r = kb.grid(rows.clone());
    let x = kb.param(dtype, rows.clone() * n.clone(), Access::Read);
    let y = kb.param(dtype, rows, Access::Write);
    let held = kb.scratch(dtype, Dim::int(1024));
    let copy = kb.begin(Turns::Lanes, n.clone(), &[]);
    let v = kb.load(x, r.clone() * n.clone() + copy.index());
    kb.store(held, copy.index(), v);
    kb.end(copy, &[], &[]);
    let start = kb.constant(dtype, 0.0);
    let fold = kb.begin(Turns::Lanes, n.clone(), &[]);
    let v = kb.load(held, order(n, fold.index()));
    let sum = kb.end(fold, &[], &[(op, start, v)]).1[0];
    kb.store(y, r, sum);
    kb.finish(Dim::ONE)
}

#[test]
fn reductions_have_code_for_every_type() {
    let numbers = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8];
    let ops = [ScalarOp::Add, ScalarOp::Mul, ScalarOp::Max, ScalarOp::Min];
    let mut kernels: Vec<Kernel> = numbers.iter().flat_map(|d| ops.map(|o| row_sums(*d, o))).collect();
    kernels.extend([ScalarOp::And, ScalarOp::Or].map(|o| row_sums(DType::Bool, o)));
    text_of(&kernels);
}

#[test]
fn barriers_stand_where_threads_meet() {
    let text = text_of(&[row_sums(DType::F32, ScalarOp::Add)]);
    // Within the exchange between warps, and before the next point has its memory.
    assert_eq!(text.matches("bar.sync").count(), 2, "a thread reads what it wrote itself\n{text}");
    assert_eq!(text.matches("shfl.sync.bfly.b32").count(), 5, "{text}");
    let text = text_of(&[reduced_rows(DType::F32, ScalarOp::Add, |n, i| n - i - Dim::ONE)]);
    assert_eq!(text.matches("bar.sync").count(), 3, "and after the copy, which others read\n{text}");
    let text = text_of(&[map(ScalarOp::Add, DType::F32)]);
    assert_eq!(text.matches("bar.sync").count(), 0, "points share nothing\n{text}");
}

#[test]
fn an_entry_takes_buffers_sizes_points_and_workspace() {
    let text = text_of(&[map(ScalarOp::Neg, DType::F32)]);
    let entry = "// neg\n.visible .entry k0(\n\t.param .u64 p0,\n\t.param .u64 p1,\n\t.param .u64 d0,\n\t.param .u64 points,\n\t.param .u64 workspace\n) .maxntid 256, 1, 1 .minnctapersm 1\n{";
    assert!(text.contains(entry), "{text}");
    assert!(text.contains("neg.f32"), "{text}");
    assert_eq!(text, text_of(&[map(ScalarOp::Neg, DType::F32)]));
}

#[test]
fn a_kernel_without_lanes_has_a_thread_for_each_point() {
    let mut kb = KernelBuilder::new("scan");
    let (rows, n) = (Dim::named("rows"), Dim::named("n"));
    let r = kb.grid(rows.clone());
    let elems = rows * n.clone();
    let (x, y) =
        (kb.param(DType::F32, elems.clone(), Access::Read), kb.param(DType::F32, elems, Access::Write));
    let zero = kb.float(DType::F32, 0.0);
    let open = kb.begin(Turns::Serial, n.clone(), &[zero]);
    let at = r * n + open.index();
    let v = kb.load(x, at.clone());
    let sum = kb.op(ScalarOp::Add, &[open.carried()[0], v]);
    kb.store(y, at, sum);
    kb.end(open, &[sum], &[]);
    let kernel = kb.finish(Dim::ONE);
    let module = compile(std::slice::from_ref(&kernel), Sm::Sm75, Precision::F32).expect("code");
    assert!(module.functions[0].thread_per_point);
    assert!(!text_of(&[kernel]).contains("bar.sync"));
}

/// A kernel that is one call of a product: C of a type, A and the words of B, all of what follows.
fn product(
    contract: (&'static str, u32),
    [m, n, k]: [Dim; 3],
    (c, a): (DType, DType),
    rest: impl FnOnce(&mut KernelBuilder) -> Vec<Arg>,
) -> Kernel {
    let mut kb = KernelBuilder::new("product");
    let c = kb.param(c, m.clone() * n.clone(), Access::ReadWrite);
    let a = kb.param(a, m.clone() * k.clone(), Access::Read);
    let mut args = vec![Arg::Ptr(c, Dim::ZERO), Arg::Int(n.clone()), Arg::Int(m), Arg::Int(n)];
    args.extend([Arg::Null, Arg::Int(Dim::ZERO), Arg::Ptr(a, Dim::ZERO), Arg::Int(k.clone())]);
    args.extend([Arg::Int(Dim::ONE), Arg::Int(k)]);
    args.extend(rest(&mut kb));
    kb.call(contract.0, contract.1, args);
    kb.finish(Dim::ONE)
}

/// A parameter of a product, from its first element on.
fn operand(kb: &mut KernelBuilder, dtype: DType, elems: &Dim) -> Arg {
    Arg::Ptr(kb.param(dtype, elems.clone(), Access::Read), Dim::ZERO)
}

/// A product of floats with everything that its epilogue knows.
fn floats(contract: (&'static str, u32), sizes: [Dim; 3]) -> Kernel {
    let [m, n, k] = sizes.clone();
    product(contract, sizes, (DType::F32, DType::F32), |kb| {
        let int = |v: i64| Arg::Int(Dim::int(v));
        let mut args = vec![operand(kb, DType::F32, &(n.clone() * k.clone()))];
        match contract.0 {
            "f32_gemm" => args.push(Arg::Int(k * Dim::int(16))),
            "f32_gemm_nibbles" => {
                let (scales, zeros) = (operand(kb, DType::F32, &n), operand(kb, DType::F32, &n));
                args.extend([Arg::Int(k * Dim::int(8)), int(32), scales, zeros, Arg::F32(0.0), int(64)]);
            }
            _ => args.extend([int(1), Arg::Int(k)]),
        }
        let (bias, scale) = (operand(kb, DType::F32, &n), operand(kb, DType::F32, &n));
        let residual = operand(kb, DType::F32, &(m * n.clone()));
        args.extend([int(31), bias, scale, residual, Arg::Int(n)]);
        args.extend([Arg::F32(0.0), Arg::F32(6.0), Arg::Null]);
        args
    })
}

/// A product of bytes with everything that its epilogue knows, of which it stores one form.
fn bytes(sizes: [Dim; 3], a: DType, stored: (i64, DType)) -> Kernel {
    let [_, n, k] = sizes.clone();
    product(("i8_gemm", 1), sizes, (stored.1, a), |kb| {
        let int = |v: i64| Arg::Int(Dim::int(v));
        let panel = k.ceil_div(&Dim::int(4)) * Dim::int(64);
        let mut args = vec![operand(kb, DType::I8, &(n.clone() * k)), Arg::Int(panel)];
        let signed = if a == DType::I8 { 1 << 5 } else { 0 };
        args.extend([int(2 | 8 | 64 | signed), int(stored.0), int(3)]);
        args.extend([(); 3].map(|()| operand(kb, DType::I32, &n)));
        args.extend([operand(kb, DType::F32, &n), Arg::F32(0.5), operand(kb, DType::F32, &n)]);
        args.extend([int(-5), Arg::F32(0.0), Arg::F32(6.0)]);
        args
    })
}

#[test]
fn products_have_code() {
    let fixed = |k: i64| [50, 70, k].map(Dim::int);
    let open = || ["m", "n", "k"].map(Dim::named);
    let mut kernels = Vec::new();
    for contract in [("f32_gemm", 2), ("f32_gemm_strided", 1), ("f32_gemm_nibbles", 1)] {
        kernels.extend([floats(contract, fixed(33)), floats(contract, open())]);
    }
    for precision in Precision::ALL {
        let text = text_in(&kernels, precision);
        // The oldest devices have products of f16 alone, of eight steps of k: twice four fragments in 32.
        let coarse = precision == Precision::F16;
        let count =
            |what: &str, n: usize| assert_eq!(text.matches(what).count(), kernels.len() * n, "{what}");
        count("fma.rn.f32", if coarse { 0 } else { 16 * 16 });
        count("mma.sync.aligned.m16n8k8", if coarse { 4 * 4 } else { 0 });
    }
    for (precision, n) in [
        (Precision::F32Strict, 0),
        (Precision::F32, 4 * 6),
        (Precision::F32Fast, 4 * 3),
        (Precision::Bf16, 4 * 2),
        (Precision::F16, 4 * 2),
    ] {
        let text = compile(&kernels, Sm::Sm80, precision).expect("the kernels have code").text;
        assert_eq!(text.matches("mma.sync.aligned.m16n8k16").count(), kernels.len() * n, "{precision}");
    }
    let mut kernels = Vec::new();
    for stored in [(0, DType::I32), (1, DType::F32), (2, DType::U8), (3, DType::I8)] {
        for sizes in [fixed(33), fixed(20), fixed(64), open()] {
            kernels.extend([DType::U8, DType::I8].map(|a| bytes(sizes.clone(), a, stored)));
        }
    }
    let text = text_of(&kernels);
    // On the oldest devices eight rows and sixteen bytes of k at once: eight of them for each of four steps.
    assert_eq!(text.matches("mma.sync.aligned.m8n8k16").count(), kernels.len() * 8 * 4);
    let text = compile(&kernels, Sm::Sm80, Precision::F32).expect("the kernels have code").text;
    assert_eq!(text.matches("mma.sync.aligned.m16n8k32").count(), kernels.len() * 4 * 2);
}

#[test]
fn large_blocks_are_made_by_large_tiles() {
    // Rows and columns of a block, those of its tile, and in how many parts a warp's fragments are.
    let forms = [([128, 128], 16), ([100, 65], 16), ([128, 64], 8), ([64, 500], 4), ([500, 128], 4)];
    for (sizes, fragments) in forms {
        let kernels = [("f32_gemm", 2), ("f32_gemm_strided", 1), ("f32_gemm_nibbles", 1)]
            .map(|contract| floats(contract, [sizes[0], sizes[1], 36].map(Dim::int)));
        for precision in Precision::ALL {
            let text = text_in(&kernels, precision);
            let plain = if precision == Precision::F16 { 0 } else { 4 * fragments * 16 };
            assert_eq!(text.matches("fma.rn.f32").count(), 3 * plain, "{sizes:?} {precision}");
            let products = match precision {
                Precision::F32Strict => 0,
                Precision::F32 => 6,
                Precision::F32Fast => 3,
                Precision::Bf16 | Precision::F16 => 2,
            };
            let text = compile(&kernels, Sm::Sm80, precision).expect("the kernels have code").text;
            let found = text.matches("mma.sync.aligned.m16n8k16").count();
            assert_eq!(found, 3 * products * fragments, "{sizes:?} {precision}");
            let text = compile(&kernels, Sm::Sm90a, precision).expect("the kernels have code").text;
            let found = text.matches("wgmma.mma_async").count();
            let by_groups = fragments > 4;
            assert_eq!(found, if by_groups { 3 * products } else { 0 }, "{sizes:?} {precision}");
        }
    }
}

#[test]
fn what_has_no_code_is_refused_by_name() {
    let mut kb = KernelBuilder::new("unknown");
    let y = kb.param(DType::F32, Dim::ONE, Access::Write);
    kb.call("f32_riddle", 7, vec![Arg::Ptr(y, Dim::ZERO)]);
    let error = compile(&[kb.finish(Dim::ONE)], Sm::Sm75, Precision::F32)
        .expect_err("no such microkernel")
        .to_string();
    assert_eq!(
        error,
        "kernel \"unknown\": microkernel f32_riddle version 7 is not supported by this backend"
    );
    let mut kb = KernelBuilder::new("bits");
    let (x, y) =
        (kb.param(DType::F32, Dim::ONE, Access::Read), kb.param(DType::U32, Dim::ONE, Access::Write));
    let v = kb.load(x, Dim::ZERO);
    let bits = kb.def(DType::U32, Expr::Bitcast(v));
    kb.store(y, Dim::ZERO, bits);
    text_of(&[kb.finish(Dim::ONE)]);
}
