//! The most that the CPU's multiply-add units give: independent chains of them in registers.

use crate::simd::{F32x16, LANES};
use crate::{Isa, Kernel};

/// Turns of the chains of one call.
const ROUNDS: usize = 20_000;

/// What a row reads and writes.
#[repr(C)]
struct Args {
    factor: f32,
    sum: *mut f32,
}

/// Runs `N` chains, enough to hide an instruction's latency and few enough to stay in registers.
///
/// # Safety
/// The CPU has the vector's instruction set, and the sum may be written.
#[inline(always)]
unsafe fn run<V: F32x16, const N: usize>(args: &Args) {
    let factor = V::splat(args.factor);
    let mut sums = [factor; N];
    // Chains that begin alike could be made one.
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = V::splat(i as f32);
    }
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, factor);
        }
    }
    let mut total = 0.0;
    for sum in &sums {
        total += sum.sum();
    }
    // SAFETY: as promised.
    unsafe { args.sum.write(total) };
}

/// Chains of vectors of 16, by instruction set.
const fn chains(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 | Isa::Avx512Vnni => 12,
        Isa::Neon | Isa::NeonDot | Isa::Avx2 => 6,
        Isa::Portable => 2,
    }
}

macro_rules! rows {
    ($(#[$cfg:meta])* $file:ident, $vector:ident $(, $features:literal)?) => {
        $(#[$cfg])*
        mod $file {
            use crate::Isa;
            use crate::simd::$vector;

            kernel_rows! { $vector $(, $features)?;
                chains: "chains" v1 (1, 16) => |args| super::run::<$vector, { super::chains(Isa::$vector) }>(args);
            }
        }
    };
}

rows!(portable, Portable);
rows!(
    #[cfg(target_arch = "x86_64")]
    avx2,
    Avx2,
    "avx2,fma,f16c"
);
rows!(
    #[cfg(target_arch = "x86_64")]
    avx512,
    Avx512,
    "avx512f,avx512bw,avx512vl,avx512dq"
);
rows!(
    #[cfg(target_arch = "aarch64")]
    neon,
    Neon
);

const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx512::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
];

/// Chains of multiply-adds in the registers of an instruction set that the CPU has.
#[derive(Clone, Copy, Debug)]
pub struct Chains(&'static Kernel);

impl Chains {
    /// Those of an instruction set; `None` where the CPU does not have it, or it has none of its own.
    pub fn of(isa: Isa) -> Option<Chains> {
        let row = ROWS.iter().flat_map(|rows| rows.iter()).find(|row| row.isa == isa)?;
        Isa::available().contains(&isa).then_some(Chains(row))
    }

    /// Multiplications and additions of a run.
    pub fn operations(&self) -> usize {
        2 * chains(self.0.isa) * LANES * ROUNDS
    }

    /// Runs them for some microseconds.
    pub fn run(&self) {
        let mut sum = 0.0;
        let args = Args { factor: core::hint::black_box(0.5), sum: &raw mut sum };
        // SAFETY: the CPU has the instruction set, and the struct is the one that the rows take.
        unsafe { (self.0.func)(core::ptr::from_ref(&args).cast()) };
        core::hint::black_box(sum);
    }
}
