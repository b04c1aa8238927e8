//! The command line: one file a verb.

mod case;
mod check;
mod compare;
mod compile;
mod config;
mod engine;
mod failure;
mod guard;
mod inputs;
mod memory;
mod ops;
mod options;
mod out;
mod picture;
mod run;
mod sound;
mod source;
mod units;
mod verify;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// Compiles trained networks to machine code and runs them.
#[derive(Parser, Debug)]
#[command(name = "nnc", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Compile a model to an artifact.
    Compile(compile::CompileArgs),
    /// Run a model once.
    Run(run::RunArgs),
    /// Say what stands in a model's way.
    Check(check::CheckArgs),
    /// Run models against expected outputs.
    Verify(verify::VerifyArgs),
    /// List the supported operators.
    Ops(ops::OpsArgs),
}

/// Parses the arguments and does what they say. The exit code is 0 when done, 1 for a bug of nnc,
/// 2 where the model, an input or an option is wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = guard::catch(|| run(&cli)).unwrap_or_else(|message| Err(Failure::internal(message)));
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.verb {
        Some(Verb::Compile(args)) => compile::run(args),
        Some(Verb::Run(args)) => run::run(args),
        Some(Verb::Check(args)) => check::run(args),
        Some(Verb::Verify(args)) => verify::run(args),
        Some(Verb::Ops(args)) => ops::run(args),
        None => Ok(ExitCode::SUCCESS),
    }
}
