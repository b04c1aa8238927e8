//! Depthwise convolution.

use super::window::{Body, Place, Window};
use crate::args::{CLAMP, DwconvArgs, word_f32};
use crate::simd::F32x16;

/// Computes one output row in tiles of `T` pixels, then of `HALF`.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn dwconv<V: F32x16, const T: usize, const HALF: usize>(args: &DwconvArgs) {
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
    unsafe { window.visit::<T, HALF>(&Convolution::<V>(args, core::marker::PhantomData)) }
}

/// The products of a window with the weights.
struct Convolution<'a, V>(&'a DwconvArgs, core::marker::PhantomData<V>);

impl<V: F32x16> Body for Convolution<'_, V> {
    #[inline(always)]
    unsafe fn tile<const T: usize, const WHOLE: bool>(&self, place: &Place) {
        let (args, channel) = (self.0, place.channel);
        let load = |src: *const f32| {
            // SAFETY: it is called for elements of the place's channels.
            unsafe { if WHOLE { V::load(src) } else { V::load_part(src, place.len) } }
        };
        let bias = if args.bias.is_null() { V::splat(0.0) } else { load(args.bias.wrapping_add(channel)) };
        let mut acc = [bias; T];
        let step = args.stride_w as isize * args.x_pixel_stride as isize;
        for kh in place.kh.clone() {
            let row = (args.ih0 + kh * args.dil_h) as isize * args.x_row_stride as isize;
            for kw in place.kw.clone() {
                let column = place.pixel * args.stride_w - args.pad_w + kw * args.dil_w;
                let at = row + column as isize * args.x_pixel_stride as isize;
                let x = args.x.wrapping_offset(at).wrapping_add(channel);
                let tap = (kh * args.kw + kw) as isize * args.w_tap_stride as isize;
                let weight = load(args.weights.wrapping_offset(tap).wrapping_add(channel));
                for (t, sum) in acc.iter_mut().enumerate() {
                    *sum = load(x.wrapping_offset(t as isize * step)).mul_add(weight, *sum);
                }
            }
        }
        for (t, &sum) in acc.iter().enumerate() {
            let at = (place.pixel + t as i64) as isize * args.out_pixel_stride as isize;
            let out = args.out.wrapping_offset(at).wrapping_add(channel);
            let clamped = args.flags & CLAMP != 0;
            let (lo, hi) = (V::splat(word_f32(args.lo)), V::splat(word_f32(args.hi)));
            let sum = if clamped { hi.min(lo.max(sum)) } else { sum };
            // SAFETY: the pixel and the place's channels exist.
            unsafe { if WHOLE { sum.store(out) } else { sum.store_part(out, place.len) } };
        }
    }
}
