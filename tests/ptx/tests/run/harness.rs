//! Small modules from tables of instructions, run and compared. Where an assembler is at hand, by the
//! variable `NNC_PTXAS` or on the path, it must take every module too.

use nnc_ptx::{Fault, Memory, Module};
use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;

/// A module's head; kernels follow.
pub(crate) fn head(target: &str) -> String {
    let version = if target == "sm_75" { "7.0" } else { "8.0" };
    format!(".version {version}\n.target {target}\n.address_size 64\n")
}

/// Parses a module, and has it assembled where that is possible.
pub(crate) fn module(text: &str) -> Module {
    assemble(text);
    Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn assembler() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        let name = std::env::var("NNC_PTXAS").unwrap_or_else(|_| "ptxas".to_owned());
        let runs = Command::new(&name).arg("--version").output().is_ok();
        if !runs {
            eprintln!("no ptxas: modules are interpreted but not assembled");
        }
        runs.then_some(name)
    };
    FOUND.get_or_init(find).as_deref()
}

fn assemble(text: &str) {
    let Some(ptxas) = assembler() else { return };
    let target = text.split(".target ").nth(1).and_then(|t| t.split_whitespace().next()).expect("a target");
    let id = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(format!("nnc-ptx-{}.ptx", id.replace(['(', ')'], "")));
    std::fs::write(&path, text).expect("a temporary file");
    let run = Command::new(ptxas).args(["-arch", target, "-o", "/dev/null"]).arg(&path).output();
    let run = run.expect("the assembler starts");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{said}\n{text}");
    std::fs::remove_file(path).expect("the temporary file is there");
}

/// An instruction, the widths of its result and of its sources, the sources, the expected result.
pub(crate) type Case<'a> = (&'a str, u32, &'a [(u32, u64)], u64);

/// Runs each instruction once and compares all results, by all of its failures.
pub(crate) fn check(target: &str, cases: &[Case<'_>]) {
    let mut text = format!("{}.visible .entry k(.param .u64 out) {{\n.reg .u64 %out;\n", head(target));
    text.push_str("ld.param.u64 %out, [out];\n");
    for (n, (op, bits, sources, _)) in cases.iter().enumerate() {
        writeln!(text, "{{ .reg .b{bits} d;").expect("text");
        let mut names = vec!["d".to_owned()];
        for (i, (bits, value)) in sources.iter().enumerate() {
            writeln!(text, ".reg .b{bits} s{i}; mov.b{bits} s{i}, {value:#x};").expect("text");
            names.push(format!("s{i}"));
        }
        // What follows a blank is a last operand that is written out.
        let (op, last) = op.split_once(' ').unwrap_or((op, ""));
        names.extend((!last.is_empty()).then(|| last.to_owned()));
        writeln!(text, "{op} {};\nst.global.b{bits} [%out+{}], d; }}", names.join(", "), 8 * n)
            .expect("text");
    }
    text.push_str("ret;\n}\n");
    let mut memory = Memory::new();
    let out = memory.alloc(8 * cases.len());
    memory.write(out, &vec![0; 8 * cases.len()]).expect("in bounds");
    module(&text)
        .launch(&mut memory, "k", [1; 3], [1; 3], 0, &out.to_le_bytes())
        .unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let results = memory.read(out, 8 * cases.len()).expect("written");
    let mut wrong = Vec::new();
    for ((op, _, sources, expected), found) in cases.iter().zip(results.chunks_exact(8)) {
        let found = u64::from_le_bytes(found.try_into().expect("eight bytes"));
        if found != *expected {
            wrong.push(format!("{op} {sources:x?}: expected {expected:#x}, found {found:#x}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A device with arrays, each the `n`-th parameter.
#[derive(Default)]
pub(crate) struct Device {
    pub(crate) memory: Memory,
    pub(crate) params: Vec<u8>,
    addresses: Vec<(u64, usize)>,
}

impl Device {
    /// An array with values as the next parameter.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        let address = self.output(bytes.len());
        self.memory.write(address, bytes).expect("in bounds");
    }

    /// An array without values as the next parameter.
    pub(crate) fn output(&mut self, bytes: usize) -> u64 {
        let address = self.memory.alloc(bytes);
        self.addresses.push((address, bytes));
        self.params.extend_from_slice(&address.to_le_bytes());
        address
    }

    pub(crate) fn run(&mut self, module: &Module, grid: [u32; 3], block: [u32; 3]) -> Result<(), Fault> {
        let name = module.kernels().next().expect("a kernel").to_owned();
        module.launch(&mut self.memory, &name, grid, block, 0, &self.params).map(|_| ())
    }

    /// The bytes of the `n`-th array.
    pub(crate) fn bytes(&self, n: usize) -> &[u8] {
        let (address, bytes) = self.addresses[n];
        self.memory.read(address, bytes).expect("every byte is written")
    }

    pub(crate) fn f32s(&self, n: usize) -> Vec<f32> {
        self.bytes(n).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect()
    }

    pub(crate) fn u32s(&self, n: usize) -> Vec<u32> {
        self.bytes(n).chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four"))).collect()
    }
}

/// The bytes of some numbers.
pub(crate) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Small numbers that do not repeat soon.
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i * 37 + seed * 101) % 64) as f32 / 8.0 - 4.0).collect()
}

/// Runs a kernel of one block whose body ends by leaving a 32-bit value of each thread in `%r0`; `%t` is
/// the thread's number.
pub(crate) fn per_thread(target: &str, threads: u32, body: &str) -> Result<Vec<u32>, Fault> {
    let text = format!(
        "{}.visible .entry k(.param .u64 out) {{\n.reg .pred %p<8>;\n.reg .b16 %h<4>;\n.reg .b32 %r<16>, %t;\n\
         .reg .f32 %f<8>;\n.reg .b64 %rd<8>, %out, %at;\n.shared .align 16 .b8 smem[8192];\n\
         ld.param.u64 %out, [out];\nmov.u32 %t, %tid.x;\nmad.wide.u32 %at, %t, 4, %out;\n\
         {body}\nst.global.b32 [%at], %r0;\nret;\n}}\n",
        head(target)
    );
    let mut device = Device::default();
    device.output(4 * threads as usize);
    device.run(&module(&text), [1; 3], [threads, 1, 1])?;
    Ok(device.u32s(0))
}
