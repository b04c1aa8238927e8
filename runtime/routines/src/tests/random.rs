//! Random numbers: what a seed fixes, and whether the distributions are right.

use super::*;

const N: i64 = 200_000;

fn seeded(extra: &[(&'static str, Attr)]) -> Vec<(&'static str, Attr)> {
    let mut attrs = vec![("seed", Attr::Float(7.0)), ("dtype", Attr::Int(11))];
    attrs.extend_from_slice(extra);
    attrs
}

/// Mean, variance and the fourth central moment over the squared variance.
fn moments(x: &[f64]) -> [f64; 3] {
    let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|v| f(*v)).sum::<f64>() / x.len() as f64;
    let m = mean(&|v| v);
    let var = mean(&|v| (v - m).powi(2));
    [m, var, mean(&|v| (v - m).powi(4)) / var.powi(2)]
}

fn close(found: [f64; 3], expected: [f64; 3]) {
    // Five standard errors of the fourth moment, the noisiest, at N samples.
    let near = found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.06 * e.abs().max(1.0));
    assert!(near, "{found:?}, expected {expected:?}");
}

#[test]
fn distributions_have_their_moments() {
    let shape = ("shape", Attr::Ints(vec![N]));
    let attrs = seeded(&[shape.clone(), ("low", Attr::Float(-1.0)), ("high", Attr::Float(3.0))]);
    let x = numbers(&run("random_uniform", &attrs, &[])[0]);
    assert!(x.iter().all(|v| (-1.0..3.0).contains(v)));
    close(moments(&x), [1.0, 16.0 / 12.0, 1.8]);
    let attrs = seeded(&[shape, ("mean", Attr::Float(2.0)), ("scale", Attr::Float(0.5))]);
    close(moments(&numbers(&run("random_normal", &attrs, &[])[0])), [2.0, 0.25, 3.0]);
}

#[test]
fn chances_are_met() {
    let p = floats(&[N as usize], &vec![0.3; N as usize]);
    let ones: f64 = numbers(&run("bernoulli", &seeded(&[]), &[p])[0]).iter().sum();
    assert!((ones / N as f64 - 0.3).abs() < 0.01);
    let never = run("bernoulli", &seeded(&[]), &[floats(&[3], &[0.0, 1.0, f32::NAN])]);
    assert_eq!(numbers(&never[0]), [0.0, 1.0, 0.0]);
    let logits = floats(&[1, 3], &[1f32.ln(), f32::NEG_INFINITY, 3f32.ln()]);
    let attrs = [("seed", Attr::Float(1.0)), ("sample_size", Attr::Int(N))];
    let drawn = numbers(&run("multinomial", &attrs, &[logits])[0]);
    let share = |c: f64| drawn.iter().filter(|d| **d == c).count() as f64 / N as f64;
    assert!((share(0.0) - 0.25).abs() < 0.01 && share(1.0) == 0.0);
}

#[test]
fn a_seed_fixes_the_numbers() {
    let attrs = seeded(&[("shape", Attr::Ints(vec![4]))]);
    assert_eq!(run("random_normal", &attrs, &[]), run("random_normal", &attrs, &[]));
    let free = [("shape", Attr::Ints(vec![4]))];
    assert_ne!(run("random_normal", &free, &[]), run("random_normal", &free, &[]));
    let like = run("random_uniform", &[], &[floats(&[2, 3], &[0.0; 6])]);
    assert_eq!(shape(&like[0]), [2, 3]);
}

#[test]
fn dropout_keeps_what_numpy_keeps() {
    // numpy.random.RandomState(0).uniform(0, 1, (2, 3)) >= 0.5
    let x = floats(&[2, 3], &[0.0; 6]);
    let attrs = [("seed", Attr::Int(0))];
    let mask = run_numbers("dropout_mask", &attrs, &[x, floats(&[], &[0.5])]);
    assert_eq!(mask[0], (vec![2, 3], vec![1.0, 1.0, 1.0, 1.0, 0.0, 1.0]));
}
