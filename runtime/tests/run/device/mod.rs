//! What sessions tell a device, and what comes of it.

mod fake;

use crate::build::*;
use fake::Fake;
use nnc_runtime::device::{Device, DeviceError, DeviceTensor, Located};
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{
    Artifact, ArtifactError, DType, DeviceCode, DeviceEntry, DeviceText, Dim, LoadOptions, Profile, RunError,
    RunOptions, Session, Value,
};
use std::sync::Arc;

/// Adds a launch of a kernel of its own that adds its inputs and a number.
fn sum(b: &mut Build, name: &str, inputs: &[BufferId], plus: i64, to: BufferId) -> Step {
    let kernel = KernelId(b.plan.kernels.len() as u32);
    let (scratch, node) = (b.dim(0), b.node(name));
    let writes = vec![inputs.len() as u32];
    b.plan.kernels.push(Kernel { name: name.to_owned(), offset: 0, scratch, writes });
    let entry =
        DeviceEntry { name: name.to_owned(), threads: 32, thread_per_point: true, workspace: scratch };
    b.device.get_or_insert_with(DeviceCode::default).entries.push(entry);
    let grid = b.plan.buffers[to.index()].shape.first().copied().unwrap_or(node_grid(b));
    let buffers = [inputs, &[to]].concat();
    Step::Launch { kernel, buffers, dims: vec![b.dim(plus)], grid, cost_ns: b.dim(1), node }
}

fn node_grid(b: &mut Build) -> DimId {
    b.dim(1)
}

fn launch(b: &mut Build, name: &str, inputs: &[BufferId], plus: i64, to: BufferId) {
    let step = sum(b, name, inputs, plus, to);
    b.step(step);
}

/// The artifact on a device.
fn load(b: &mut Build, fake: &Arc<Fake>) -> Result<Arc<Artifact>, ArtifactError> {
    let code = b.device.get_or_insert_with(DeviceCode::default);
    if code.texts.is_empty() {
        code.texts.push(DeviceText { major: 7, minor: 5, exact: false, text: "text".into() });
    }
    let device: Arc<dyn Device> = fake.clone();
    let options = LoadOptions { routines: ROUTINES, device: Some(&device), ..LoadOptions::default() };
    Artifact::from_bytes_with(b.bytes(), &options).map(Arc::new)
}

fn open(b: &mut Build) -> (Session, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let session = Session::new(load(b, &fake).unwrap());
    fake.log();
    (session, fake)
}

/// `y = x + 1 + 10 + 100` in three launches.
fn three() -> Build {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let (p, q, y) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    launch(&mut b, "one", &[x], 1, p);
    launch(&mut b, "ten", &[p], 10, q);
    launch(&mut b, "hundred", &[q], 100, y);
    b.output("y", y);
    b
}

fn run(s: &mut Session, x: &[i64]) -> Vec<i64> {
    read(&s.run(&[("x", ints(x).into())]).unwrap()[0])
}

#[test]
fn launches_are_recorded_on_the_second_run_and_started_as_a_whole_later() {
    let (mut s, fake) = open(&mut three());
    assert_eq!(run(&mut s, &[1, 2]), [112, 113]);
    let end = ["prefetch 16", "finish", "download 16"];
    let all = [&["upload 16", "launch one", "launch ten", "launch hundred"], &end[..]].concat();
    assert_eq!(fake.log(), all);
    assert_eq!(run(&mut s, &[5, 6]), [116, 117]);
    assert_eq!(fake.log(), [&["upload 16", "record 3 as 0", "replay 0"], &end[..]].concat());
    for x in [[7, 8], [0, -9]] {
        assert_eq!(run(&mut s, &x), x.map(|v| v + 111));
        assert_eq!(fake.log(), [&["upload 16", "replay 0"], &end[..]].concat());
    }
}

#[test]
fn each_binding_has_recordings_of_its_own_which_go_when_memory_moves() {
    let (mut s, fake) = open(&mut three());
    let told = |s: &mut Session, x: &[i64]| {
        assert_eq!(run(s, x), x.iter().map(|v| v + 111).collect::<Vec<_>>());
        let log = fake.log();
        let is_start =
            |op: &String| !["upload", "prefetch", "finish", "download"].iter().any(|w| op.starts_with(w));
        log.into_iter().filter(is_start).collect::<Vec<_>>().join(", ")
    };
    let one_by_one = "launch one, launch ten, launch hundred";
    assert_eq!(told(&mut s, &[1; 100]), one_by_one);
    assert_eq!(told(&mut s, &[2; 100]), "record 3 as 0, replay 0");
    // Smaller sizes fit the memory; what was recorded for the larger ones stays.
    assert_eq!(told(&mut s, &[1; 40]), one_by_one);
    assert_eq!(told(&mut s, &[2; 40]), "record 3 as 1, replay 1");
    assert_eq!(told(&mut s, &[3; 100]), "replay 0");
    assert_eq!(told(&mut s, &[3; 40]), "replay 1");
    // Larger ones need new memory, so that no recording is good any more.
    assert_eq!(told(&mut s, &[1; 1000]), format!("forget 1, forget 0, {one_by_one}"));
    assert_eq!(told(&mut s, &[2; 1000]), "record 3 as 2, replay 2");
    assert_eq!(told(&mut s, &[4; 100]), one_by_one);
    assert_eq!(told(&mut s, &[5; 100]), "record 3 as 3, replay 3");
    assert_eq!(told(&mut s, &[6; 1000]), "replay 2");
}

#[test]
fn many_bindings_take_turns_and_the_oldest_recordings_are_forgotten() {
    let (mut s, fake) = open(&mut three());
    run(&mut s, &[0; 64]);
    for len in 1..=9 {
        for turn in 0..2 {
            assert_eq!(run(&mut s, &vec![turn; len]), vec![turn + 111; len]);
        }
    }
    let log = fake.log();
    let forgotten: Vec<&String> = log.iter().filter(|op| op.starts_with("forget")).collect();
    // Eight are kept; the first of the ten was never recorded.
    assert_eq!(forgotten, ["forget 0"]);
}

/// Two launches, a routine of the host, two launches.
#[test]
fn steps_of_the_host_stand_between_recordings() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let t: Vec<BufferId> = (0..5).map(|_| b.arena(DType::I64, &[n()])).collect();
    launch(&mut b, "a", &[x], 1, t[0]);
    launch(&mut b, "b", &[t[0]], 1, t[1]);
    let step = b.routine("add", &[t[1], x], &[t[2]]);
    b.step(step);
    launch(&mut b, "c", &[t[2]], 1, t[3]);
    launch(&mut b, "d", &[t[3], t[0]], 1, t[4]);
    b.output("y", t[4]);
    let (mut s, fake) = open(&mut b);
    for turn in 0..4i64 {
        let x = [turn, 10 * turn];
        // x + 2 from the first two, twice x with the routine, then 2 and x + 1 more.
        assert_eq!(run(&mut s, &x), x.map(|v| 3 * v + 5));
        let log = fake.log();
        let end = ["prefetch 16", "finish", "download 16"];
        let (first, second): (&[&str], &[&str]) = match turn {
            0 => (&["launch a", "launch b"], &["launch c", "launch d"]),
            1 => (&["record 2 as 0", "replay 0"], &["record 2 as 1", "replay 1"]),
            _ => (&["replay 0"], &["replay 1"]),
        };
        let all = [&["upload 16"], first, &["download 16", "upload 16"], second, &end].concat();
        assert_eq!(log, all, "run {turn}");
    }
}

#[test]
fn launches_whose_sizes_are_found_during_the_run_are_not_recorded() {
    let mut b = Build::default();
    let k = [Dim::named("k")];
    let x = b.input("x", DType::I64, &[n()]);
    let (kept, p, y) = (b.late(DType::I64, &k), b.late(DType::I64, &k), b.late(DType::I64, &k));
    let step = b.routine("positive", &[x], &[kept]);
    b.step(step);
    launch(&mut b, "one", &[kept], 1, p);
    launch(&mut b, "ten", &[p], 10, y);
    b.output("y", y);
    let (mut s, fake) = open(&mut b);
    for x in [[1, -1, 5], [2, 3, 4], [-1, -1, 9], [1, 1, 1]] {
        let kept: Vec<i64> = x.iter().filter(|v| **v > 0).map(|v| v + 11).collect();
        assert_eq!(run(&mut s, &x), kept);
    }
    assert!(fake.log().iter().all(|op| !op.starts_with("record") && !op.starts_with("replay")));
}

/// Each turn adds 11 to what is carried, in two launches.
#[test]
fn the_body_of_a_loop_is_recorded_on_its_second_turn() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let trip = b.constant(&scalar(5));
    let (counter, current) = (b.arena(DType::I64, &[]), b.arena(DType::I64, &[n()]));
    let (t, next) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    let body = vec![sum(&mut b, "one", &[current], 1, t), sum(&mut b, "ten", &[t], 10, next)];
    let node = b.node("loop");
    let carries = vec![Carry { init: x, current, next }];
    b.step(Step::Loop(Box::new(Loop {
        trip: Some(trip),
        cond: None,
        counter,
        next_cond: None,
        carries,
        scans: vec![],
        body,
        node,
    })));
    b.output("y", current);
    let (mut s, fake) = open(&mut b);
    assert_eq!(run(&mut s, &[1, 2]), [56, 57]);
    let starts = |log: Vec<String>| log.into_iter().filter(|op| !op.starts_with("copy")).collect::<Vec<_>>();
    let end = ["prefetch 16", "finish", "download 16"];
    let turns = [
        "upload 16",
        "launch one",
        "launch ten",
        "record 2 as 0",
        "replay 0",
        "replay 0",
        "replay 0",
        "replay 0",
    ];
    assert_eq!(starts(fake.log()), [&turns[..], &end].concat(), "values are carried on the device");
    assert_eq!(run(&mut s, &[3, 4]), [58, 59]);
    assert_eq!(fake.log().iter().filter(|op| *op == "replay 0").count(), 5);
}

#[test]
fn only_constants_that_kernels_read_go_to_the_device_and_only_once() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let unread = b.constant(&ints(&[1; 1000]));
    let (read, scalar) = (b.constant(&ints(&[7; 10])), b.constant(&ints(&[3])));
    let (p, y) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    let step = b.routine("add", &[x, unread], &[p]);
    b.step(step);
    launch(&mut b, "sum", &[p, scalar, read], 0, y);
    b.output("y", y);
    let fake = Arc::new(Fake::default());
    let artifact = load(&mut b, &fake).unwrap();
    assert_eq!(fake.log(), ["upload 80", "upload 8", "finish"]);
    let mut sessions = [Session::new(Arc::clone(&artifact)), Session::new(artifact)];
    for s in &mut sessions {
        assert_eq!(run(s, &[1, 2, 3]), [12, 13, 14]);
        assert_eq!(fake.log(), ["upload 24", "launch sum", "prefetch 24", "finish", "download 24"]);
    }
    drop(sessions);
    assert_eq!((fake.log(), fake.bytes()), (vec!["unload 7".to_owned()], 0), "all is given back");
}

#[test]
fn sessions_on_several_threads_share_code_and_weights() {
    let fake = Arc::new(Fake::default());
    let artifact = load(&mut three(), &fake).unwrap();
    std::thread::scope(|scope| {
        for t in 0..4i64 {
            let mut s = Session::new(Arc::clone(&artifact));
            scope.spawn(move || {
                for turn in 0..50 {
                    let x = vec![t * turn; 1 + turn as usize % 3];
                    assert_eq!(run(&mut s, &x), x.iter().map(|v| v + 111).collect::<Vec<_>>());
                }
            });
        }
    });
}

/// `next = state + x`, `y = next + 1000`: the state need not come to the host.
fn counter() -> Build {
    let mut b = Build::default();
    let (x, state) = (b.input("x", DType::I64, &[n()]), b.input("state", DType::I64, &[n()]));
    let (next, y) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    launch(&mut b, "add", &[x, state], 0, next);
    launch(&mut b, "far", &[next], 1000, y);
    b.output("y", y);
    b.output("next", next);
    b
}

#[test]
fn a_state_stays_on_the_device_from_run_to_run() {
    let (mut s, fake) = open(&mut counter());
    let device: Arc<dyn Device> = fake.clone();
    let start = DeviceTensor::from_host(&device, &ints(&[100, 200])).unwrap();
    assert_eq!((start.shape(), start.dtype()), ([2].as_slice(), DType::I64));
    let mut state = Located::from(start.clone());
    fake.log();
    let mut logs = Vec::new();
    for turn in 0..8i64 {
        let inputs = [("x", Located::from(ints(&[1, 2]))), ("state", state)];
        let mut out = s.run_located(&inputs, &["next"], RunOptions::default()).unwrap();
        state = out.remove(1);
        assert!(matches!(state, Located::Device(_)));
        assert_eq!(read(&out[0].to_host().unwrap()), [1101 + turn, 1202 + 2 * turn]);
        logs.push(fake.log());
    }
    assert_eq!(read(&state.to_host().unwrap()), [108, 216]);
    assert_eq!(read(&start.to_host().unwrap().into()), [100, 200], "what the caller holds does not change");
    // It lies in two places in turn, each with a recording, and is never copied.
    let end = ["prefetch 16", "finish", "download 16"];
    assert_eq!(logs[6], [&["upload 16", "replay 1"], &end[..]].concat());
    assert_eq!(logs[7], [&["upload 16", "replay 0"], &end[..]].concat());
}

#[test]
fn values_on_the_device_come_to_the_host_where_it_needs_them() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let (p, y) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    let step = b.routine("add", &[x, x], &[p]);
    b.step(step);
    launch(&mut b, "sum", &[p, x], 0, y);
    b.copy(x, p);
    for (name, buffer) in [("y", y), ("copied", p), ("x again", x)] {
        b.output(name, buffer);
    }
    let (mut s, fake) = open(&mut b);
    let device: Arc<dyn Device> = fake.clone();
    let x = DeviceTensor::from_host(&device, &ints(&[4, 5])).unwrap();
    for keep in [&[][..], &["y", "copied", "x again"]] {
        let out = s.run_located(&[("x", x.clone().into())], keep, RunOptions::default()).unwrap();
        assert!(out.iter().all(|v| matches!(v, Located::Device(_)) == !keep.is_empty()));
        let out: Vec<Vec<i64>> = out.iter().map(|v| read(&v.to_host().unwrap())).collect();
        assert_eq!(out, [[12, 15], [4, 5], [4, 5]]);
    }
    let wrong = s.run_located(&[("x", x.into())], &["z"], RunOptions::default()).unwrap_err();
    assert_eq!(wrong.to_string(), "the model has no output \"z\"; it has \"y\", \"copied\", \"x again\"");
}

#[test]
fn values_of_another_device_come_by_way_of_the_host() {
    let (mut s, _) = open(&mut three());
    let other: Arc<dyn Device> = Arc::new(Fake::default());
    let x = DeviceTensor::from_host(&other, &ints(&[1])).unwrap();
    let out = s.run_located(&[("x", x.clone().into())], &[], RunOptions::default()).unwrap();
    assert_eq!(read(&out[0].to_host().unwrap()), [112]);
    // A session on the CPU takes them too, and keeps nothing.
    let mut b = Build::default();
    let input = b.input("x", DType::I64, &[n()]);
    let y = b.arena(DType::I64, &[n()]);
    let step = b.routine("add", &[input, input], &[y]);
    b.step(step);
    b.output("y", y);
    let out = b.session().run_located(&[("x", x.into())], &["y"], RunOptions::default()).unwrap();
    assert!(matches!(&out[0], Located::Host(v) if read(v) == [2]));
}

#[test]
fn a_profile_has_the_device_s_times() {
    let (mut s, fake) = open(&mut three());
    for _ in 0..3 {
        let mut profile = Profile::default();
        let options = RunOptions { profile: Some(&mut profile), ..RunOptions::default() };
        let x: Value = ints(&[1]).into();
        assert_eq!(read(&s.run_options(&[("x", x)], options).unwrap()[0]), [112]);
        let rows: Vec<(usize, &str, u64, bool)> =
            profile.events.iter().map(|e| (e.step, e.node.as_str(), e.duration_ns, e.on_device)).collect();
        assert_eq!(rows, [(0, "one", 1000, true), (1, "ten", 1000, true), (2, "hundred", 1000, true)]);
        let starts: Vec<u64> =
            profile.events.iter().map(|e| e.start_ns - profile.events[0].start_ns).collect();
        assert_eq!(starts, [0, 2000, 4000]);
        assert!(fake.log().iter().all(|op| !op.starts_with("replay")), "each launch is timed by itself");
    }
}

#[test]
fn a_failed_launch_names_its_step_and_the_next_run_is_whole() {
    let (mut s, fake) = open(&mut three());
    for turn in 0..4 {
        fake.fail_after(1);
        let failed = s.run(&[("x", ints(&[1]).into())]);
        match failed {
            // From the third run on there are no launches to fail but those of a recording.
            Err(e) => assert_eq!(
                e.to_string(),
                "step 1, node \"ten\": the device cannot launch a kernel: it was told to"
            ),
            Ok(_) => assert!(turn > 1, "run {turn}"),
        }
        assert_eq!(run(&mut s, &[1, 2]), [112, 113]);
    }
}

#[test]
fn a_full_device_says_what_was_asked_and_what_is_free() {
    let (mut s, fake) = open(&mut three());
    fake.limit(1000);
    let error = s.run(&[("x", ints(&[1; 100]).into())]).unwrap_err();
    let RunError::Step { source, .. } = &error else { panic!("{error}") };
    assert!(
        matches!(**source, RunError::Device(DeviceError::Memory { asked, .. }) if asked > 1000),
        "{error}"
    );
    assert_eq!(run(&mut s, &[1, 2]), [112, 113]);
    // Weights that find no room fail at load.
    let mut b = Build::default();
    let big = b.constant(&ints(&[1; 1000]));
    let y = b.arena(DType::I64, &[Dim::len(1000)]);
    launch(&mut b, "one", &[big], 1, y);
    b.output("y", y);
    let fake = Arc::new(Fake::default());
    fake.limit(1000);
    let error = load(&mut b, &fake).unwrap_err().to_string();
    assert!(error.ends_with("the device has no memory for 8000 bytes, 1000 are free"), "{error}");
    assert_eq!(fake.log(), ["unload 7"], "code is not left behind");
}

#[test]
fn texts_are_for_devices() {
    let mut b = three();
    let text = |major, minor, exact, text: &str| DeviceText { major, minor, exact, text: text.into() };
    let texts = vec![text(7, 5, false, "old"), text(8, 0, false, "text"), text(9, 0, true, "newer")];
    b.device.as_mut().unwrap().texts = texts;
    let fake = Arc::new(Fake::default());
    assert!(load(&mut b, &fake).is_ok(), "the newest that the device takes");
    b.device.as_mut().unwrap().texts.remove(1);
    let error = load(&mut b, &fake).unwrap_err().to_string();
    assert!(error.ends_with("the device cannot load the code: old is no text"), "{error}");
    b.device.as_mut().unwrap().texts.remove(0);
    let error = load(&mut b, &fake).unwrap_err().to_string();
    assert!(error.ends_with("the artifact has no code for fake of compute capability 8.0"), "{error}");
}
