//! `image_decoder`: an image file to pixels, behind feature `image`.

mod jpeg;
mod jpeg2000;

use crate::inputs::{Inputs, wrong};
use crate::{Attrs, RoutineError};
use image::{ImageReader, Limits};
use nnc_tensor::{DType, Tensor, Value};
use std::io::Cursor;

/// Pixels in rows, with 1 or 3 channels.
struct Pixels {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

/// Images with more pixels are not decoded.
const MAX_PIXELS: usize = 1 << 26;

/// Input the bytes of a BMP, GIF, JPEG, JPEG 2000, PNG, PNM, TIFF or WebP file; attribute `pixel_format` =
/// `RGB` (`BGR`, `Grayscale`); output u8 `[height, width, channels]`, empty where the bytes cannot
/// be decoded. Transparency is dropped.
pub(crate) fn image_decoder(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "encoded_stream")?;
    if x.dtype() != DType::U8 || x.rank() != 1 {
        return Err(wrong("encoded_stream", "a list of bytes", x));
    }
    let format = attrs.str("pixel_format")?.unwrap_or("RGB");
    let expected = "\"RGB\", \"BGR\" or \"Grayscale\"";
    if !matches!(format, "RGB" | "BGR" | "Grayscale") {
        return Err(RoutineError::Attr { name: "pixel_format", expected });
    }
    let channels = if format == "Grayscale" { 1 } else { 3 };
    let Some(image) = decode(x.bytes()) else {
        return Ok(vec![Tensor::zeros(DType::U8, &[0, 0, channels])?.into()]);
    };
    let shape = vec![image.height, image.width, channels];
    let pixels = match (format, image.channels) {
        ("Grayscale", 1) => image.data,
        ("Grayscale", _) => image.data.chunks_exact(3).map(luma).collect(),
        (_, 1) => image.data.into_iter().flat_map(|v| [v; 3]).collect(),
        ("BGR", _) => image.data.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect(),
        _ => image.data,
    };
    Ok(vec![Tensor::from_bytes(DType::U8, shape, &pixels)?.into()])
}

fn decode(bytes: &[u8]) -> Option<Pixels> {
    if jpeg::is_supported(bytes) {
        return jpeg::decode(bytes);
    }
    // The bytes are not to be trusted, and these decoders are others' code: a panic in one of
    // them means that the file cannot be decoded.
    let others = || jpeg2000::decode(bytes).or_else(|| decode_other(bytes));
    std::panic::catch_unwind(others).ok().flatten()
}

/// Any format of the image crate, also the JPEG files that [`jpeg`] leaves alone.
fn decode_other(bytes: &[u8]) -> Option<Pixels> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(512 << 20);
    reader.limits(limits);
    let image = reader.decode().ok()?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if image.color().channel_count() < 3 {
        return Some(Pixels { width, height, channels: 1, data: image.into_luma8().into_raw() });
    }
    Some(Pixels { width, height, channels: 3, data: image.into_rgb8().into_raw() })
}

/// ITU-R 601 in 16 bits, as Pillow computes it.
fn luma(p: &[u8]) -> u8 {
    let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}
