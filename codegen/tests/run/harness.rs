//! Compiles kernels, runs them in this process, and compares the bytes with the interpreter's.

use nnc_codegen::cpu::{CpuTarget, Module, compile};
use nnc_ir::tile::interp::{Memory, grid_points, interpret};
use nnc_ir::tile::{Kernel, verify};
use nnc_ir::{DType, ScalarOp, Sym};
use nnc_tensor::formats;

type Entry = extern "C" fn(*const usize, *const *mut u8, *const i64, *mut u8, i64, i64);

/// Bytes before and after every buffer that must not change.
const MARGIN: usize = 256;
const CANARY: u8 = 0x5c;

/// Code that can be run.
pub(crate) struct Loaded {
    base: *mut libc::c_void,
    len: usize,
    module: Module,
    table: Vec<usize>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: base and len come from the mapping made in `load`; nothing refers to it any more.
        unsafe { libc::munmap(self.base, self.len) };
    }
}

pub(crate) fn load(kernels: &[Kernel], target: &CpuTarget) -> Loaded {
    let module = compile(kernels, target).expect("the kernels compile");
    let len = module.code.len().max(1);
    // SAFETY: an anonymous mapping of at least one byte, checked below.
    let base = unsafe {
        let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), len, rw, flags, -1, 0)
    };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: the mapping has the code's length and nobody else knows it.
    unsafe {
        std::ptr::copy_nonoverlapping(module.code.as_ptr(), base.cast(), module.code.len());
        assert_eq!(libc::mprotect(base, len, libc::PROT_READ | libc::PROT_EXEC), 0);
    }
    let table = module.contracts.iter().map(|c| tile_function(&c.name)).collect();
    Loaded { base, len, module, table }
}

impl Loaded {
    pub(crate) fn run(
        &self,
        kernel: usize,
        buffers: &mut [Guarded],
        sizes: &dyn Fn(&Sym) -> Option<i64>,
        points: &[i64],
    ) {
        let function = &self.module.functions[kernel];
        let dims: Vec<i64> = function.dims.iter().map(|d| d.eval(sizes).expect("a known size")).collect();
        let scratch_len = function.scratch.eval(sizes).expect("a known size") as usize;
        let mut scratch = Guarded::new(&vec![0xa5; scratch_len]);
        let pointers: Vec<*mut u8> = buffers.iter_mut().map(Guarded::pointer).collect();
        // SAFETY: the offset lies in the mapping, which holds a function of this signature there.
        let entry: Entry =
            unsafe { std::mem::transmute::<*mut u8, Entry>(self.base.cast::<u8>().add(function.offset)) };
        for range in points.windows(2) {
            entry(
                self.table.as_ptr(),
                pointers.as_ptr(),
                dims.as_ptr(),
                scratch.pointer(),
                range[0],
                range[1],
            );
        }
        scratch.check("scratch");
    }
}

/// A buffer at a multiple of 64 bytes between margins.
pub(crate) struct Guarded {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Guarded {
    pub(crate) fn new(content: &[u8]) -> Guarded {
        let mut bytes = vec![CANARY; content.len() + 2 * MARGIN + 64];
        let start = MARGIN + bytes[MARGIN..].as_ptr().align_offset(64);
        bytes[start..start + content.len()].copy_from_slice(content);
        Guarded { bytes, start, len: content.len() }
    }

    fn pointer(&mut self) -> *mut u8 {
        self.bytes[self.start..].as_mut_ptr()
    }

    fn content(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn check(&self, what: &str) {
        let outside = self.bytes[..self.start].iter().chain(&self.bytes[self.start + self.len..]);
        assert!(outside.copied().all(|b| b == CANARY), "{what} was overrun");
    }
}

/// The targets whose code this machine can run.
pub(crate) fn targets() -> Vec<CpuTarget> {
    let native = CpuTarget::parse("native").expect("a supported machine");
    let mut all = vec![native];
    for name in ["x86-64-v2", "x86-64-v3"] {
        let target = CpuTarget::parse(name).expect("a known name");
        if target.arch == native.arch && target.level < native.level {
            all.push(target);
        }
    }
    all
}

/// Targets whose code is made but not run.
const FOREIGN: &[&str] =
    if cfg!(feature = "all-targets") { &["aarch64", "riscv64", "riscv64+v"] } else { &[] };

/// What is compared and how.
pub(crate) struct Case<'a> {
    pub(crate) kernel: &'a Kernel,
    /// Greatest difference of floats, relative to the expected value plus one.
    pub(crate) tolerance: f64,
    /// Sizes and the buffers' contents, run by run.
    pub(crate) runs: Vec<(Sizes, Vec<Vec<u8>>)>,
}

/// Values of named sizes.
pub(crate) type Sizes = Vec<(&'static str, i64)>;

/// The value of a symbol.
pub(crate) fn value(sizes: &Sizes, s: &Sym) -> Option<i64> {
    sizes.iter().find(|(n, _)| Sym::new(*n) == *s).map(|(_, v)| *v)
}

/// Runs a kernel on every target, its grid whole and in parts, against the interpreter.
pub(crate) fn check(case: &Case<'_>) {
    let kernel = case.kernel;
    verify(kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let all: Vec<(CpuTarget, Loaded)> =
        targets().into_iter().map(|t| (t, load(std::slice::from_ref(kernel), &t))).collect();
    for name in FOREIGN {
        let target = CpuTarget::parse(name).expect("a known name");
        compile(std::slice::from_ref(kernel), &target).unwrap_or_else(|e| panic!("{name}: {e}\n{kernel}"));
    }
    for (sizes, inputs) in &case.runs {
        let symbol = |s: &Sym| value(sizes, s);
        let points = grid_points(kernel, &symbol).expect("a grid");
        let expected = interpret(kernel, inputs.clone(), 0..points, &symbol, &mut interpreted)
            .unwrap_or_else(|e| panic!("{e}\n{kernel}"));
        for (target, loaded) in &all {
            let each: Vec<i64> = (0..=points.min(40)).chain([points]).collect();
            for split in [vec![0, points], vec![0, points / 3, points], each] {
                let mut buffers: Vec<Guarded> = inputs.iter().map(|b| Guarded::new(b)).collect();
                loaded.run(0, &mut buffers, &symbol, &split);
                for (i, (buffer, wanted)) in buffers.iter().zip(&expected).enumerate() {
                    buffer.check("a buffer");
                    compare(kernel.params[i].dtype, buffer.content(), wanted, case.tolerance).unwrap_or_else(
                        |e| panic!("{target}, sizes {sizes:?}, parameter {i}: {e}\n{kernel}"),
                    );
                }
            }
        }
    }
}

fn compare(dtype: DType, found: &[u8], wanted: &[u8], tolerance: f64) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    let size = dtype.size();
    for (at, (x, y)) in found.chunks(size).zip(wanted.chunks(size)).enumerate() {
        if x != y && !close(dtype, x, y, tolerance) {
            let (a, b) = (number(dtype, x), number(dtype, y));
            return Err(format!("element {at} is {a:?} ({x:02x?}), expected {b:?} ({y:02x?})"));
        }
    }
    Ok(())
}

fn close(dtype: DType, x: &[u8], y: &[u8], tolerance: f64) -> bool {
    let (Some(a), Some(b)) = (number(dtype, x), number(dtype, y)) else { return false };
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * (1.0 + b.abs())
}

fn number(dtype: DType, bytes: &[u8]) -> Option<f64> {
    match dtype {
        DType::F32 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        DType::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        DType::F16 | DType::BF16 => formats::decode(dtype, u16::from_le_bytes(bytes.try_into().ok()?)),
        d if d.is_float() => formats::decode(d, u16::from(bytes[0])),
        _ => None,
    }
}

/// A generator of test data (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 33) % n
    }

    /// Between -4 and 4.
    pub(crate) fn float(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * 8.0 - 4.0
    }

    /// `n` elements of moderate size.
    pub(crate) fn elements(&mut self, dtype: DType, n: usize) -> Vec<u8> {
        match dtype {
            DType::F32 => (0..n).flat_map(|_| (self.float() as f32).to_le_bytes()).collect(),
            DType::F64 => (0..n).flat_map(|_| self.float().to_le_bytes()).collect(),
            DType::Bool => (0..n).map(|_| self.below(2) as u8).collect(),
            DType::F16 | DType::BF16 => (0..n)
                .flat_map(|_| formats::encode(dtype, self.float(), true).unwrap_or(0).to_le_bytes())
                .collect(),
            d => (0..d.bytes_for(n).expect("a size")).map(|_| self.bits() as u8).collect(),
        }
    }
}

/// The microkernels that the interpreter calls.
fn interpreted(contract: &str, _: u32, words: &[u64], memory: &mut Memory) -> Result<(), String> {
    let (name, dtype) = (&contract[4..], &contract[..3]);
    let n = words[words.len() - 1] as usize;
    let op = op_of(name).ok_or("an unknown contract")?;
    for i in 0..n {
        let mut operands = [0.0; 2];
        for (operand, address) in operands.iter_mut().zip(&words[1..words.len() - 1]) {
            let bytes = memory.at(*address)?;
            *operand = match dtype {
                "f32" => f64::from(f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("4 bytes"))),
                _ => f64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("8 bytes")),
            };
        }
        let result = op.on_floats().ok_or("a float function")?(operands[0], operands[1]);
        let bytes = memory.at(words[0])?;
        match dtype {
            "f32" => bytes[4 * i..4 * i + 4].copy_from_slice(&(result as f32).to_le_bytes()),
            _ => bytes[8 * i..8 * i + 8].copy_from_slice(&result.to_le_bytes()),
        }
    }
    Ok(())
}

fn op_of(name: &str) -> Option<ScalarOp> {
    if name == "fmod" { Some(ScalarOp::Rem) } else { ScalarOp::from_name(name) }
}

macro_rules! tile_functions {
    ($($name:ident $wide:ident $op:ident $operands:literal;)*) => {
        $(
            extern "C" fn $name(words: *const u64) { apply::<f32>(ScalarOp::$op, $operands, words) }
            extern "C" fn $wide(words: *const u64) { apply::<f64>(ScalarOp::$op, $operands, words) }
        )*
        /// The address of a microkernel.
        fn tile_function(contract: &str) -> usize {
            let found: extern "C" fn(*const u64) = match contract {
                $(stringify!($name) => $name, stringify!($wide) => $wide,)*
                _ => panic!("no microkernel {contract}"),
            };
            found as *const () as usize
        }
    };
}

tile_functions! {
    f32_exp f64_exp Exp 1; f32_log f64_log Log 1; f32_sin f64_sin Sin 1; f32_cos f64_cos Cos 1;
    f32_tan f64_tan Tan 1; f32_asin f64_asin Asin 1; f32_acos f64_acos Acos 1; f32_atan f64_atan Atan 1;
    f32_sinh f64_sinh Sinh 1; f32_cosh f64_cosh Cosh 1; f32_tanh f64_tanh Tanh 1;
    f32_asinh f64_asinh Asinh 1; f32_acosh f64_acosh Acosh 1; f32_atanh f64_atanh Atanh 1;
    f32_sigmoid f64_sigmoid Sigmoid 1; f32_softplus f64_softplus Softplus 1; f32_erf f64_erf Erf 1;
    f32_gelu f64_gelu Gelu 1; f32_gelu_tanh f64_gelu_tanh GeluTanh 1; f32_silu f64_silu Silu 1;
    f32_mish f64_mish Mish 1; f32_pow f64_pow Pow 2; f32_atan2 f64_atan2 Atan2 2; f32_fmod f64_fmod Rem 2;
}

trait Number: Copy {
    fn get(self) -> f64;
    fn of(v: f64) -> Self;
}

impl Number for f32 {
    fn get(self) -> f64 {
        f64::from(self)
    }
    fn of(v: f64) -> f32 {
        v as f32
    }
}

impl Number for f64 {
    fn get(self) -> f64 {
        self
    }
    fn of(v: f64) -> f64 {
        v
    }
}

fn apply<T: Number>(op: ScalarOp, operands: usize, words: *const u64) {
    // SAFETY: generated code passes dst, one or two sources and a count, as the contracts say.
    let words = unsafe { std::slice::from_raw_parts(words, operands + 2) };
    let f = op.on_floats().expect("a float function");
    for i in 0..words[operands + 1] as usize {
        let element = |k: usize| (words[k] as *mut T).wrapping_add(i);
        // SAFETY: every pointer is good for the count of elements beside it.
        unsafe {
            let (x, y) = (element(1).read(), element(operands).read());
            element(0).write(T::of(f(x.get(), y.get())));
        }
    }
}
