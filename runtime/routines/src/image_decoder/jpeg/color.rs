//! From coefficients to pixels: planes of samples, upsampling, color.

use super::{Component, Frame, Tables, idct};
use crate::image_decoder::Pixels;

/// Samples of one component in rows.
struct Plane {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..(y + 1) * self.width]
    }
}

/// The pixels of a decoded frame.
pub(super) fn assemble(frame: &Frame, tables: &Tables) -> Option<Pixels> {
    let (width, height) = (frame.width, frame.height);
    let mut planes = Vec::new();
    for c in &frame.components {
        let plane = samples(c, &tables.quant[c.quant]);
        planes.push(upsample(plane, frame, c)?);
    }
    let channels = planes.len();
    let mut data = Vec::new();
    data.try_reserve_exact(width * height * channels).ok()?;
    let ycc = is_ycc(frame, tables);
    for y in 0..height {
        match planes.as_slice() {
            [gray] => data.extend_from_slice(&gray.row(y)[..width]),
            [a, b, c] => {
                let pixels = a.row(y).iter().zip(b.row(y)).zip(c.row(y)).take(width);
                data.extend(pixels.flat_map(|((a, b), c)| if ycc { rgb(*a, *b, *c) } else { [*a, *b, *c] }));
            }
            _ => return None,
        }
    }
    Some(Pixels { width, height, channels, data })
}

fn is_ycc(frame: &Frame, tables: &Tables) -> bool {
    let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    match tables.adobe {
        _ if tables.jfif => true,
        Some(transform) => transform != 0,
        None => ids != *b"RGB",
    }
}

/// ITU-R 601 in 16 bits of fraction.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    let r = y + ((91881 * cr + half) >> 16);
    let g = y + ((-22554 * cb - 46802 * cr + half) >> 16);
    let b = y + ((116130 * cb + half) >> 16);
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// The samples that the image needs; what pads blocks and units is cut off.
fn samples(c: &Component, quant: &[i32; 64]) -> Plane {
    let mut data = vec![0; c.width * c.height];
    let rows_of_blocks = c.coefficients.as_chunks::<64>().0.chunks(c.stride);
    for (block_row, rows) in rows_of_blocks.zip(data.chunks_mut(8 * c.width)) {
        for (column, block) in block_row.iter().enumerate().take(c.width.div_ceil(8)) {
            let pixels = idct::block(block, quant);
            for (row, from) in rows.chunks_mut(c.width).zip(pixels.as_chunks::<8>().0) {
                let to = &mut row[8 * column..c.width.min(8 * column + 8)];
                to.copy_from_slice(&from[..to.len()]);
            }
        }
    }
    Plane { width: c.width, height: c.height, data }
}

/// At least as many samples as there are pixels: by a triangle filter where the factor is two, as
/// libjpeg's "fancy" upsampling does, else by repetition.
fn upsample(plane: Plane, frame: &Frame, c: &Component) -> Option<Plane> {
    let whole = frame.h.is_multiple_of(c.h) && frame.v.is_multiple_of(c.v);
    let (h, v) = (frame.h / c.h, frame.v / c.v);
    match (h, v) {
        _ if !whole => None,
        (1, 1) => Some(plane),
        (2, 1) if plane.width > 2 => Some(rows_of(&plane, 1, |y, _, out| wider(plane.row(y), out))),
        (1, 2) => Some(rows_of(&plane, 2, |y, lower, out| {
            let sums = column_sums(&plane, y, lower);
            let bias = if lower { 2 } else { 1 };
            out.extend(sums.into_iter().map(|s| ((s + bias) >> 2) as u8));
        })),
        (2, 2) if plane.width > 2 => {
            Some(rows_of(&plane, 2, |y, lower, out| wider_sums(&column_sums(&plane, y, lower), out)))
        }
        _ => Some(repeat(&plane, h, v)),
    }
}

/// A plane of `v` rows for each one; `fill` gets its number, whether it is the second, and where to
/// put its samples.
fn rows_of(plane: &Plane, v: usize, fill: impl Fn(usize, bool, &mut Vec<u8>)) -> Plane {
    let height = plane.height * v;
    let mut data = Vec::new();
    for y in 0..height {
        fill(y / v, y % v == 1, &mut data);
    }
    Plane { width: data.len() / height, height, data }
}

/// Three parts of a row and one of the row above or below it.
fn column_sums(plane: &Plane, y: usize, lower: bool) -> Vec<u32> {
    let other = if lower { (y + 1).min(plane.height - 1) } else { y.saturating_sub(1) };
    let near_far = plane.row(y).iter().zip(plane.row(other));
    near_far.map(|(near, far)| 3 * u32::from(*near) + u32::from(*far)).collect()
}

fn wider(row: &[u8], out: &mut Vec<u8>) {
    let at = |i: usize| u32::from(row[i]);
    let last = row.len() - 1;
    for i in 0..=last {
        let left = if i == 0 { at(0) } else { (3 * at(i) + at(i - 1) + 1) >> 2 };
        let right = if i == last { at(i) } else { (3 * at(i) + at(i + 1) + 2) >> 2 };
        out.extend([left as u8, right as u8]);
    }
}

fn wider_sums(sums: &[u32], out: &mut Vec<u8>) {
    let last = sums.len() - 1;
    for i in 0..=last {
        let left = if i == 0 { 4 * sums[0] } else { 3 * sums[i] + sums[i - 1] };
        let right = if i == last { 4 * sums[i] } else { 3 * sums[i] + sums[i + 1] };
        out.extend([((left + 8) >> 4) as u8, ((right + 7) >> 4) as u8]);
    }
}

fn repeat(plane: &Plane, h: usize, v: usize) -> Plane {
    rows_of(plane, v, |y, _, out| {
        out.extend(plane.row(y).iter().flat_map(|s| std::iter::repeat_n(*s, h)));
    })
}
