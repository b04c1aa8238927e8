//! Where a run's time goes: events in order, a table by kernel, a trace for Chrome's viewer.

use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// One executed step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileEvent {
    /// Number of the step at the plan's top level.
    pub step: usize,
    /// The node of the model; empty for copies.
    pub node: String,
    /// Kernel or routine.
    pub kernel: String,
    /// Nanoseconds from the profile's making to the step's begin.
    pub start_ns: u64,
    /// Nanoseconds that the step took.
    pub duration_ns: u64,
    /// Bytes of all its buffers.
    pub bytes: u64,
    /// It ran on a device, by whose clock it was timed.
    pub on_device: bool,
}

/// The events of one node and kernel together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileRow {
    /// The node of the model.
    pub node: String,
    /// Kernel or routine.
    pub kernel: String,
    /// Number of events.
    pub calls: u64,
    /// Nanoseconds of all calls.
    pub total_ns: u64,
    /// Bytes of all calls.
    pub bytes: u64,
    /// Part of the time of all rows, from 0 to 1.
    pub share: f64,
}

/// The times of the steps of one or more runs.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// In the order of execution.
    pub events: Vec<ProfileEvent>,
    /// Nanoseconds that it took to find or make the binding of the inputs' shapes, in the last run.
    pub binding_ns: u64,
    /// Nanoseconds from the profile's making to the begin of that.
    pub binding_start_ns: u64,
    #[serde(skip)]
    epoch: Instant,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile { events: Vec::new(), binding_ns: 0, binding_start_ns: 0, epoch: Instant::now() }
    }
}

impl Profile {
    /// Records a step that began at `start` and ends now.
    pub(crate) fn record(&mut self, step: usize, node: &str, kernel: &str, start: Instant, bytes: u64) {
        self.events.push(ProfileEvent {
            step,
            node: node.to_owned(),
            kernel: kernel.to_owned(),
            start_ns: ns(start.saturating_duration_since(self.epoch)),
            duration_ns: ns(start.elapsed()),
            bytes,
            on_device: false,
        });
    }

    /// Records a launch on a device, whose times [`Profile::place_on_device`] will tell.
    pub(crate) fn record_on_device(
        &mut self,
        step: usize,
        node: &str,
        kernel: &str,
        start: Instant,
        bytes: u64,
    ) {
        self.record(step, node, kernel, start, bytes);
        if let Some(event) = self.events.last_mut() {
            event.on_device = true;
        }
    }

    /// Gives the launches on a device after the first `before` events their times: begin and end of each, in
    /// nanoseconds from `epoch` on.
    pub(crate) fn place_on_device(&mut self, before: usize, epoch: Instant, times: &[u64]) {
        let epoch = ns(epoch.saturating_duration_since(self.epoch));
        let events = self.events.iter_mut().skip(before).filter(|e| e.on_device);
        for (event, time) in events.zip(times.chunks_exact(2)) {
            event.start_ns = epoch + time[0];
            event.duration_ns = time[1].saturating_sub(time[0]);
        }
    }

    /// Records the time that sizes took, which began at `start` and ends now.
    pub(crate) fn record_binding(&mut self, start: Instant) {
        self.binding_start_ns = ns(start.saturating_duration_since(self.epoch));
        self.binding_ns = ns(start.elapsed());
    }

    /// One row per node and kernel, the slowest first.
    pub fn table(&self) -> Vec<ProfileRow> {
        let mut rows: Vec<ProfileRow> = Vec::new();
        let mut index: HashMap<(&str, &str), usize> = HashMap::new();
        let total: u64 = self.events.iter().map(|e| e.duration_ns).sum();
        for e in &self.events {
            let at = *index.entry((&e.node, &e.kernel)).or_insert_with(|| {
                let (node, kernel) = (e.node.clone(), e.kernel.clone());
                rows.push(ProfileRow { node, kernel, calls: 0, total_ns: 0, bytes: 0, share: 0.0 });
                rows.len() - 1
            });
            rows[at].calls += 1;
            rows[at].total_ns += e.duration_ns;
            rows[at].bytes += e.bytes;
        }
        for row in &mut rows {
            row.share = row.total_ns as f64 / total.max(1) as f64;
        }
        rows.sort_by_key(|r| std::cmp::Reverse(r.total_ns));
        rows
    }

    /// The events in the Trace Event Format, which chrome://tracing and Perfetto read.
    pub fn chrome_trace(&self) -> String {
        let (start, duration) = (micros(self.binding_start_ns), micros(self.binding_ns));
        let mut out = format!(
            "[\n{{\"name\":\"bind sizes\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{start},\"dur\":{duration}}}"
        );
        let on_device = self.events.iter().any(|e| e.on_device);
        for (row, name) in [(1, "host"), (2, "device")].iter().filter(|_| on_device) {
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":{row},\"args\":{{\"name\":\"{name}\"}}}}"
            );
        }
        for e in &self.events {
            let (name, row) = (quoted(&e.kernel), if e.on_device { 2 } else { 1 });
            let (start, duration) = (micros(e.start_ns), micros(e.duration_ns));
            let args = format!("{{\"node\":{},\"step\":{},\"bytes\":{}}}", quoted(&e.node), e.step, e.bytes);
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                ",\n{{\"name\":{name},\"ph\":\"X\",\"pid\":1,\"tid\":{row},\"ts\":{start},\"dur\":{duration},\"args\":{args}}}"
            );
        }
        out.push_str("\n]\n");
        out
    }
}

/// Nanoseconds as a number.
pub(crate) fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_joins_calls_and_the_trace_is_json() {
        let mut p = Profile::default();
        for (node, ns) in [("a", 1500), ("b\"\n", 5000), ("a", 2500)] {
            let kernel = "k".to_owned();
            let (node, bytes, on_device) = (node.to_owned(), 8, false);
            p.events.push(ProfileEvent {
                step: 0,
                node,
                kernel,
                start_ns: 0,
                duration_ns: ns,
                bytes,
                on_device,
            });
        }
        let table = p.table();
        assert_eq!(table[0].node, "b\"\n");
        assert_eq!((table[1].calls, table[1].total_ns, table[1].bytes), (2, 4000, 16));
        let trace = p.chrome_trace();
        assert!(trace.starts_with("[\n{\"name\":\"bind sizes\""), "{trace}");
        assert!(!trace.contains("\"tid\":2"), "{trace}");
        assert!(trace.contains("\"node\":\"b\\\"\\u000a\"") && trace.contains("\"dur\":1.500"), "{trace}");
    }
    #[test]
    fn launches_on_a_device_have_its_times_and_a_row_of_their_own() {
        let mut p = Profile::default();
        let start = p.epoch;
        p.record_on_device(0, "before", "k", start, 8);
        p.record_on_device(1, "a", "k", start, 8);
        p.record(2, "b", "sort", start, 8);
        p.record_on_device(3, "c", "k", start, 8);
        p.place_on_device(1, p.epoch + Duration::from_nanos(1000), &[10, 30, 40, 90]);
        let times = |node: &str| {
            let e = p.events.iter().find(|e| e.node == node).unwrap();
            (e.start_ns, e.duration_ns, e.on_device)
        };
        assert_eq!((times("a"), times("c")), ((1010, 20, true), (1040, 50, true)));
        assert!(!times("b").2);
        let trace = p.chrome_trace();
        assert!(trace.contains("\"tid\":2,\"args\":{\"name\":\"device\"}"), "{trace}");
        assert!(trace.contains("\"tid\":2,\"ts\":1.010,\"dur\":0.020"), "{trace}");
        assert!(trace.contains("\"name\":\"sort\",\"ph\":\"X\",\"pid\":1,\"tid\":1"), "{trace}");
    }
}
