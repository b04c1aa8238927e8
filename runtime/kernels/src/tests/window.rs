//! Depthwise convolution and pooling against loops in f64.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::{CLAMP, DwconvArgs, POOL_MAX, POOL_MEAN, POOL_MEAN_PADDED, PoolArgs, f32_word};

/// One output row to check.
#[derive(Clone, Copy, Debug)]
struct Case {
    channels: i64,
    /// Image height and width.
    image: (i64, i64),
    /// Window height and width.
    window: (i64, i64),
    stride: i64,
    pad: i64,
    dilation: i64,
    pixels: i64,
    /// Elements between the channels of one pixel and the next.
    gap: i64,
    ih0: i64,
}

impl Case {
    /// Calls `visit` with output pixel, tap and input offset of every tap inside the image.
    fn taps(&self, mut visit: impl FnMut(i64, i64, i64)) {
        let ((h, w), (kh, kw)) = (self.image, self.window);
        for pixel in 0..self.pixels {
            for tap in 0..kh * kw {
                let ih = self.ih0 + tap / kw * self.dilation;
                let iw = pixel * self.stride - self.pad + tap % kw * self.dilation;
                if (0..h).contains(&ih) && (0..w).contains(&iw) {
                    visit(pixel, tap, (ih * w + iw) * (self.channels + self.gap));
                }
            }
        }
    }

    /// The image; its last pixel ends at the guard.
    fn pixels_of_image(&self) -> Vec<f32> {
        let len = self.image.0 * self.image.1 * (self.channels + self.gap) - self.gap;
        Random(11).vec(len as usize)
    }

    /// An output row full of a value that must stay between pixels.
    fn output(&self) -> Vec<f32> {
        vec![77.0; ((self.pixels * (self.channels + self.gap)) - self.gap).max(0) as usize]
    }

    /// Compares an output row with the exact one.
    fn compare(&self, kernel: &Kernel, got: &[f32], want: &[f64]) {
        let (channels, stride) = (self.channels as usize, (self.channels + self.gap) as usize);
        for (at, &value) in got.iter().enumerate() {
            let (pixel, channel) = (at / stride, at % stride);
            if channel >= channels {
                assert_eq!(value, 77.0, "{} {self:?} wrote between pixels", kernel.name);
                continue;
            }
            let want = want[pixel * channels + channel];
            let near = (f64::from(value) - want).abs() < 1e-5;
            assert!(
                near || f64::from(value) == want,
                "{} {self:?} pixel {pixel} channel {channel}: {value}, expected {want}",
                kernel.name
            );
        }
    }
}

/// Rows of all shapes: sizes around the tiles, edges on each side, rows outside the image.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for channels in [1, 15, 16, 17, 40] {
        for (window, stride, pad, dilation) in [
            ((3, 3), 1, 1, 1),
            ((3, 3), 2, 1, 1),
            ((5, 5), 1, 2, 1),
            ((5, 5), 2, 2, 1),
            ((3, 2), 3, 0, 2),
            ((1, 7), 1, 6, 1),
            ((2, 2), 1, 5, 3),
        ] {
            for (w, ih0) in [(1, -1), (2, 0), (9, 4), (23, 1), (19, -9)] {
                let reach = (window.1 - 1) * dilation + 1;
                let pixels = ((w + 2 * pad - reach) / stride + 1).max(0);
                let image = (5, w);
                let gap = w % 3;
                cases.push(Case { channels, image, window, stride, pad, dilation, pixels, gap, ih0 });
            }
        }
    }
    cases
}

#[test]
fn depthwise_convolution() {
    for kernel in rows_of("f32_dwconv") {
        for case in cases() {
            for (flags, with_bias) in [(0, false), (CLAMP, true)] {
                convolve(kernel, case, flags, with_bias);
            }
        }
    }
}

fn convolve(kernel: &Kernel, case: Case, flags: i64, with_bias: bool) {
    let (channels, taps) = (case.channels as usize, (case.window.0 * case.window.1) as usize);
    let (image, mut random) = (case.pixels_of_image(), Random(5));
    let (weights, bias) = (random.vec(taps * channels), random.vec(channels));
    let mut want = vec![0.0; case.pixels as usize * channels];
    for (at, sum) in want.iter_mut().enumerate() {
        *sum = if with_bias { f64::from(bias[at % channels]) } else { 0.0 };
    }
    case.taps(|pixel, tap, offset| {
        for c in 0..channels {
            let product =
                f64::from(image[offset as usize + c]) * f64::from(weights[tap as usize * channels + c]);
            want[pixel as usize * channels + c] += product;
        }
    });
    if flags & CLAMP != 0 {
        want.iter_mut().for_each(|sum| *sum = sum.clamp(-0.5, 0.25));
    }
    let (x, out) = (Guarded::new(&image), Guarded::new(&case.output()));
    let (weights, bias) = (Guarded::new(&weights), Guarded::new(&bias));
    let stride = case.channels + case.gap;
    call(
        kernel,
        &DwconvArgs {
            out: out.ptr(),
            out_pixel_stride: stride,
            x: x.ptr(),
            x_row_stride: stride * case.image.1,
            x_pixel_stride: stride,
            h: case.image.0,
            w: case.image.1,
            c_n: case.channels,
            ow_n: case.pixels,
            ih0: case.ih0,
            kh: case.window.0,
            kw: case.window.1,
            stride_w: case.stride,
            pad_w: case.pad,
            dil_h: case.dilation,
            dil_w: case.dilation,
            weights: weights.ptr(),
            w_tap_stride: case.channels,
            bias: if with_bias { bias.ptr() } else { core::ptr::null_mut() },
            flags,
            lo: f32_word(-0.5),
            hi: f32_word(0.25),
        },
    );
    case.compare(kernel, out.get(), &want);
}

#[test]
fn pooling() {
    for kernel in rows_of("f32_pool") {
        for case in cases() {
            for kind in [POOL_MAX, POOL_MEAN, POOL_MEAN_PADDED] {
                pool(kernel, case, kind);
            }
        }
    }
}

fn pool(kernel: &Kernel, case: Case, kind: i64) {
    let channels = case.channels as usize;
    let image = case.pixels_of_image();
    let start = if kind == POOL_MAX { f64::NEG_INFINITY } else { 0.0 };
    let mut want = vec![start; case.pixels as usize * channels];
    let mut counts = vec![0f64; case.pixels as usize];
    case.taps(|pixel, _, offset| {
        counts[pixel as usize] += 1.0;
        for c in 0..channels {
            let (x, y) = (f64::from(image[offset as usize + c]), &mut want[pixel as usize * channels + c]);
            *y = if kind == POOL_MAX { y.max(x) } else { *y + x };
        }
    });
    // One column and row of padding after the image counts.
    let padded = |pixel: i64| {
        let ((h, w), (kh, kw)) = (case.image, case.window);
        let rows = (0..kh).filter(|k| case.ih0 + k * case.dilation < h + 1).count();
        let columns = (0..kw).filter(|k| pixel * case.stride - case.pad + k * case.dilation < w + 1).count();
        (rows * columns) as f64
    };
    for (at, y) in want.iter_mut().enumerate() {
        let pixel = at / channels;
        match kind {
            POOL_MEAN => *y /= counts[pixel].max(1.0),
            POOL_MEAN_PADDED => *y /= padded(pixel as i64).max(1.0),
            _ => {}
        }
    }
    let (x, out) = (Guarded::new(&image), Guarded::new(&case.output()));
    let stride = case.channels + case.gap;
    call(
        kernel,
        &PoolArgs {
            out: out.ptr(),
            out_pixel_stride: stride,
            x: x.ptr(),
            x_row_stride: stride * case.image.1,
            x_pixel_stride: stride,
            h: case.image.0,
            w: case.image.1,
            c_n: case.channels,
            ow_n: case.pixels,
            ih0: case.ih0,
            kh: case.window.0,
            kw: case.window.1,
            stride_w: case.stride,
            pad_w: case.pad,
            dil_h: case.dilation,
            dil_w: case.dilation,
            kind,
            pad_right: 1,
            pad_bottom: 1,
        },
    );
    case.compare(kernel, out.get(), &want);
}

#[test]
fn the_greatest_element_keeps_a_nan_wherever_it_is() {
    for kernel in rows_of("f32_pool") {
        for at in 0..3 {
            let mut image = [1.0f32, 2.0, 3.0];
            image[at] = f32::NAN;
            let out = Guarded::new(&[0.0f32]);
            let args = PoolArgs {
                out: out.ptr(),
                out_pixel_stride: 1,
                x: image.as_ptr(),
                x_row_stride: 3,
                x_pixel_stride: 1,
                h: 1,
                w: 3,
                c_n: 1,
                ow_n: 1,
                ih0: 0,
                kh: 1,
                kw: 3,
                stride_w: 1,
                pad_w: 0,
                dil_h: 1,
                dil_w: 1,
                kind: POOL_MAX,
                pad_right: 0,
                pad_bottom: 0,
            };
            call(kernel, &args);
            assert!(out.get()[0].is_nan(), "{} lost the NaN at {at}", kernel.name);
        }
    }
}
