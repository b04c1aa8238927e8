//! Calls of the kernels at usual sizes, for measuring them.
//!
//! The caller brings the memory and the clock; what is computed has no meaning. All is checked: a kernel runs
//! only where its contract is the trial's, the CPU has its instruction set and the memory is large enough.

mod peak;

pub use peak::Chains;

use crate::args::{
    DwconvArgs, GemmArgs, I8GemmArgs, NormArgs, PackBArgs, STORE_F32, SoftmaxArgs, UnaryArgs, f32_word,
};
use crate::{Isa, Kernel};
use core::fmt;
use core::ptr::{from_ref, null, null_mut};

/// Floats of a cache line, to which tensors are aligned.
const LINE: usize = 16;

/// The sizes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// Rows, columns, taps, inner elements of a tap.
    Product(usize, usize, usize, usize),
    /// The same of bytes.
    Bytes(usize, usize, usize, usize),
    /// A row of an image: pixels, channels, window.
    Depthwise(usize, usize, usize),
    /// Rows and columns.
    Softmax(usize, usize),
    /// Rows and columns.
    Norm(usize, usize),
    /// Rows and columns.
    Pack(usize, usize),
    /// Elements.
    Tile(usize),
}

/// A call of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    contract: &'static str,
    sizes: Sizes,
}

const fn of(contract: &'static str, sizes: Sizes) -> Trial {
    Trial { contract, sizes }
}

/// The trials, contract by contract.
pub const TRIALS: &[Trial] = &[
    of("f32_gemm", Sizes::Product(128, 768, 1, 768)),
    of("f32_gemm", Sizes::Product(336, 64, 9, 64)),
    of("f32_gemm", Sizes::Product(49, 512, 9, 512)),
    of("f32_gemm", Sizes::Product(4, 768, 1, 768)),
    of("f32_gemm", Sizes::Product(1, 768, 1, 768)),
    of("f32_gemm", Sizes::Product(1, 4096, 1, 4096)),
    of("f32_gemm", Sizes::Product(2048, 1, 1, 256)),
    of("f32_gemm", Sizes::Product(336, 1, 9, 64)),
    of("i8_gemm", Sizes::Bytes(128, 768, 1, 768)),
    of("i8_gemm", Sizes::Bytes(336, 64, 9, 64)),
    of("i8_gemm", Sizes::Bytes(1, 768, 1, 768)),
    of("f32_dwconv", Sizes::Depthwise(112, 32, 3)),
    of("f32_dwconv", Sizes::Depthwise(14, 512, 3)),
    of("f32_dwconv", Sizes::Depthwise(7, 960, 5)),
    of("f32_softmax", Sizes::Softmax(96, 128)),
    of("f32_norm", Sizes::Norm(32, 768)),
    of("f32_pack_b", Sizes::Pack(768, 768)),
    of("f32_exp", Sizes::Tile(1024)),
    of("f32_log", Sizes::Tile(1024)),
    of("f32_tanh", Sizes::Tile(1024)),
    of("f32_erf", Sizes::Tile(1024)),
    of("f32_sigmoid", Sizes::Tile(1024)),
    of("f32_gelu", Sizes::Tile(1024)),
    of("f32_gelu_tanh", Sizes::Tile(1024)),
    of("f32_silu", Sizes::Tile(1024)),
    of("f32_softplus", Sizes::Tile(1024)),
    of("f32_mish", Sizes::Tile(1024)),
    of("f32_sin", Sizes::Tile(1024)),
    of("f32_cos", Sizes::Tile(1024)),
];

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sizes {
            Sizes::Product(m, n, 1, k) | Sizes::Bytes(m, n, 1, k) => write!(f, "{m}x{n}x{k}"),
            Sizes::Product(m, n, t, k) | Sizes::Bytes(m, n, t, k) => write!(f, "{m}x{n}x({t}x{k})"),
            Sizes::Depthwise(w, c, k) => write!(f, "{w}x{c}, {k}x{k}"),
            Sizes::Softmax(rows, n) | Sizes::Norm(rows, n) | Sizes::Pack(rows, n) => write!(f, "{rows}x{n}"),
            Sizes::Tile(n) => write!(f, "{n}"),
        }
    }
}

impl Trial {
    /// The contract that is called.
    pub fn contract(&self) -> &'static str {
        self.contract
    }

    /// Multiplications and additions of a call; `None` where elements are what counts.
    pub fn operations(&self) -> Option<usize> {
        match self.sizes {
            Sizes::Product(m, n, t, k) | Sizes::Bytes(m, n, t, k) => Some(2 * m * n * t * k),
            Sizes::Depthwise(w, c, k) => Some(2 * w * c * k * k),
            Sizes::Softmax(..) | Sizes::Norm(..) | Sizes::Pack(..) | Sizes::Tile(_) => None,
        }
    }

    /// Elements of the result.
    pub fn elements(&self) -> usize {
        match self.sizes {
            Sizes::Product(m, n, ..) | Sizes::Bytes(m, n, ..) => m * n,
            Sizes::Depthwise(w, c, _) => w * c,
            Sizes::Softmax(rows, n) | Sizes::Norm(rows, n) | Sizes::Pack(rows, n) => rows * n,
            Sizes::Tile(n) => n,
        }
    }

    /// Floats of each of the four ranges of memory of a call: the result, two operands, a table.
    fn ranges(&self) -> [usize; 4] {
        let panels = |n: usize| n.next_multiple_of(LINE);
        let pointers = |n: usize| n * size_of::<*const f32>() / size_of::<f32>();
        match self.sizes {
            Sizes::Product(m, n, t, k) => [m * n, m * t * k, panels(n) * t * k, pointers(m * t)],
            // Four bytes to a float; the table is followed by the scales of the columns.
            Sizes::Bytes(m, n, t, k) => {
                let k = k.div_ceil(4);
                [m * n, m * t * k, panels(n) * t * k, pointers(m * t) + n]
            }
            Sizes::Depthwise(w, c, k) => [w * c, w * k * c, k * k * c, 0],
            Sizes::Softmax(rows, n) => [rows * n, rows * n, 0, 0],
            Sizes::Norm(rows, n) => [rows * n, rows * n, n, n],
            Sizes::Pack(k, n) => [k * panels(n), k * n, 0, 0],
            Sizes::Tile(n) => [n, n, 0, 0],
        }
    }

    /// Floats that a call needs.
    pub fn room(&self) -> usize {
        // Each range begins at a line, and so does the first, wherever the memory is.
        self.ranges().iter().map(|n| n.next_multiple_of(LINE)).sum::<usize>() + LINE
    }

    /// The trial with a kernel; `None` where that is for another contract or another CPU. Asking the CPU
    /// takes longer than many a call, so it is done once.
    pub fn with(self, kernel: &'static Kernel) -> Option<Runner> {
        let fits = kernel.contract == self.contract && Isa::available().contains(&kernel.isa);
        fits.then_some(Runner { trial: self, kernel })
    }
}

/// A trial with a kernel of its contract that the CPU can run.
#[derive(Clone, Copy, Debug)]
pub struct Runner {
    trial: Trial,
    kernel: &'static Kernel,
}

impl Runner {
    /// The kernel.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Calls the kernel `times` times; false where the memory is too small.
    pub fn run(&self, room: &mut [f32], times: usize) -> bool {
        let fits = room.len() >= self.trial.room();
        if fits {
            (0..times).for_each(|_| self.call(room));
        }
        fits
    }

    /// Calls the kernel in memory that is large enough, as [`Runner::run`] has checked.
    fn call(&self, room: &mut [f32]) {
        let start = room.as_mut_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let mut rest = &mut room[start..];
        let [dst, a, b, table] = self.trial.ranges().map(|n| {
            let (range, after) = core::mem::take(&mut rest).split_at_mut(n.next_multiple_of(LINE));
            rest = after;
            range
        });
        let call = |args: *const u64| {
            // SAFETY: `args` is the contract's struct over the four ranges, which `ranges` makes large
            // enough for its sizes, and the CPU has the kernel's instruction set, as `with` has checked.
            unsafe { (self.kernel.func)(args) }
        };
        match self.trial.sizes {
            Sizes::Product(m, n, t, k) => {
                let rows = pointers(table, a.as_ptr().cast(), (m, t, k * size_of::<f32>()));
                call(from_ref(&product((m, n, t, k), dst, a, b, rows.cast())).cast());
            }
            Sizes::Bytes(m, n, t, k) => {
                let scales = table.len() - n;
                let (table, scale) = table.split_at_mut(scales);
                let rows = pointers(table, a.as_ptr().cast(), (m, t, k.next_multiple_of(4)));
                call(from_ref(&bytes((m, n, t, k), dst, b, rows, scale)).cast());
            }
            Sizes::Depthwise(w, c, k) => call(from_ref(&depthwise((w, c, k), dst, a, b)).cast()),
            Sizes::Softmax(rows, n) => call(from_ref(&softmax(rows, n, dst, a)).cast()),
            Sizes::Norm(rows, n) => call(from_ref(&norm((rows, n), dst, a, b, table)).cast()),
            Sizes::Pack(k, n) => call(from_ref(&pack(k, n, dst, a)).cast()),
            Sizes::Tile(n) => {
                let (dst, src) = (dst.as_mut_ptr().cast(), a.as_ptr().cast());
                call(from_ref(&UnaryArgs { dst, src, n: n as i64 }).cast());
            }
        }
    }
}

/// Fills a table with the addresses of the rows of all taps: row r of tap t begins `t` times the bytes of a tap
/// after row r.
fn pointers(table: &mut [f32], a: *const u8, (m, taps, tap): (usize, usize, usize)) -> *const *const u8 {
    let start = table.as_mut_ptr().cast::<*const u8>();
    for i in 0..m * taps {
        let at = a.wrapping_add((i % m) * taps * tap + i / m * tap);
        // SAFETY: the table begins at a cache line and has room for `m · taps` pointers.
        unsafe { start.add(i).write(at) };
    }
    start
}

fn product(
    (m, n, taps, kc): (usize, usize, usize, usize),
    c: &mut [f32],
    a: &[f32],
    b: &[f32],
    rows: *const *const f32,
) -> GemmArgs {
    let k = taps * kc;
    GemmArgs {
        c: c.as_mut_ptr(),
        ldc: n as i64,
        m: m as i64,
        n: n as i64,
        rows: if taps > 1 { rows } else { null() },
        rows_stride: m as i64,
        a: a.as_ptr(),
        lda: k as i64,
        taps: taps as i64,
        kc: kc as i64,
        b: b.as_ptr(),
        b_panel_stride: (k * LINE) as i64,
        flags: 0,
        bias: null(),
        scale: null(),
        residual: null(),
        ld_residual: 0,
        lo: 0,
        hi: 0,
        zeros: null(),
    }
}

fn bytes(
    (m, n, taps, kc): (usize, usize, usize, usize),
    c: &mut [f32],
    b: &[f32],
    rows: *const *const u8,
    scale: &[f32],
) -> I8GemmArgs {
    let k = taps * kc.next_multiple_of(4);
    I8GemmArgs {
        c: c.as_mut_ptr().cast(),
        ldc: n as i64,
        m: m as i64,
        n: n as i64,
        rows,
        rows_stride: m as i64,
        a: null(),
        lda: k as i64,
        taps: taps as i64,
        kc: kc as i64,
        b: b.as_ptr().cast(),
        b_panel_stride: (k * LINE) as i64,
        flags: 0,
        store: STORE_F32,
        a_zero: 0,
        b_zero: null(),
        column_sums: null(),
        bias: null(),
        scale: scale.as_ptr(),
        factor: f32_word(1.0),
        float_bias: null(),
        out_zero: 0,
        lo: 0,
        hi: 0,
    }
}

/// One row of an image of as many rows as the window has.
fn depthwise((w, c, k): (usize, usize, usize), out: &mut [f32], x: &[f32], weights: &[f32]) -> DwconvArgs {
    DwconvArgs {
        out: out.as_mut_ptr(),
        out_pixel_stride: c as i64,
        x: x.as_ptr(),
        x_row_stride: (w * c) as i64,
        x_pixel_stride: c as i64,
        h: k as i64,
        w: w as i64,
        c_n: c as i64,
        ow_n: w as i64,
        ih0: 0,
        kh: k as i64,
        kw: k as i64,
        stride_w: 1,
        pad_w: (k / 2) as i64,
        dil_h: 1,
        dil_w: 1,
        weights: weights.as_ptr(),
        w_tap_stride: c as i64,
        bias: null(),
        flags: 0,
        lo: 0,
        hi: 0,
    }
}

fn softmax(rows: usize, n: usize, dst: &mut [f32], src: &[f32]) -> SoftmaxArgs {
    SoftmaxArgs {
        dst: dst.as_mut_ptr(),
        src: src.as_ptr(),
        rows: rows as i64,
        n: n as i64,
        dst_row_stride: n as i64,
        src_row_stride: n as i64,
        mode: 0,
        scale: f32_word(0.125),
        mask: null(),
        mask_row_stride: 0,
        valid_n0: n as i64,
        valid_step: 0,
    }
}

fn norm((rows, n): (usize, usize), dst: &mut [f32], src: &[f32], gamma: &[f32], beta: &[f32]) -> NormArgs {
    NormArgs {
        dst: dst.as_mut_ptr(),
        src: src.as_ptr(),
        rows: rows as i64,
        n: n as i64,
        dst_row_stride: n as i64,
        src_row_stride: n as i64,
        gamma: gamma.as_ptr(),
        beta: beta.as_ptr(),
        eps: f32_word(1e-5),
        mode: 0,
        mean_out: null_mut(),
        inv_std_out: null_mut(),
    }
}

fn pack(k: usize, n: usize, dst: &mut [f32], src: &[f32]) -> PackBArgs {
    PackBArgs {
        dst: dst.as_mut_ptr(),
        src: src.as_ptr(),
        k: k as i64,
        n: n as i64,
        k_stride: n as i64,
        n_stride: 1,
        dst_panel_stride: (k * LINE) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use std::vec;

    #[test]
    fn trials_stay_inside_their_room() {
        let fence = 12345.0f32;
        for trial in TRIALS {
            let mut room = vec![0.25f32; trial.room() + 64];
            let (inside, outside) = room.split_at_mut(trial.room());
            outside.fill(fence);
            let mut ran = 0;
            for kernel in kernels().filter(|k| k.contract == trial.contract()) {
                ran += usize::from(trial.with(kernel).is_some_and(|t| t.run(inside, 2)));
            }
            assert!(ran > 0, "{} {trial}", trial.contract());
            assert!(outside.iter().all(|v| *v == fence), "{} {trial}", trial.contract());
        }
    }

    #[test]
    fn what_does_not_fit_is_not_called() {
        let kernel = kernels().find(|k| k.contract == "f32_exp").expect("the table has it");
        let (exp, log) = (of("f32_exp", Sizes::Tile(64)), of("f32_log", Sizes::Tile(64)));
        let mut room = vec![0.0; exp.room()];
        let runner = exp.with(kernel).expect("it runs everywhere");
        assert!(log.with(kernel).is_none());
        assert!(runner.run(&mut room, 1) && !runner.run(&mut room[1..], 1));
    }

    #[test]
    fn products_are_products() {
        let trial = of("f32_gemm", Sizes::Product(3, 5, 2, 4));
        for kernel in kernels().filter(|k| k.contract == "f32_gemm") {
            let mut room = vec![0.5; trial.room()];
            if trial.with(kernel).is_some_and(|t| t.run(&mut room, 1)) {
                let start = room.as_ptr().align_offset(64);
                // Eight products of halves.
                assert_eq!(room[start..start + 15], [2.0; 15], "{}", kernel.name);
            }
        }
    }
}
