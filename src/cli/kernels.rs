//! `nnc bench --kernels`: the rate of each microkernel on this machine, and which one programs get.

use super::failure::Failure;
use super::out::{print_table, say, spinner, table};
use nnc_runtime::trial::{Chains, Runner, TRIALS, Trial};
use nnc_runtime::{Isa, Kernel, kernels, lookup};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Turns that the kernels of a contract take, so that a slow spell of the machine meets all of them.
const ROUNDS: u32 = 10;
/// Seconds that a sample lasts at least: reading the clock takes time.
const SAMPLE: f64 = 20e-6;
/// Measurements at most before a chooser is said to be wrong.
const TRIES: usize = 3;
/// What the chooser's kernel may lose to the fastest one.
const LOSS: f64 = 1.1;

/// A kernel's best time of one call.
struct Measured {
    runner: Runner,
    /// Calls of a sample.
    times: usize,
    seconds: f64,
    picked: bool,
}

impl Measured {
    fn kernel(&self) -> &'static Kernel {
        self.runner.kernel()
    }
}

/// Measures every kernel that this CPU can run, for `time` each, on one thread. With `holds`, a
/// chooser that does not take about the fastest is a failure.
pub(crate) fn run(time: Duration, holds: bool, json: bool) -> Result<ExitCode, Failure> {
    let bar = spinner("measuring");
    let peak = peak(time);
    let mut rows = table(&["contract", "sizes", "kernel", "rate", "of peak", "picked"]);
    let mut slower = Vec::new();
    for trial in TRIALS {
        bar.set_message(format!("measuring {}", trial.contract()));
        let measured = measure(trial, time);
        for m in &measured {
            if json {
                say!("{}", to_json(trial, m, peak));
            } else {
                rows.add_row(cells(trial, m, peak));
            }
        }
        slower.extend(loss(trial, &measured));
    }
    bar.finish_and_clear();
    if !json {
        print_table(&rows);
        say!("one thread, f32 multiply-adds in registers: {:.1} GFLOP/s", peak * 1e-9);
    }
    if holds && !slower.is_empty() {
        let headline = "a kernel that is not picked is more than 10 % faster".to_owned();
        let help =
            "measure again on a quiet machine; if it stays, it is a bug of nnc, please report it".to_owned();
        return Err(Failure { headline, causes: slower, help: Some(help), internal: true });
    }
    Ok(ExitCode::SUCCESS)
}

/// Operations a second of the best instruction set.
fn peak(time: Duration) -> f64 {
    let rate = |chains: Chains| {
        let best = best_of(time.as_secs_f64(), &mut || chains.run());
        chains.operations() as f64 / best
    };
    Isa::available().iter().filter_map(|isa| Chains::of(*isa)).map(rate).fold(0.0, f64::max)
}

/// The shortest time of the calls that fill some seconds, at least of one.
fn best_of(limit: f64, call: &mut dyn FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while best.is_infinite() || begin.elapsed().as_secs_f64() < limit {
        let start = Instant::now();
        call();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Measures all kernels of a contract; again where the picked one seems slower, as a busy machine may do.
fn measure(trial: &Trial, time: Duration) -> Vec<Measured> {
    let mut room = vec![0.5f32; trial.room()];
    let picked = lookup(trial.contract(), Isa::detect_best()).map(|k| k.name);
    let mut measured: Vec<Measured> = Vec::new();
    for runner in kernels().filter_map(|k| trial.with(k)) {
        // The first call brings code and memory near.
        runner.run(&mut room, 1);
        let once = best_of(0.0, &mut || _ = runner.run(&mut room, 1));
        let times = (SAMPLE / once.max(1e-9)).ceil().clamp(1.0, 1000.0) as usize;
        let picked = picked == Some(runner.kernel().name);
        measured.push(Measured { runner, times, seconds: f64::INFINITY, picked });
    }
    let slice = time.as_secs_f64() / f64::from(ROUNDS);
    for _ in 0..TRIES {
        for _ in 0..ROUNDS {
            for m in &mut measured {
                let best = best_of(slice, &mut || _ = m.runner.run(&mut room, m.times));
                m.seconds = m.seconds.min(best / m.times as f64);
            }
        }
        if loss(trial, &measured).is_none() {
            break;
        }
    }
    measured
}

/// The picked kernel and the fastest one, where they are too far apart.
fn loss(trial: &Trial, measured: &[Measured]) -> Option<String> {
    let fastest = measured.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    let picked = measured.iter().find(|m| m.picked)?;
    let ratio = picked.seconds / fastest.seconds;
    (ratio > LOSS).then(|| {
        let (name, other) = (picked.kernel().name, fastest.kernel().name);
        format!("{} {trial}: {name} takes {ratio:.2} times as long as {other}", trial.contract())
    })
}

/// What is counted, how many a second, and the part of the peak.
fn rate(trial: &Trial, m: &Measured, peak: f64) -> (&'static str, f64, Option<f64>) {
    match trial.operations() {
        Some(n) => {
            let rate = n as f64 / m.seconds;
            ("operations", rate, Some(rate / peak).filter(|s| s.is_finite()))
        }
        None => ("elements", trial.elements() as f64 / m.seconds, None),
    }
}

fn cells(trial: &Trial, m: &Measured, peak: f64) -> [String; 6] {
    let (what, rate, share) = rate(trial, m, peak);
    let unit = if what == "operations" { "GFLOP/s" } else { "G elements/s" };
    let share = share.map_or(String::new(), |s| format!("{:.0} %", 100.0 * s));
    let picked = if m.picked { "yes" } else { "" };
    let rate = format!("{:.2} {unit}", rate * 1e-9);
    [trial.contract().into(), trial.to_string(), m.kernel().name.into(), rate, share, picked.into()]
}

fn to_json(trial: &Trial, m: &Measured, peak: f64) -> serde_json::Value {
    let (what, rate, share) = rate(trial, m, peak);
    json!({
        "contract": trial.contract(), "sizes": trial.to_string(), "kernel": m.kernel().name,
        "isa": m.kernel().isa.name(), "rate": rate, "of": what, "peak": peak, "share": share,
        "seconds": m.seconds, "picked": m.picked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slower_choice_is_named() {
        let all: Vec<Runner> = kernels().filter_map(|k| TRIALS[0].with(k)).collect();
        let (first, second) = (all[0], all[all.len() - 1]);
        let at = |runner, seconds, picked| Measured { runner, times: 1, seconds, picked };
        assert_eq!(loss(&TRIALS[0], &[at(first, 1.0, false), at(second, 1.05, true)]), None);
        let said = loss(&TRIALS[0], &[at(first, 1.0, false), at(second, 1.2, true)]).unwrap_or_default();
        assert!(said.contains("takes 1.20 times as long"), "{said}");
    }
}
