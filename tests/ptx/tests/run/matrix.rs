//! Matrix instructions: who holds which element, written down from the manual's tables for each shape.

use crate::harness::{Device, head, module, numbers, per_thread};
use nnc_ptx::{Fault, FaultKind};
use std::fmt::Write as _;

/// Group and place in the group of a lane, `%laneid >> 2` and `%laneid % 4` in the manual.
type Held = fn(g: usize, t: usize, i: usize) -> (usize, usize);

/// A form of `mma.sync`: the types' names, how many elements a lane holds, and which.
struct Form {
    op: &'static str,
    sizes: [usize; 3],
    /// How elements of a, b, and of c and d are written.
    kinds: [Kind; 2],
    counts: [usize; 3],
    /// Row and column of `a_i`.
    a: Held,
    /// Row, along k, and column of `b_i`.
    b: Held,
    c: Held,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F16,
    Bf16,
    /// f32 and tf32.
    Single,
    F64,
    S8,
    U8,
    S32,
}

impl Kind {
    fn bytes(self, x: f32) -> Vec<u8> {
        match self {
            Kind::F16 => half::f16::from_f32(x).to_le_bytes().to_vec(),
            Kind::Bf16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
            Kind::Single => x.to_le_bytes().to_vec(),
            Kind::F64 => f64::from(x).to_le_bytes().to_vec(),
            Kind::S8 => (x as i8).to_le_bytes().to_vec(),
            Kind::U8 => (x as i32 as u8).to_le_bytes().to_vec(),
            Kind::S32 => (x as i32).to_le_bytes().to_vec(),
        }
    }

    fn value(self, b: &[u8]) -> f32 {
        match self {
            Kind::F16 => half::f16::from_le_bytes([b[0], b[1]]).to_f32(),
            Kind::Bf16 => half::bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            Kind::Single => f32::from_le_bytes(b.try_into().expect("four")),
            Kind::F64 => f64::from_le_bytes(b.try_into().expect("eight")) as f32,
            Kind::S8 => f32::from(b[0] as i8),
            Kind::U8 => f32::from(b[0]),
            Kind::S32 => i32::from_le_bytes(b.try_into().expect("four")) as f32,
        }
    }

    fn size(self) -> usize {
        self.bytes(0.0).len()
    }

    /// Integers, where the type holds nothing else.
    fn round(self, x: f32) -> f32 {
        match self {
            Kind::S8 | Kind::S32 => (x * 8.0).round(),
            Kind::U8 => (x * 8.0).round().abs(),
            _ => x,
        }
    }
}

const C16X8: Held = |g, t, i| (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1));
const A16X16: Held = |g, t, i| {
    (if i < 2 || (4..6).contains(&i) { g } else { g + 8 }, t * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
};
const B16X8: Held = |g, t, i| (t * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, g);
const A16X8: Held = |g, t, i| (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1));
const B8X8: Held = |g, t, i| (t * 2 + (i & 1), g);
const A16X32: Held = |g, t, i| {
    (if i < 4 || (8..12).contains(&i) { g } else { g + 8 }, t * 4 + (i & 3) + if i < 8 { 0 } else { 16 })
};
const B32X8: Held = |g, t, i| (t * 4 + (i & 3) + if i < 4 { 0 } else { 16 }, g);

const FORMS: &[Form] = &[
    Form {
        op: "m16n8k16.row.col.f32.f16.f16.f32",
        sizes: [16, 8, 16],
        kinds: [Kind::F16, Kind::Single],
        counts: [8, 4, 4],
        a: A16X16,
        b: B16X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k16.row.col.f16.f16.f16.f16",
        sizes: [16, 8, 16],
        kinds: [Kind::F16, Kind::F16],
        counts: [8, 4, 4],
        a: A16X16,
        b: B16X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k16.row.col.f32.bf16.bf16.f32",
        sizes: [16, 8, 16],
        kinds: [Kind::Bf16, Kind::Single],
        counts: [8, 4, 4],
        a: A16X16,
        b: B16X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k8.row.col.f32.f16.f16.f32",
        sizes: [16, 8, 8],
        kinds: [Kind::F16, Kind::Single],
        counts: [4, 2, 4],
        a: A16X8,
        b: B8X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k8.row.col.f32.bf16.bf16.f32",
        sizes: [16, 8, 8],
        kinds: [Kind::Bf16, Kind::Single],
        counts: [4, 2, 4],
        a: A16X8,
        b: B8X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k8.row.col.f32.tf32.tf32.f32",
        sizes: [16, 8, 8],
        kinds: [Kind::Single, Kind::Single],
        counts: [4, 2, 4],
        a: |g, t, i| (if i % 2 == 0 { g } else { g + 8 }, if i < 2 { t } else { t + 4 }),
        b: |g, t, i| (if i == 0 { t } else { t + 4 }, g),
        c: C16X8,
    },
    Form {
        op: "m16n8k4.row.col.f32.tf32.tf32.f32",
        sizes: [16, 8, 4],
        kinds: [Kind::Single, Kind::Single],
        counts: [2, 1, 4],
        a: |g, t, i| (if i == 0 { g } else { g + 8 }, t),
        b: |g, t, _| (t, g),
        c: C16X8,
    },
    Form {
        op: "m16n8k16.row.col.s32.s8.s8.s32",
        sizes: [16, 8, 16],
        kinds: [Kind::S8, Kind::S32],
        counts: [8, 4, 4],
        a: |g, t, i| (if i < 4 { g } else { g + 8 }, t * 4 + (i & 3)),
        b: |g, t, i| (t * 4 + (i & 3), g),
        c: C16X8,
    },
    Form {
        op: "m16n8k32.row.col.s32.s8.s8.s32",
        sizes: [16, 8, 32],
        kinds: [Kind::S8, Kind::S32],
        counts: [16, 8, 4],
        a: A16X32,
        b: B32X8,
        c: C16X8,
    },
    Form {
        op: "m16n8k32.row.col.satfinite.s32.u8.u8.s32",
        sizes: [16, 8, 32],
        kinds: [Kind::U8, Kind::S32],
        counts: [16, 8, 4],
        a: A16X32,
        b: B32X8,
        c: C16X8,
    },
    Form {
        op: "m8n8k16.row.col.s32.s8.s8.s32",
        sizes: [8, 8, 16],
        kinds: [Kind::S8, Kind::S32],
        counts: [4, 4, 2],
        a: |g, t, i| (g, t * 4 + i),
        b: |g, t, i| (t * 4 + i, g),
        c: |g, t, i| (g, t * 2 + i),
    },
    Form {
        op: "m8n8k4.row.col.f64.f64.f64.f64",
        sizes: [8, 8, 4],
        kinds: [Kind::F64, Kind::F64],
        counts: [1, 1, 2],
        a: |g, t, _| (g, t),
        b: |g, t, _| (t, g),
        c: |g, t, i| (g, t * 2 + i),
    },
];

/// What all lanes hold, one after the other, in registers of 32 or 64 bits.
fn fragment(kind: Kind, count: usize, held: Held, columns: usize, x: &[f32]) -> Vec<u8> {
    let of_lane = move |lane: usize| {
        (0..count).flat_map(move |i| {
            let (row, column) = held(lane / 4, lane % 4, i);
            kind.bytes(x[row * columns + column])
        })
    };
    (0..32).flat_map(of_lane).collect()
}

fn list(prefix: &str, n: usize) -> String {
    format!("{{{}}}", (0..n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", "))
}

/// A kernel whose lanes load what they hold, multiply, and store what they hold of the result.
fn text(form: &Form) -> String {
    let [ab, cd] = form.kinds;
    let register = |kind: Kind| match kind {
        Kind::F64 => ("f64", 8),
        Kind::Single if cd == kind => ("f32", 4),
        _ => ("b32", 4),
    };
    // Elements of a and b are 32-bit registers of untyped bits, but for f64.
    let (wide, step) = if ab == Kind::F64 { ("f64", 8) } else { ("b32", 4) };
    let (acc, acc_step) = register(cd);
    let registers = |kind: Kind, count: usize, step: usize| count * kind.size() / step;
    let counts = [
        registers(ab, form.counts[0], step),
        registers(ab, form.counts[1], step),
        registers(cd, form.counts[2], acc_step),
    ];
    let mut text = format!(
        "{}.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{\n\
         .reg .{wide} %a<16>, %b<16>; .reg .{acc} %c<8>; .reg .u32 %l; .reg .u64 %p, %q;\n\
         mov.u32 %l, %laneid;\n",
        head("sm_80")
    );
    let loads = [("a", wide, step, counts[0]), ("b", wide, step, counts[1]), ("c", acc, acc_step, counts[2])];
    for (name, ty, step, n) in loads {
        writeln!(text, "ld.param.u64 %p, [{name}];\nmad.wide.u32 %q, %l, {}, %p;", n * step).expect("text");
        for i in 0..n {
            writeln!(text, "ld.global.{ty} %{name}{i}, [%q+{}];", i * step).expect("text");
        }
    }
    let (a, b, c) = (list("a", counts[0]), list("b", counts[1]), list("c", counts[2]));
    writeln!(text, "mma.sync.aligned.{} {c}, {a}, {b}, {c};", form.op).expect("text");
    writeln!(text, "ld.param.u64 %p, [d];\nmad.wide.u32 %q, %l, {}, %p;", counts[2] * acc_step)
        .expect("text");
    for i in 0..counts[2] {
        writeln!(text, "st.global.{acc} [%q+{}], %c{i};", i * acc_step).expect("text");
    }
    text + "ret;\n}\n"
}

#[test]
fn products_are_of_the_elements_that_the_manual_s_tables_name() {
    for form in FORMS {
        let [m, n, k] = form.sizes;
        let [ab, cd] = form.kinds;
        let made = |len: usize, seed: u32, kind: Kind| -> Vec<f32> {
            numbers(len, seed).into_iter().map(|x| kind.round(x)).collect()
        };
        let (a, b, c) = (made(m * k, 1, ab), made(k * n, 2, ab), made(m * n, 3, cd));
        let mut device = Device::default();
        device.input(&fragment(ab, form.counts[0], form.a, k, &a));
        device.input(&fragment(ab, form.counts[1], form.b, n, &b));
        device.input(&fragment(cd, form.counts[2], form.c, n, &c));
        device.output(m * n * cd.size());
        device.run(&module(&text(form)), [1; 3], [32, 1, 1]).unwrap_or_else(|e| panic!("{}: {e}", form.op));
        let found = device.bytes(3).chunks_exact(cd.size()).map(|b| cd.value(b)).collect::<Vec<_>>();
        for (place, found) in found.iter().enumerate() {
            let (lane, i) = (place / form.counts[2], place % form.counts[2]);
            let (row, column) = (form.c)(lane / 4, lane % 4, i);
            let sum: f32 =
                (0..k).map(|l| a[row * k + l] * b[l * n + column]).sum::<f32>() + c[row * n + column];
            let allowed = if cd == Kind::F16 { sum.abs() / 1024.0 } else { 0.0 };
            assert!((found - sum).abs() <= allowed, "{}: ({row}, {column}) is {found}, not {sum}", form.op);
        }
    }
}

#[test]
fn tf32_takes_no_more_than_its_bits() {
    // 1 + 2^-10 is a tf32, 1 + 2^-11 is not: its last bit takes no part.
    let product = |x: u32| {
        let body = format!(
            "mov.b32 %r1, {x:#x}; mov.b32 %r2, 0x3f800000; mov.b32 %r3, 0; mov.f32 %f0, 0f00000000;
            setp.eq.u32 %p1, %t, 0; selp.b32 %r1, %r1, %r3, %p1; selp.b32 %r2, %r2, %r3, %p1;
            mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {{%f0, %f1, %f2, %f3}}, {{%r1, %r3}}, {{%r2}},
            {{%f0, %f0, %f0, %f0}}; mov.b32 %r0, %f0;"
        );
        f32::from_bits(per_thread("sm_80", 32, &body).unwrap_or_else(|e| panic!("{e}"))[0])
    };
    assert_eq!(product((1.0f32 + 2f32.powi(-10)).to_bits()), 1.0 + 2f32.powi(-10));
    assert_eq!(product((1.0f32 + 2f32.powi(-11)).to_bits()), 1.0);
}

/// Fills 64 bytes of shared memory for each lane with their own numbers, 16 bits each.
const FILL: &str = "mov.u32 %r10, smem; shl.b32 %r11, %t, 4; add.u32 %r11, %r10, %r11;
    shl.b32 %r12, %t, 3; mad.lo.u32 %r12, %r12, 0x10001, 0x10000;
    add.u32 %r13, %r12, 0x20002; add.u32 %r14, %r13, 0x20002; add.u32 %r15, %r14, 0x20002;
    st.shared.v4.b32 [%r11], {%r12, %r13, %r14, %r15};";

fn rows(body: &str) -> Result<Vec<u32>, Fault> {
    per_thread("sm_80", 32, body)
}

#[test]
fn ldmatrix_gives_each_lane_two_neighbors_of_a_row_or_a_column() {
    // Matrix j has rows 8 j to 8 j + 7; row r is the sixteen bytes of lane r, elements 8 r to 8 r + 7.
    let load = |op: &str, d: &str| {
        rows(&format!("{FILL} bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.{op}.shared.b16 {d}, [%r11];"))
            .unwrap_or_else(|e| panic!("{op}: {e}"))
    };
    let pair = |first: u32, second: u32| first | second << 16;
    for (j, name) in
        ["{%r0, %r1, %r2, %r3}", "{%r1, %r0, %r2, %r3}", "{%r1, %r2, %r0, %r3}"].iter().enumerate()
    {
        let row = |t: u32| 8 * (8 * j as u32 + t / 4) + 2 * (t % 4);
        let expected: Vec<u32> = (0..32).map(|t| pair(row(t), row(t) + 1)).collect();
        assert_eq!(load("x4", name), expected, "matrix {j}");
        let column = |t: u32| 8 * (8 * j as u32 + 2 * (t % 4)) + t / 4;
        let expected: Vec<u32> = (0..32).map(|t| pair(column(t), column(t) + 8)).collect();
        assert_eq!(load("x4.trans", name), expected, "matrix {j} transposed");
    }
    assert_eq!(load("x1", "{%r0}")[5], pair(10, 11));
    assert_eq!(load("x2", "{%r1, %r0}")[0], pair(64, 65));
}

#[test]
fn ldmatrix_is_checked_as_other_reads_are() {
    let load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}";
    let kind = |body: &str| rows(body).expect_err(body).kind;
    let found = kind(&format!("{FILL} {load}, [%r11];"));
    assert!(matches!(found, FaultKind::Race { space: "shared", .. }), "no barrier: {found}");
    let found = kind(&format!("{FILL} bar.warp.sync -1; {load}, [%r11+8];"));
    assert!(matches!(found, FaultKind::Misaligned { align: 16, .. }), "{found}");
    let found = kind(&format!("{FILL} bar.warp.sync -1; {load}, [%r11+512];"));
    assert!(matches!(found, FaultKind::UninitializedMemory { space: "shared", .. }), "{found}");
    let found = kind(&format!("{FILL} bar.warp.sync -1; {load}, [%r11+8192];"));
    assert!(matches!(found, FaultKind::OutOfBounds { space: "shared", .. }), "{found}");
    let found = kind(&format!("{FILL} bar.warp.sync -1; {load}, [%r11]; st.shared.u32 [%r11], 0;"));
    assert!(matches!(found, FaultKind::Race { .. }), "read by some, then written by another: {found}");
}
