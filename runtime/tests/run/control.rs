//! Routines, late sizes, branches, loops, slots.

use crate::build::*;
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{DType, Dim, Profile, RunOptions, Tensor, Value};

fn k() -> Dim {
    Dim::named("k")
}

#[test]
fn a_routine_s_result_gives_sizes() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let (kept, doubled, head) =
        (b.late(DType::I64, &[k()]), b.late(DType::I64, &[k()]), b.dim(k() - 1.into()));
    let last = b.buffer(DType::I64, &[1.into()], Place::View { of: doubled, offset: head });
    let steps = [b.routine("positive", &[x], &[kept]), b.routine("add", &[kept, kept], &[doubled])];
    b.plan.steps.extend(steps);
    b.output("doubled", doubled);
    b.output("last", last);
    let mut s = b.session();
    for (x, y) in [(vec![1, -2, 3], vec![2, 6]), (vec![4], vec![8]), (vec![9, 8, 7, -1], vec![18, 16, 14])] {
        let out = s.run(&[("x", ints(&x).into())]).unwrap();
        assert_eq!(read(&out[0]), y);
        assert_eq!(read(&out[1]), y[y.len() - 1..]);
    }
    // No last element of none.
    let message = s.run(&[("x", ints(&[-1]).into())]).unwrap_err().to_string();
    assert_eq!(message, "size \"k - 1\" is -1");
}

#[test]
fn late_checks_are_made_when_sizes_are_known() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let kept = b.late(DType::I64, &[k()]);
    let step = b.routine("positive", &[x], &[kept]);
    b.step(step);
    let (found, expected, node) = (b.dim(k()), b.dim(2), b.node("checked"));
    b.plan.checks.push(Check { found, expected, or_one: false, node });
    b.output("kept", kept);
    let mut s = b.session();
    assert!(s.run(&[("x", ints(&[1, 2]).into())]).is_ok());
    let message = s.run(&[("x", ints(&[1]).into())]).unwrap_err().to_string();
    assert!(message.ends_with("node \"checked\": sizes must agree: 2 expected, found k = 1"), "{message}");
}

#[test]
fn elements_bind_sizes_and_branches_choose() {
    let mut b = Build::default();
    let (x, len) = (b.input("x", DType::I64, &[n()]), b.input("len", DType::I32, &[]));
    let cond = b.input("cond", DType::Bool, &[]);
    let zero = b.dim(0);
    b.step(Step::Bind { source: Source::Element(len, 0), sym: sym("k") });
    let head = b.buffer(DType::I64, &[k()], Place::View { of: x, offset: zero });
    let y = b.late(DType::I64, &[Dim::named("either")]);
    let (then, otherwise) = (vec![Step::Copy { from: head, to: y }], vec![Step::Copy { from: x, to: y }]);
    b.step(Step::If { cond, then, otherwise });
    b.output("y", y);
    let mut s = b.session();
    let mut run = |len: i32, cond| {
        let cond = Tensor::from_bools(&[], &[cond]).unwrap();
        s.run(&[("x", ints(&[1, 2, 3]).into()), ("len", Tensor::scalar(len).into()), ("cond", cond.into())])
            .map(|out| read(&out[0]))
    };
    assert_eq!(run(2, true).unwrap(), [1, 2]);
    assert_eq!(run(2, false).unwrap(), [1, 2, 3]);
    assert_eq!(run(0, true).unwrap(), [0i64; 0]);
    assert!(run(4, true).unwrap_err().to_string().ends_with("elements beyond the end of a value are used"));
    assert!(run(-1, true).unwrap_err().to_string().contains("size \"k\" is -1"));
}

/// `a, b = b, a + b` for `trip` turns, collecting `a`.
#[test]
fn a_loop_carries_crosses_and_collects() {
    let mut build = Build::default();
    let b = &mut build;
    let trip = b.input("trip", DType::I64, &[]);
    let (zero, one) = (b.constant(&ints(&[0])), b.constant(&ints(&[1])));
    let shape = [Dim::ONE];
    let (p, q, sum) = (b.arena(DType::I64, &shape), b.arena(DType::I64, &shape), b.arena(DType::I64, &shape));
    let counter = b.arena(DType::I64, &[]);
    let all = b.late(DType::I64, &[Dim::named("turns"), Dim::ONE]);
    let body = vec![b.routine("add", &[p, q], &[sum])];
    let node = b.node("fibonacci");
    let carries = vec![Carry { init: zero, current: p, next: q }, Carry { init: one, current: q, next: sum }];
    let scans = vec![Scan { element: p, output: all }];
    b.step(Step::Loop(Box::new(Loop {
        trip: Some(trip),
        cond: None,
        counter,
        next_cond: None,
        carries,
        scans,
        body,
        node,
    })));
    b.output("p", p);
    b.output("all", all);
    let mut s = b.session();
    for trip in [0, 1, 10, 3] {
        let out = s.run(&[("trip", scalar(trip).into())]).unwrap();
        let (mut p, mut q, mut all) = (0, 1, Vec::new());
        for _ in 0..trip {
            all.push(p);
            (p, q) = (q, p + q);
        }
        assert_eq!(read(&out[0]), [p]);
        assert_eq!(read(&out[1]), all);
        assert_eq!(out[1].tensor().unwrap().shape(), [all.len(), 1]);
    }
}

/// A value that grows in every turn until it is long enough: late carries change places.
#[test]
fn a_loop_with_a_condition_grows_its_value() {
    let mut build = Build::default();
    let b = &mut build;
    let (x, limit) = (b.input("x", DType::I64, &[n()]), b.input("limit", DType::I64, &[1.into()]));
    let go = b.constant(&Tensor::from_bools(&[], &[true]).unwrap());
    let (cur, next) = (b.late(DType::I64, &[k()]), b.late(DType::I64, &[Dim::named("k1")]));
    let (counter, go_on) = (b.arena(DType::I64, &[1.into()]), b.arena(DType::Bool, &[]));
    let body = vec![
        Step::Bind { source: Source::Size(cur, 0), sym: sym("k") },
        b.routine("append_count", &[cur], &[next]),
        b.routine("below", &[counter, limit], &[go_on]),
    ];
    let node = b.node("grow");
    b.step(Step::Loop(Box::new(Loop {
        trip: None,
        cond: Some(go),
        counter,
        next_cond: Some(go_on),
        carries: vec![Carry { init: x, current: cur, next }],
        scans: vec![],
        body,
        node,
    })));
    b.output("y", cur);
    let mut s = b.session();
    for (limit, len) in [(0, 3), (5, 8), (100, 103), (2, 5)] {
        let out = s.run(&[("x", ints(&[7, 7]).into()), ("limit", ints(&[limit]).into())]).unwrap();
        let expected: Vec<i64> = [7, 7].into_iter().chain(2..len).collect();
        assert_eq!(read(&out[0]), expected);
    }
}

#[test]
fn the_library_s_routines_are_found() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let found = b.late(DType::I64, &[1.into(), k()]);
    let step = b.routine("nonzero", &[x], &[found]);
    b.step(step);
    b.output("found", found);
    let out = b.session().run(&[("x", ints(&[0, 5, 0, -1]).into())]).unwrap();
    assert_eq!(read(&out[0]), [1, 3]);
}

#[test]
fn slots_hold_sequences_and_strings() {
    let mut b = Build::default();
    let text = b.input("text", DType::Str, &[n()]);
    let (seq, copy, none) = (
        b.buffer(DType::Str, &[], Place::Slot),
        b.buffer(DType::Str, &[], Place::Slot),
        b.buffer(DType::F32, &[], Place::Slot),
    );
    let step = b.routine("wrap", &[text, none], &[seq]);
    b.step(step);
    b.copy(seq, copy);
    b.plan.outputs.push(Port { name: "copy".into(), buffer: copy, container: Some("seq(str[n])".into()) });
    let t = Tensor::from_strings(&[1], vec![b"hi".to_vec()]).unwrap();
    let out = b.session().run(&[("text", t.clone().into())]).unwrap();
    assert_eq!(out[0], Value::Sequence(vec![t.into(), Value::Optional(None)]));
}

#[test]
fn failures_name_the_step_and_the_node() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let y = b.arena(DType::I64, &[n()]);
    b.copy(x, y);
    let step = b.routine("refuse", &[x], &[y]);
    b.step(step);
    let mut s = b.session();
    let message = s.run(&[("x", ints(&[1]).into())]).unwrap_err().to_string();
    assert_eq!(message, "step 1, node \"refuse\": refuse: it never works");
}

#[test]
fn runs_stop_when_told_to() {
    use nnc_runtime::RunError;
    let mut b = Build::default();
    let counter = b.arena(DType::I64, &[]);
    let node = b.node("forever");
    let l = Loop {
        trip: None,
        cond: None,
        counter,
        next_cond: None,
        carries: vec![],
        scans: vec![],
        body: vec![],
        node,
    };
    b.step(Step::Loop(Box::new(l)));
    let mut s = b.session();
    let soon = std::time::Instant::now() + std::time::Duration::from_millis(20);
    let options = RunOptions { deadline: Some(soon), ..RunOptions::default() };
    assert!(matches!(s.run_options(&[], options), Err(RunError::Deadline)));
    let cancel = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = cancel.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let options = RunOptions { cancel: Some(cancel), ..RunOptions::default() };
    assert!(matches!(s.run_options(&[], options), Err(RunError::Canceled)));
    stopper.join().unwrap();
}

#[test]
fn profiles_list_what_ran() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let y = b.arena(DType::I64, &[n()]);
    b.copy(x, y);
    let step = b.routine("add", &[x, x], &[y]);
    b.step(step);
    b.output("y", y);
    let (mut s, mut profile) = (b.session(), Profile::default());
    for _ in 0..2 {
        let options = RunOptions { profile: Some(&mut profile), ..RunOptions::default() };
        s.run_options(&[("x", ints(&[1, 2]).into())], options).unwrap();
    }
    assert_eq!(profile.events.len(), 4);
    let add = profile.table().into_iter().find(|r| r.kernel == "add").unwrap();
    assert_eq!((add.calls, add.bytes, add.node.as_str()), (2, 96, "add"));
}
