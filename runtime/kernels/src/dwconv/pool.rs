//! Pooling.

use super::window::{Body, Place, Window};
use crate::args::{POOL_MAX, POOL_MEAN, PoolArgs};
use crate::simd::{F32x16, LANES};

/// Computes one output row in tiles of `T` pixels, then of `HALF`.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn pool<V: F32x16, const T: usize, const HALF: usize>(args: &PoolArgs) {
    let window = Window {
        h: args.h,
        w: args.w,
        channels: args.c_n,
        pixels: args.ow_n,
        ih0: args.ih0,
        kh: args.kh,
        kw: args.kw,
        stride_w: args.stride_w,
        pad_w: args.pad_w,
        dil_h: args.dil_h,
        dil_w: args.dil_w,
    };
    // SAFETY: the window is that of the arguments.
    unsafe {
        if args.kind == POOL_MAX {
            window.visit::<T, HALF>(&Pool::<V, true>(args, core::marker::PhantomData));
        } else {
            window.visit::<T, HALF>(&Pool::<V, false>(args, core::marker::PhantomData));
        }
    }
}

/// The greatest element or the mean.
struct Pool<'a, V, const MAX: bool>(&'a PoolArgs, core::marker::PhantomData<V>);

impl<V: F32x16, const MAX: bool> Pool<'_, V, MAX> {
    /// The inverse of what a sum at the `t`th pixel of a place is divided by.
    #[inline(always)]
    fn factor(&self, place: &Place, t: i64) -> f32 {
        let args = self.0;
        let count = if args.kind == POOL_MEAN {
            (place.kh.end - place.kh.start) * (place.kw.end - place.kw.start)
        } else {
            let start = (place.pixel + t) * args.stride_w - args.pad_w;
            let below = |start: i64, step: i64, end: i64| (0..).take_while(move |k| start + k * step < end);
            let rows = below(args.ih0, args.dil_h.max(1), args.h + args.pad_bottom).take(args.kh as usize);
            let columns = below(start, args.dil_w.max(1), args.w + args.pad_right).take(args.kw as usize);
            (rows.count() * columns.count()) as i64
        };
        1.0 / count.max(1) as f32
    }
}

impl<V: F32x16, const MAX: bool> Body for Pool<'_, V, MAX> {
    #[inline(always)]
    unsafe fn tile<const T: usize, const C: usize, const WHOLE: bool>(&self, place: &Place) {
        let args = self.0;
        let mut acc = [[V::splat(if MAX { f32::NEG_INFINITY } else { 0.0 }); C]; T];
        let step = args.stride_w as isize * args.x_pixel_stride as isize;
        for kh in place.kh.clone() {
            let row = (args.ih0 + kh * args.dil_h) as isize * args.x_row_stride as isize;
            for kw in place.kw.clone() {
                let column = place.pixel * args.stride_w - args.pad_w + kw * args.dil_w;
                let at = row + column as isize * args.x_pixel_stride as isize;
                let x = args.x.wrapping_offset(at).wrapping_add(place.channel);
                for (t, sums) in acc.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        let x = x.wrapping_offset(t as isize * step).wrapping_add(c * LANES);
                        // SAFETY: the tap lies inside the image and the place's channels exist.
                        let x = unsafe { if WHOLE { V::load(x) } else { V::load_part(x, place.len) } };
                        *sum = if MAX { sum.greater(x) } else { *sum + x };
                    }
                }
            }
        }
        for (t, sums) in acc.iter().enumerate() {
            let at = (place.pixel + t as i64) as isize * args.out_pixel_stride as isize;
            let out = args.out.wrapping_offset(at).wrapping_add(place.channel);
            let factor = V::splat(if MAX { 1.0 } else { self.factor(place, t as i64) });
            for (c, &sum) in sums.iter().enumerate() {
                let (sum, out) = (sum * factor, out.wrapping_add(c * LANES));
                // SAFETY: the pixel and the place's channels exist.
                unsafe { if WHOLE { sum.store(out) } else { sum.store_part(out, place.len) } };
            }
        }
    }
}
