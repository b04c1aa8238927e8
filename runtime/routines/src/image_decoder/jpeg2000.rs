//! JPEG 2000 by the hayro-jpeg2000 crate.

use super::{MAX_PIXELS, Pixels};
use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};

/// The image in a file, or `None` if it is damaged, too large or of another kind.
pub(super) fn decode(bytes: &[u8]) -> Option<Pixels> {
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).ok()?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let channels = match image.color_space() {
        ColorSpace::CMYK => return None,
        space => usize::from(space.num_channels()),
    };
    let stored = channels + usize::from(image.has_alpha());
    if !matches!(channels, 1 | 3) || width.checked_mul(height)? > MAX_PIXELS {
        return None;
    }
    let mut context = DecoderContext::default();
    let data = image.decode(&mut context).ok()?.data_u8();
    if data.len() != width * height * stored {
        return None;
    }
    let data = data.chunks_exact(stored).flat_map(|p| p.iter().take(channels).copied()).collect();
    Some(Pixels { width, height, channels, data })
}
