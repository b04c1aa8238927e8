//! `image_decoder`: an image file to pixels, behind feature `image`.

use crate::inputs::{Inputs, wrong};
use crate::{Attrs, RoutineError};
use image::{ImageReader, Limits};
use nnc_tensor::{DType, Tensor, Value};
use std::io::Cursor;

/// Input the bytes of a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP file; attribute `pixel_format` =
/// `RGB` (`BGR`, `Grayscale`); output u8 `[height, width, channels]`, empty where the bytes cannot
/// be decoded. Transparency is dropped. An image may take 512 MB.
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
    let (width, height) = (image.width() as usize, image.height() as usize);
    let gray = image.color().channel_count() < 3;
    let mut pixels = image.into_rgb8().into_raw();
    match format {
        "BGR" => pixels.chunks_exact_mut(3).for_each(<[u8]>::reverse),
        "Grayscale" => pixels = pixels.chunks_exact(3).map(|p| luma(p, gray)).collect(),
        _ => {}
    }
    Ok(vec![Tensor::from_bytes(DType::U8, vec![height, width, channels], &pixels)?.into()])
}

fn decode(bytes: &[u8]) -> Option<image::DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(512 << 20);
    reader.limits(limits);
    reader.decode().ok()
}

/// ITU-R 601 in 16 bits, as Pillow computes it; gray pixels pass.
fn luma(p: &[u8], gray: bool) -> u8 {
    if gray {
        return p[0];
    }
    let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}
