//! Sequences and optionals.

use super::*;

fn seq() -> Value {
    Value::Sequence(vec![ints(&[1], &[10]), ints(&[1], &[11]), ints(&[1], &[12])])
}

fn contents(v: &Value) -> Vec<f64> {
    match v {
        Value::Sequence(s) => s.iter().flat_map(numbers).collect(),
        other => panic!("a sequence was expected, found {other:?}"),
    }
}

#[test]
fn elements_come_and_go() {
    let at = |p: i64| ints(&[], &[p]);
    let x = || ints(&[1], &[5]);
    for (position, expected) in [
        (at(1), [10.0, 5.0, 11.0, 12.0]),
        (at(3), [10.0, 11.0, 12.0, 5.0]),
        (at(-3), [5.0, 10.0, 11.0, 12.0]),
        (none(), [10.0, 11.0, 12.0, 5.0]),
    ] {
        assert_eq!(contents(&run("sequence_insert", &[], &[seq(), x(), position])[0]), expected);
    }
    let into_empty = run("sequence_insert", &[], &[run("sequence_empty", &[], &[])[0].clone(), x()]);
    assert_eq!(contents(&into_empty[0]), [5.0]);
    assert_eq!(contents(&run("sequence_erase", &[], &[seq(), at(-2)])[0]), [10.0, 12.0]);
    assert_eq!(contents(&run("sequence_erase", &[], &[seq()])[0]), [10.0, 11.0]);
    assert_eq!(numbers(&run("sequence_at", &[], &[seq(), at(-1)])[0]), [12.0]);
    assert_eq!(run_numbers("sequence_length", &[], &[seq()])[0], (vec![], vec![3.0]));
    for position in [3, -4, i64::MIN] {
        assert!(try_run("sequence_at", &[], &[seq(), at(position)]).is_err());
        assert!(try_run("sequence_erase", &[], &[seq(), at(position)]).is_err());
    }
    assert!(try_run("sequence_insert", &[], &[seq(), x(), at(4)]).is_err());
    assert_eq!(contents(&run("sequence_construct", &[], &[x(), x()])[0]), [5.0, 5.0]);
}

fn shapes(v: &Value) -> Vec<Vec<usize>> {
    match v {
        Value::Sequence(s) => s.iter().map(shape).collect(),
        other => panic!("a sequence was expected, found {other:?}"),
    }
}

#[test]
fn tensors_split_and_join() {
    let x = || floats(&[3, 6], &(0..18u8).map(f32::from).collect::<Vec<_>>());
    let axis = |a: i64| ("axis", Attr::Int(a));
    let parts = run("split_to_sequence", &[axis(1)], &[x(), ints(&[], &[4])]);
    assert_eq!(shapes(&parts[0]), [[3, 4], [3, 2]]);
    assert_eq!(contents(&parts[0])[12..], [4.0, 5.0, 10.0, 11.0, 16.0, 17.0]);
    assert_eq!(run("concat_from_sequence", &[axis(1)], &parts)[0], x());
    let parts = run("split_to_sequence", &[axis(0)], &[x(), ints(&[2], &[1, 2])]);
    assert_eq!(shapes(&parts[0]), [[1, 6], [2, 6]]);
    let parts = run("split_to_sequence", &[axis(-1), ("keepdims", Attr::Int(0))], &[x()]);
    assert_eq!(shapes(&parts[0]), vec![[3]; 6]);
    assert_eq!(contents(&parts[0])[..3], [0.0, 6.0, 12.0]);
    assert_eq!(run("concat_from_sequence", &[axis(1), ("new_axis", Attr::Int(1))], &parts)[0], x());
    for split in [ints(&[2], &[1, 1]), ints(&[], &[0]), ints(&[2], &[-1, 4])] {
        assert!(try_run("split_to_sequence", &[axis(0)], &[x(), split]).is_err());
    }
    let mixed = Value::Sequence(vec![ints(&[1], &[1]), ints(&[], &[1])]);
    for (axis, fresh) in [(0, 0), (1, 1), (1, 0), (-3, 1)] {
        let attrs = [("axis", Attr::Int(axis)), ("new_axis", Attr::Int(fresh))];
        assert!(try_run("concat_from_sequence", &attrs, std::slice::from_ref(&mixed)).is_err());
    }
}

#[test]
fn optionals_hold_a_value_or_none() {
    let some = run("optional", &[], &[seq()])[0].clone();
    assert_eq!(some, Value::Optional(Some(Box::new(seq()))));
    assert_eq!(run("optional", &[], &[])[0], none());
    let has = |inputs: &[Value]| numbers(&run("optional_has_element", &[], inputs)[0]) == [1.0];
    assert!(has(std::slice::from_ref(&some)) && has(&[seq()]) && has(&[ints(&[], &[0])]));
    assert!(!has(&[none()]) && !has(&[]));
    assert_eq!(run("optional_get_element", &[], &[some])[0], seq());
    assert_eq!(run("optional_get_element", &[], &[seq()])[0], seq());
    assert!(try_run("optional_get_element", &[], &[none()]).is_err());
}
