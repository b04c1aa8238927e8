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

/// Some neighboring output pixels and channels, all with the same taps.
pub(super) struct Place {
    /// First output pixel.
    pub(super) pixel: i64,
    /// First channel.
    pub(super) channel: usize,
    /// Channels of each vector, at most 16.
    pub(super) len: usize,
    /// Window rows inside the image.
    pub(super) kh: Range<i64>,
    /// Window columns inside the image.
    pub(super) kw: Range<i64>,
}

/// Vectors of channels that are taken at a time at the edges.
const EDGE_VECTORS: usize = 4;

/// Computes some pixels at a place.
pub(super) trait Body {
    /// Computes `T` pixels of `C` vectors of channels; `WHOLE` says that each has 16 channels.
    ///
    /// # Safety
    /// The place lies within the arguments' sizes.
    unsafe fn tile<const T: usize, const C: usize, const WHOLE: bool>(&self, place: &Place);
}

impl Window {
    /// Visits the whole row: interior pixels in tiles of `T`, then of `HALF`; what is left of them and
    /// the edges one by one, several vectors of channels at a time.
    ///
    /// # Safety
    /// The body's arguments are valid for this window.
    #[inline(always)]
    pub(super) unsafe fn visit<const T: usize, const HALF: usize>(&self, body: &impl Body) {
        let (mut interior, kh) = (self.interior(), inside(self.ih0, self.dil_h, self.kh, self.h));
        interior.end -= (interior.end - interior.start) % HALF as i64;
        for pixel in (0..interior.start).chain(interior.end..self.pixels) {
            let kw = inside(pixel * self.stride_w - self.pad_w, self.dil_w, self.kw, self.w);
            let mut place = Place { pixel, channel: 0, len: LANES, kh: kh.clone(), kw };
            // SAFETY: the pixel exists and has these taps.
            unsafe { self.edge(body, &mut place) };
        }
        for channel in (0..self.channels.max(0) as usize).step_by(LANES) {
            let len = (self.channels as usize - channel).min(LANES);
            let mut place = Place { pixel: interior.start, channel, len, kh: kh.clone(), kw: 0..self.kw };
            while place.pixel < interior.end {
                let count = if interior.end - place.pixel >= T as i64 { T } else { HALF };
                // SAFETY: `count` pixels from here are output pixels with all taps.
                unsafe {
                    match (count, len) {
                        (count, LANES) if count == T => body.tile::<T, 1, true>(&place),
                        (count, _) if count == T => body.tile::<T, 1, false>(&place),
                        (_, LANES) => body.tile::<HALF, 1, true>(&place),
                        _ => body.tile::<HALF, 1, false>(&place),
                    }
                }
                place.pixel += count as i64;
            }
        }
    }

    /// Visits the channels of one pixel, several vectors at a time.
    ///
    /// # Safety
    /// The place is a pixel of the output with its taps.
    #[inline(always)]
    unsafe fn edge(&self, body: &impl Body, place: &mut Place) {
        let channels = self.channels.max(0) as usize;
        while place.channel < channels {
            let left = channels - place.channel;
            place.len = left.min(LANES);
            // SAFETY: the channels exist.
            place.channel += unsafe {
                if left >= EDGE_VECTORS * LANES {
                    body.tile::<1, EDGE_VECTORS, true>(place);
                    EDGE_VECTORS * LANES
                } else if left >= LANES {
                    body.tile::<1, 1, true>(place);
                    LANES
                } else {
                    body.tile::<1, 1, false>(place);
                    left
                }
            };
        }
    }

    /// The output pixels whose every column lies inside the image.
    #[inline(always)]
    fn interior(&self) -> Range<i64> {
        let (stride, reach) = (self.stride_w.max(1), (self.kw - 1).max(0) * self.dil_w);
        let first = div_up(self.pad_w, stride).clamp(0, self.pixels.max(0));
        // Up to the last pixel p with p * stride - pad + reach <= w - 1.
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
