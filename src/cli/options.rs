//! Options of compilation as they are written on the command line; `config` makes sense of them.

use clap::Args;
use nnc::Precision;

/// What to compile, and how.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CompileOptions {
    /// What to compile for: native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64, riscv64, riscv64+v, cuda, or
    /// cuda:sm_75, cuda:sm_80, cuda:sm_90a for one generation of devices. Several, with commas between
    /// them, go into one artifact: native,cuda.
    #[arg(long, default_value = "native", value_name = "NAME", help_heading = "Compilation")]
    pub(crate) target: String,
    /// Run on this device: cuda:0. What has to be compiled for it is; an artifact needs a target for it.
    #[arg(long, value_name = "NAME", help_heading = "Compilation")]
    pub(crate) device: Option<String>,
    /// How exact products of floats are on devices. f32: as f32 arithmetic, split into bf16 where there are
    /// tensor cores; f32-strict: f32 arithmetic alone; f32-fast: up to 5e-5 off; bf16, f16: operands rounded
    /// to these. CPUs compute in f32 in every class.
    #[arg(long, default_value = "f32", value_name = "CLASS", value_parser = precision, help_heading = "Compilation")]
    pub(crate) precision: Precision,
    /// 0: a kernel for each operator, no rewriting of the graph; 1 to 3: all optimizations
    /// (3 searches no further than 2).
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3), help_heading = "Compilation")]
    pub(crate) level: u8,
    /// Stop after so many rewrites, to find the one that goes wrong.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true, help_heading = "Compilation")]
    pub(crate) fuel: u64,
    /// Fix a dimension (batch=8) or bound it (seq=1..512); may be given several times.
    #[arg(long = "dim", value_name = "NAME=SIZE", help_heading = "Compilation")]
    pub(crate) dims: Vec<String>,
    /// Values to compute in place of the model's outputs.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Compilation")]
    pub(crate) outputs: Vec<String>,
}

fn precision(text: &str) -> Result<Precision, String> {
    let known = || Precision::ALL.map(Precision::name).join(", ");
    Precision::from_name(text).ok_or_else(|| format!("expected one of {}", known()))
}
