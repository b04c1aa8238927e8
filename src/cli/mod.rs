//! The command line: one file a verb.

mod bench;
mod case;
mod check;
mod compile;
mod config;
mod costs;
mod engine;
mod failure;
mod guard;
mod guide;
mod inputs;
mod kernels;
mod layers;
mod memory;
mod ops;
mod options;
mod out;
mod page;
mod peers;
mod picture;
mod proof;
mod reference;
mod roundtrip;
mod run;
mod show;
mod sound;
mod source;
mod steps;
mod units;
mod verify;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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
    /// Measure latency, throughput and memory.
    Bench(bench::BenchArgs),
    /// Say what stands in a model's way.
    Check(check::CheckArgs),
    /// Run models against expected outputs.
    Verify(verify::VerifyArgs),
    /// Show what the compiler made of a model.
    Show(show::ShowArgs),
    /// List the supported operators.
    Ops(ops::OpsArgs),
    /// Print a script that completes commands in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Explain a verb, or what --json prints.
    Help {
        /// A verb, or "json".
        topic: Option<String>,
    },
}

/// Parses the arguments and does what they say. The exit code is 0 when done, 1 for a bug of nnc,
/// 2 where the model, an input or an option is wrong.
pub(crate) fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let done = guard::catch(|| run(&cli)).unwrap_or_else(|message| Err(Failure::internal(message)));
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn command() -> clap::Command {
    Cli::command().long_version(guide::VERSION.as_str())
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.verb {
        Some(Verb::Compile(args)) => compile::run(args),
        Some(Verb::Run(args)) => run::run(args),
        Some(Verb::Bench(args)) => bench::run(args),
        Some(Verb::Check(args)) => check::run(args),
        Some(Verb::Verify(args)) => verify::run(args),
        Some(Verb::Show(args)) => show::run(args),
        Some(Verb::Ops(args)) => ops::run(args),
        Some(Verb::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "nnc", &mut script);
            out::line(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Some(Verb::Help { topic }) => help(topic.as_deref()),
        None => {
            guide::tour();
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn help(topic: Option<&str>) -> Result<ExitCode, Failure> {
    let mut command = command();
    command.build();
    match topic {
        None => out::line(command.render_long_help().to_string().trim_end()),
        Some("json") => guide::json(),
        Some(verb) => {
            let known: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            let found = command.find_subcommand_mut(verb);
            let found = found.ok_or_else(|| {
                Failure::user(format!("there is no verb \"{verb}\""))
                    .help(format!("verbs are {}, json", known.join(", ")))
            })?;
            out::line(found.render_long_help().to_string().trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
