//! The loops around a window: channels by 16, pixels by tiles, edges pixel by pixel.

use core::ops::Range;

use crate::simd::LANES;

/// The geometry of one output row.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) h: i64,
    pub(super) w: i64,
    pub(super) channels: i64,
    pub(super) pixels: i64,
    pub(super) ih0: i64,
    pub(super) kh: i64,
    pub(super) kw: i64,
    pub(super) stride_w: i64,
    pub(super) pad_w: i64,
    pub(super) dil_h: i64,
    pub(super) dil_w: i64,
}

/// Some neighboring output pixels of up to 16 channels, all with the same taps.
pub(super) struct Place {
    /// First output pixel.
    pub(super) pixel: i64,
    /// First channel.
    pub(super) channel: usize,
    /// Channels, at most 16.
    pub(super) len: usize,
    /// Window rows inside the image.
    pub(super) kh: Range<i64>,
    /// Window columns inside the image.
    pub(super) kw: Range<i64>,
}

/// Computes some pixels at a place.
pub(super) trait Body {
    /// Computes `T` pixels; `WHOLE` says that the place has 16 channels.
    ///
    /// # Safety
    /// The place lies within the arguments' sizes.
    unsafe fn tile<const T: usize, const WHOLE: bool>(&self, place: &Place);
}

impl Window {
    /// Visits the whole row, interior pixels in tiles of `T`, then of `HALF`.
    ///
    /// # Safety
    /// The body's arguments are valid for this window.
    #[inline(always)]
    pub(super) unsafe fn visit<const T: usize, const HALF: usize>(&self, body: &impl Body) {
        let kh = inside(self.ih0, self.dil_h, self.kh, self.h);
        let interior = self.interior();
        for channel in (0..self.channels.max(0) as usize).step_by(LANES) {
            let len = (self.channels as usize - channel).min(LANES);
            let mut pixel = 0;
            while pixel < self.pixels {
                let left = if interior.contains(&pixel) { interior.end - pixel } else { 1 };
                let count = [T, HALF].into_iter().find(|&count| left >= count as i64).unwrap_or(1);
                let kw = inside(pixel * self.stride_w - self.pad_w, self.dil_w, self.kw, self.w);
                let place = Place { pixel, channel, len, kh: kh.clone(), kw };
                // SAFETY: `count` pixels from here are output pixels with the same taps.
                unsafe {
                    match (count, len) {
                        (1, LANES) => body.tile::<1, true>(&place),
                        (1, _) => body.tile::<1, false>(&place),
                        (count, LANES) if count == T => body.tile::<T, true>(&place),
                        (count, _) if count == T => body.tile::<T, false>(&place),
                        (_, LANES) => body.tile::<HALF, true>(&place),
                        _ => body.tile::<HALF, false>(&place),
                    }
                }
                pixel += count as i64;
            }
        }
    }

    /// The output pixels whose every column lies inside the image.
    #[inline(always)]
    fn interior(&self) -> Range<i64> {
        let (stride, reach) = (self.stride_w.max(1), (self.kw - 1).max(0) * self.dil_w);
        let first = div_up(self.pad_w, stride).max(0);
        // The last pixel p with p * stride - pad + reach <= w - 1.
        let end = div_up(self.w - reach + self.pad_w, stride).min(self.pixels);
        first..end.max(first)
    }
}

/// `a / b` rounded up, for any sign of `a`.
#[inline(always)]
fn div_up(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

/// Which of `n` taps, `step` apart from `start`, lie in `0..size`.
#[inline(always)]
fn inside(start: i64, step: i64, n: i64, size: i64) -> Range<i64> {
    let step = step.max(1);
    let first = div_up(-start, step).clamp(0, n.max(0));
    let end = div_up(size - start, step).clamp(first, n.max(first));
    first..end
}
