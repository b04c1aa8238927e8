//! Damaged files: reading and checking them may fail in any way but a panic.

use std::fs;

use super::corpus::models_folder;
use super::encode::small_model;
use super::read;
use crate::function::inline_functions;
use crate::model::check_graph;

/// Everything that is done with an untrusted file; answers whether it was accepted.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(model) = read(bytes) else { return false };
    inline_functions(model).is_ok_and(|mut model| check_graph(&mut model.graph).is_ok())
}

/// Marsaglia's xorshift, "Xorshift RNGs", 2003: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

fn flip_bytes(original: &[u8], rounds: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut bytes = original.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        exercise(&bytes);
    }
}

#[test]
fn a_small_model_survives_any_damage() {
    let original = small_model();
    assert!(exercise(&original));
    for len in 0..original.len() {
        exercise(&original[..len]);
    }
    flip_bytes(&original, 20_000);
}

#[test]
fn a_trained_model_survives_any_damage() {
    let Some(folder) = models_folder() else { return };
    let original = fs::read(folder.join("trained/mnist-cnn-cntk/model.onnx")).unwrap();
    assert!(exercise(&original));
    for len in (0..original.len()).step_by(7).chain(original.len() - 512..original.len()) {
        exercise(&original[..len]);
    }
    flip_bytes(&original, 2_000);
}
