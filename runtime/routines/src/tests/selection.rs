//! Sorting, choosing, distinct elements.

use super::*;
use nnc_tensor::DType;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn with_nan() -> Value {
    let x = [3.0, f32::NAN, 1.0, 3.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY];
    floats(&[2, 4], &x)
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

#[test]
fn topk_takes_the_first_of_equals_and_nan_as_largest() {
    type Case<'a> = (i64, i64, i64, &'a [f64], &'a [f64]);
    let cases: [Case; 4] = [
        (3, 1, 1, &[NAN, 3.0, 3.0, INF, 0.0, 0.0], &[1.0, 0.0, 3.0, 2.0, 0.0, 1.0]),
        (3, -1, 0, &[1.0, 3.0, 3.0, -INF, 0.0, 0.0], &[2.0, 0.0, 3.0, 3.0, 0.0, 1.0]),
        (1, 0, 1, &[3.0, NAN, INF, 3.0], &[0.0, 0.0, 1.0, 0.0]),
        (2, 0, 0, &[0.0, 0.0, 1.0, -INF, 3.0, NAN, INF, 3.0], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]),
    ];
    for (k, axis, largest, values, indices) in cases {
        let attrs = [("axis", Attr::Int(axis)), ("largest", Attr::Int(largest))];
        let out = run("topk", &attrs, &[with_nan(), ints(&[1], &[k])]);
        assert!(same(&numbers(&out[0]), values), "k {k}, axis {axis}: {:?}", numbers(&out[0]));
        assert_eq!(numbers(&out[1]), indices, "k {k}, axis {axis}");
    }
    for k in [5, -1, i64::MAX] {
        assert!(try_run("topk", &[], &[with_nan(), ints(&[1], &[k])]).is_err(), "{k}");
    }
}

#[test]
fn sort_is_topk_of_all() {
    let out = run("sort", &[("axis", Attr::Int(1))], &[with_nan()]);
    assert!(same(&numbers(&out[0]), &[1.0, 3.0, 3.0, NAN, -INF, 0.0, 0.0, INF]));
    assert_eq!(numbers(&out[1]), [2.0, 0.0, 3.0, 1.0, 3.0, 0.0, 1.0, 2.0]);
    let wide = Tensor::from_slice(&[3], &[0u64, u64::MAX, 1 << 63]).unwrap();
    assert_eq!(numbers(&run("sort", &[], &[wide.into()])[1]), [0.0, 2.0, 1.0]);
    let words = run("sort", &[], &[strings(&[3], &["b", "", "a"])]);
    assert_eq!(numbers(&words[1]), [1.0, 2.0, 0.0]);
}

#[test]
fn unique_gives_all_four_outputs() {
    let x = [floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0])];
    let out = run_numbers("unique", &[("sorted", Attr::Int(0))], &x);
    assert_eq!(out[0].1, [2.0, 1.0, 3.0, 4.0]);
    assert_eq!(out[1].1, [0.0, 1.0, 3.0, 4.0]);
    assert_eq!(out[2].1, [0.0, 1.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(out[3].1, [1.0, 2.0, 2.0, 1.0]);
    let out = run_numbers("unique", &[], &x);
    assert_eq!(out[0].1, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(out[1].1, [1.0, 0.0, 3.0, 4.0]);
    assert_eq!(out[2].1, [1.0, 0.0, 0.0, 2.0, 3.0, 2.0]);
    assert_eq!(out[3].1, [2.0, 1.0, 2.0, 1.0]);
}

#[test]
fn unique_compares_whole_slices() {
    let half = [1.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0];
    let x = floats(&[2, 4, 2], &[half, half].concat());
    let out = run_numbers("unique", &[("axis", Attr::Int(1))], &[x]);
    let half = [0.0, 1.0, 1.0, 1.0, 2.0, 1.0];
    assert_eq!(out[0], (vec![2, 3, 2], [half, half].concat()));
    assert_eq!(out[1].1, [1.0, 0.0, 2.0]);
    assert_eq!(out[2].1, [1.0, 0.0, 2.0, 0.0]);
    assert_eq!(out[3].1, [2.0, 1.0, 1.0]);
    let out = run_numbers("unique", &[], &[with_nan()]);
    assert_eq!(out[3].1, [1.0, 2.0, 1.0, 2.0, 1.0, 1.0]);
}

#[test]
fn nonzero_lists_columns() {
    let x = ints(&[3, 2], &[1, 0, 0, 3, 2, 0]);
    let out = run_numbers("nonzero", &[], &[x]);
    assert_eq!(out[0], (vec![2, 3], vec![0.0, 1.0, 2.0, 0.0, 1.0, 0.0]));
    assert_eq!(run_numbers("nonzero", &[], &[ints(&[], &[5])])[0].0, [0, 1]);
    assert_eq!(run_numbers("nonzero", &[], &[ints(&[0, 2], &[])])[0].0, [2, 0]);
}

#[test]
fn compress_takes_what_is_true() {
    let x = || floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mask = |m: &[bool]| Value::Tensor(Tensor::from_bools(&[m.len()], m).unwrap());
    let out = run_numbers("compress", &[("axis", Attr::Int(0))], &[x(), mask(&[false, true, true])]);
    assert_eq!(out[0], (vec![2, 2], vec![3.0, 4.0, 5.0, 6.0]));
    let out = run_numbers("compress", &[], &[x(), mask(&[false, true, false, false, true])]);
    assert_eq!(out[0], (vec![2], vec![2.0, 5.0]));
    assert!(try_run("compress", &[("axis", Attr::Int(1))], &[x(), mask(&[false, true, true])]).is_err());
}

fn boxes() -> (Value, Value) {
    let tops = [0.0, 0.1, -0.1, 10.0, 10.1, 100.0];
    let boxes: Vec<f32> = tops.iter().flat_map(|t: &f32| [0.0, *t, 1.0, t + 1.0]).collect();
    (floats(&[1, 6, 4], &boxes), floats(&[1, 1, 6], &[0.9, 0.75, 0.6, 0.95, 0.5, 0.3]))
}

#[test]
fn nms_suppresses_overlapping_boxes() {
    let scalar = |x: f32| floats(&[1], &[x]);
    let chosen = |most: i64, iou: f32, score: f32| {
        let (boxes, scores) = boxes();
        let inputs = [boxes, scores, ints(&[1], &[most]), scalar(iou), scalar(score)];
        let rows = run_numbers("nms", &[], &inputs)[0].1.clone();
        rows.chunks_exact(3).map(|r| r[2]).collect::<Vec<_>>()
    };
    assert_eq!(chosen(3, 0.5, 0.0), [3.0, 0.0, 5.0]);
    assert_eq!(chosen(3, 0.5, 0.4), [3.0, 0.0]);
    assert_eq!(chosen(9, 0.95, 0.2), [3.0, 0.0, 1.0, 2.0, 4.0, 5.0]);
    assert!(chosen(-1, 0.5, 0.0).is_empty());
    let (boxes, scores) = boxes();
    assert_eq!(run_numbers("nms", &[], &[boxes, scores])[0].0, [0, 3]);
}

/// The definition: by falling score, what no chosen box covers.
fn chosen_by_definition(boxes: &[[f32; 4]], scores: &[f32], threshold: f32) -> Vec<f64> {
    let side = |a: &[f32; 4], b: &[f32; 4], i: usize| a[i + 2].min(b[i + 2]) - a[i].max(b[i]);
    let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let covered = |a: &[f32; 4], b: &[f32; 4]| {
        let common = side(a, b, 0).max(0.0) * side(a, b, 1).max(0.0);
        let positive = common > 0.0 && area(a) > 0.0 && area(b) > 0.0;
        positive && common / (area(a) + area(b) - common) > threshold
    };
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut chosen: Vec<usize> = Vec::new();
    for i in order {
        if !chosen.iter().any(|j| covered(&boxes[i], &boxes[*j])) {
            chosen.push(i);
        }
    }
    chosen.into_iter().map(|i| i as f64).collect()
}

#[test]
fn nms_finds_boxes_wherever_they_lie() {
    let mut state = 7u32;
    let mut unit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    // By number of box: how far away it lies and how large it is.
    type Place = fn(usize) -> (f32, f32);
    let places: [(&str, Place); 6] = [
        ("in one heap", |_| (0.0, 1.0)),
        ("each class by itself", |i| (300.0 * (i % 90) as f32, 40.0)),
        ("of all sizes", |i| (0.0, 2f32.powi((i % 40) as i32 - 20))),
        ("one far away", |i| (if i == 5 { -1e30 } else { 0.0 }, 1.0)),
        ("one without an end", |i| (0.0, if i == 5 { f32::INFINITY } else { 1.0 })),
        ("points", |_| (0.0, 0.0)),
    ];
    for (name, place) in places {
        let mut scores = Vec::new();
        let boxes: Vec<[f32; 4]> = (0..700)
            .map(|i| {
                let (at, size) = place(i);
                let [y, x] = [0, 1].map(|_| at + 10.0 * unit());
                scores.push(unit());
                [y, x, y + size * (0.1 + unit()), x + size * (0.1 + unit())]
            })
            .collect();
        for threshold in [0.1, 0.5, 0.9] {
            let scalar = |x: f32| floats(&[], &[x]);
            let inputs = [
                floats(&[1, 700, 4], boxes.as_flattened()),
                floats(&[1, 1, 700], &scores),
                ints(&[], &[700]),
                scalar(threshold),
                scalar(-1.0),
            ];
            let rows = run_numbers("nms", &[], &inputs)[0].1.clone();
            let found: Vec<f64> = rows.chunks_exact(3).map(|r| r[2]).collect();
            assert_eq!(found, chosen_by_definition(&boxes, &scores, threshold), "{name}, {threshold}");
        }
    }
}

#[test]
fn nms_reads_centers_and_classes() {
    let middles = [0.5, 0.6, 0.4, 10.5, 10.6, 100.5];
    let boxes: Vec<f32> = middles.iter().flat_map(|y| [0.5, *y, 1.0, 1.0]).collect();
    let mut scores = vec![0.9f32, 0.75, 0.6, 0.95, 0.5, 0.3];
    scores.extend(scores.clone().iter().rev());
    let inputs = [
        floats(&[1, 6, 4], &boxes),
        floats(&[1, 2, 6], &scores),
        ints(&[], &[2]),
        floats(&[], &[0.5]),
        floats(&[], &[0.0]),
    ];
    let out = run_numbers("nms", &[("center_point_box", Attr::Int(1))], &inputs);
    let rows = vec![0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 1.0, 5.0];
    assert_eq!(out[0], (vec![4, 3], rows));
}

#[test]
fn cast_reads_and_writes_text() {
    let to = |d: DType| [("to", Attr::Int(d.onnx().into()))];
    let out = run("cast", &to(DType::F32), &[strings(&[2], &["1e3", "-INF"])]);
    assert_eq!(numbers(&out[0]), [1000.0, -INF]);
    let out = run("cast", &to(DType::Str), &[floats(&[1], &[0.5])]);
    assert_eq!(out[0].tensor().unwrap().strings(), [b"0.5"]);
}
