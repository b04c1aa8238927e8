//! Depthwise convolution.

use super::window::{Body, Place, Window};
use crate::args::{CLAMP, DwconvArgs, word_f32};
use crate::simd::{F32x16, LANES};

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
    unsafe fn tile<const T: usize, const C: usize, const WHOLE: bool>(&self, place: &Place) {
        let args = self.0;
        let mut acc = [[V::splat(0.0); C]; T];
        if !args.bias.is_null() {
            // SAFETY: the place's channels exist.
            acc = [unsafe { load::<V, C, WHOLE>(args.bias.wrapping_add(place.channel), place.len) }; T];
        }
        let full = T > 1 && args.dil_w == 1;
        // SAFETY: the place's taps lie inside the image; its columns are all of the window for T > 1.
        unsafe {
            match (args.kw, args.stride_w) {
                (3, 1) if full => self.columns::<T, C, WHOLE, 3, 1>(&mut acc, place),
                (3, 2) if full => self.columns::<T, C, WHOLE, 3, 2>(&mut acc, place),
                (5, 1) if full => self.columns::<T, C, WHOLE, 5, 1>(&mut acc, place),
                (5, 2) if full => self.columns::<T, C, WHOLE, 5, 2>(&mut acc, place),
                _ => self.any_columns::<T, C, WHOLE>(&mut acc, place),
            }
        }
        let (lo, hi) = (V::splat(word_f32(args.lo)), V::splat(word_f32(args.hi)));
        for (t, sums) in acc.iter().enumerate() {
            let at = (place.pixel + t as i64) as isize * args.out_pixel_stride as isize;
            let out = args.out.wrapping_offset(at).wrapping_add(place.channel);
            for (c, &sum) in sums.iter().enumerate() {
                let sum = if args.flags & CLAMP != 0 { hi.min(lo.max(sum)) } else { sum };
                let out = out.wrapping_add(c * LANES);
                // SAFETY: the pixel and the place's channels exist.
                unsafe { if WHOLE { sum.store(out) } else { sum.store_part(out, place.len) } };
            }
        }
    }
}

impl<V: F32x16> Convolution<'_, V> {
    /// The first pixel's input at a tap, and the tap's weights.
    #[inline(always)]
    fn tap(&self, place: &Place, kh: i64, kw: i64) -> (*const f32, *const f32) {
        let args = self.0;
        let row = (args.ih0 + kh * args.dil_h) as isize * args.x_row_stride as isize;
        let column = (place.pixel * args.stride_w - args.pad_w + kw * args.dil_w) as isize;
        let x = args.x.wrapping_offset(row + column * args.x_pixel_stride as isize);
        let tap = (kh * args.kw + kw) as isize * args.w_tap_stride as isize;
        let weights = args.weights.wrapping_offset(tap);
        (x.wrapping_add(place.channel), weights.wrapping_add(place.channel))
    }

    /// Adds all taps of a window of fixed width and stride without dilation: the columns that
    /// neighboring pixels share are loaded once.
    ///
    /// # Safety
    /// All the window's columns lie inside the image at all pixels of the place.
    #[inline(always)]
    unsafe fn columns<
        const T: usize,
        const C: usize,
        const WHOLE: bool,
        const KW: usize,
        const STRIDE: usize,
    >(
        &self,
        acc: &mut [[V; C]; T],
        place: &Place,
    ) {
        let (pixel, tap) = (self.0.x_pixel_stride as isize, self.0.w_tap_stride as isize);
        for kh in place.kh.clone() {
            let (x, weights) = self.tap(place, kh, 0);
            for kw in 0..KW {
                // SAFETY: the tap lies inside the image, the place's channels exist.
                unsafe {
                    let w: [V; C] =
                        load::<V, C, WHOLE>(weights.wrapping_offset(kw as isize * tap), place.len);
                    for (t, sums) in acc.iter_mut().enumerate() {
                        let x = x.wrapping_offset((t * STRIDE + kw) as isize * pixel);
                        accumulate(sums, load::<V, C, WHOLE>(x, place.len), w);
                    }
                }
            }
        }
    }

    /// Adds the place's taps.
    ///
    /// # Safety
    /// They lie inside the image at all pixels of the place.
    #[inline(always)]
    unsafe fn any_columns<const T: usize, const C: usize, const WHOLE: bool>(
        &self,
        acc: &mut [[V; C]; T],
        place: &Place,
    ) {
        let step = self.0.stride_w as isize * self.0.x_pixel_stride as isize;
        for kh in place.kh.clone() {
            for kw in place.kw.clone() {
                let (x, weights) = self.tap(place, kh, kw);
                // SAFETY: the tap lies inside the image, the place's channels exist.
                unsafe {
                    let w: [V; C] = load::<V, C, WHOLE>(weights, place.len);
                    for (t, sums) in acc.iter_mut().enumerate() {
                        let x = x.wrapping_offset(t as isize * step);
                        accumulate(sums, load::<V, C, WHOLE>(x, place.len), w);
                    }
                }
            }
        }
    }
}

/// Adds products lane by lane.
#[inline(always)]
fn accumulate<V: F32x16, const C: usize>(sums: &mut [V; C], x: [V; C], w: [V; C]) {
    for c in 0..C {
        sums[c] = x[c].mul_add(w[c], sums[c]);
    }
}

/// Reads `C` vectors of channels, of `len` if they are not whole.
///
/// # Safety
/// The channels exist.
#[inline(always)]
unsafe fn load<V: F32x16, const C: usize, const WHOLE: bool>(src: *const f32, len: usize) -> [V; C] {
    core::array::from_fn(|c| {
        let src = src.wrapping_add(c * LANES);
        // SAFETY: the caller's promise.
        unsafe { if WHOLE { V::load(src) } else { V::load_part(src, len) } }
    })
}
