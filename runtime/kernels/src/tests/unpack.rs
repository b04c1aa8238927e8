//! `f32_unpack4` against the formula of its contract.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::args::{Unpack4Args, f32_word};

#[test]
fn blocks_with_and_without_zero_points() {
    for kernel in rows_of("f32_unpack4") {
        for (k, panels, block) in [(0, 1, 16), (1, 1, 32), (31, 2, 16), (64, 3, 32), (70, 1, 128)] {
            for with_zeros in [false, true] {
                let blocks = usize::div_ceil(k, block);
                let bytes: Vec<u8> = (0..panels * k * 8).map(|i| (i * 151 % 256) as u8).collect();
                let scales = Random(3).vec(panels * blocks * 16);
                let zeros: Vec<f32> = (0..scales.len()).map(|i| (i % 16) as f32).collect();
                let (src, scale, zero) = (Guarded::new(&bytes), Guarded::new(&scales), Guarded::new(&zeros));
                let dst = Guarded::new(&vec![9.0f32; panels * k * 16]);
                call(
                    kernel,
                    &Unpack4Args {
                        dst: dst.ptr(),
                        src: src.ptr(),
                        k: k as i64,
                        panels: panels as i64,
                        block: block as i64,
                        scales: scale.ptr(),
                        zeros: if with_zeros { zero.ptr() } else { core::ptr::null() },
                        zero: f32_word(8.0),
                        src_panel_stride: (k * 8) as i64,
                        scale_panel_stride: (blocks * 16) as i64,
                        dst_panel_stride: (k * 16) as i64,
                    },
                );
                for (at, &found) in dst.get().iter().enumerate() {
                    let (panel, row, column) = (at / (k * 16), at / 16 % k, at % 16);
                    let byte = bytes[(panel * k + row) * 8 + column % 8];
                    let number = if column < 8 { byte & 15 } else { byte >> 4 };
                    let of_block = (panel * blocks + row / block) * 16 + column;
                    let zero = if with_zeros { zeros[of_block] } else { 8.0 };
                    let want = (f32::from(number) - zero) * scales[of_block];
                    assert_eq!(found, want, "{} k {k} block {block} at {at}", kernel.name);
                }
            }
        }
    }
}
