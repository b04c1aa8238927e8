//! Runs cases of the standard by the interpreter of PTX: `ptx-cases [--sm NAME] [--most N] FOLDER...` prints a
//! line of JSON for each, as `nnc verify --json` does. They are compiled for a generation of devices, sm_80 if
//! none is named. A case that takes more than N instructions fails.
#![forbid(unsafe_code)]

use nnc_tests::standard::{self, CaseError, Generation};
use serde_json::json;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

/// Threads of tests have less; models nest deeper than tests do.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let mut cases: Vec<String> = std::env::args().skip(1).collect();
    let (mut most, mut generation) = (u64::MAX, Generation::SM_80);
    if let [option, name, ..] = cases.as_slice()
        && option == "--sm"
    {
        let Some(named) = Generation::from_name(name) else { return ExitCode::FAILURE };
        generation = named;
        cases.drain(..2);
    }
    if let [option, n, ..] = cases.as_slice()
        && option == "--most"
    {
        let Ok(n) = n.parse() else { return ExitCode::FAILURE };
        most = n;
        cases.drain(..2);
    }
    let work = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        // All are run: one that fails must not hide the next.
        let passed: Vec<bool> = cases.iter().map(|case| report(case, generation, most)).collect();
        passed.into_iter().all(|p| p)
    });
    match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Prints how a case ended; whether it passed.
fn report(case: &str, generation: Generation, most: u64) -> bool {
    let begin = std::time::Instant::now();
    let run = catch_unwind(AssertUnwindSafe(|| standard::run(Path::new(case), generation)));
    let (status, message, instructions) = match run {
        Ok(Ok(passed)) if passed.instructions > most => {
            ("fail", format!("{} instructions", passed.instructions), passed.instructions)
        }
        Ok(Ok(passed)) => ("pass", String::new(), passed.instructions),
        Ok(Err(e)) => {
            let status = match e {
                CaseError::Unsupported(_) => "unsupported",
                CaseError::Failed(_) => "error",
                CaseError::Wrong(_) => "fail",
            };
            (status, e.to_string(), 0)
        }
        Err(_) => ("error", "internal: panic".to_owned(), 0),
    };
    let seconds = begin.elapsed().as_secs_f64();
    let line = json!({ "case": case, "status": status, "message": message, "instructions": instructions,
        "seconds": seconds });
    let written = writeln!(std::io::stdout(), "{line}");
    written.is_ok() && status == "pass"
}
