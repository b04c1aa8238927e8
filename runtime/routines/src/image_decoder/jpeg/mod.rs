//! JPEG with 8 bits a sample, baseline and progressive, one or three components: pixels as
//! libjpeg gives them, bit by bit.
//!
//! ONNX's `ImageDecoder` prescribes how chroma is upsampled, which image's own decoder does
//! otherwise. (ITU-T T.81; jidctint.c, jdsample.c and jdcolor.c of libjpeg-turbo)

mod bits;
mod color;
mod idct;
mod scan;

use super::{MAX_PIXELS, Pixels};
use bits::Huffman;

/// Where the coefficient of a zigzag position lies in its block.
#[rustfmt::skip]
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One color channel.
struct Component {
    id: u8,
    /// Sampling factors.
    h: usize,
    v: usize,
    quant: usize,
    /// Samples that the image needs.
    width: usize,
    height: usize,
    /// Blocks in a row, whole minimum coded units.
    stride: usize,
    coefficients: Vec<i16>,
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    /// Largest sampling factors.
    h: usize,
    v: usize,
    components: Vec<Component>,
}

/// What the segments before a scan set.
struct Tables {
    quant: [[i32; 64]; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
    jfif: bool,
    /// The color transform of an Adobe segment.
    adobe: Option<u8>,
}

/// Whether a file is a JPEG file of the kinds that [`decode`] decodes.
pub(super) fn is_supported(bytes: &[u8]) -> bool {
    let frame = || {
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        loop {
            let marker = next_marker(&mut rest)?;
            let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            match marker {
                0xc4 | 0xc8 | 0xcc => {}
                0xc0..=0xcf => return Some((marker, *rest.get(2)?, *rest.get(7)?)),
                _ => {}
            }
            rest = rest.get(len..)?;
        }
    };
    matches!(frame(), Some((0xc0..=0xc2, 8, 1 | 3)))
}

/// The image in a file, or `None` if it is damaged, cut off or of another kind.
pub(super) fn decode(bytes: &[u8]) -> Option<Pixels> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    let mut tables = Tables {
        quant: [[1; 64]; 4],
        dc: [None, None, None, None],
        ac: [None, None, None, None],
        restart: 0,
        jfif: false,
        adobe: None,
    };
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    loop {
        let marker = next_marker(&mut rest)?;
        if marker == 0xd9 {
            break;
        }
        let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let (segment, after) = (rest.get(2..len)?, rest.get(len..)?);
        rest = after;
        match marker {
            0xc0..=0xc2 if frame.is_none() => frame = Some(read_frame(segment, marker == 0xc2)?),
            0xc4 => tables.read_huffman(segment)?,
            0xdb => tables.read_quantization(segment)?,
            0xdd => tables.restart = u16::from_be_bytes(*segment.first_chunk()?).into(),
            0xda => {
                scans += 1;
                // A progressive file of many empty scans would take long for its size.
                if scans > 1000 {
                    return None;
                }
                rest = scan::decode(frame.as_mut()?, &tables, segment, rest)?;
            }
            0xe0 => tables.jfif |= segment.starts_with(b"JFIF\0"),
            0xee if segment.starts_with(b"Adobe") => tables.adobe = segment.get(11).copied(),
            0xc0..=0xcf => return None,
            _ => {}
        }
    }
    if scans == 0 { None } else { color::assemble(&frame?, &tables) }
}

/// Skips to the next marker and past it.
fn next_marker(rest: &mut &[u8]) -> Option<u8> {
    loop {
        let at = rest.iter().position(|b| *b == 0xff)?;
        *rest = &rest[at + 1..];
        let marker = *rest.first()?;
        if !matches!(marker, 0 | 0xff | 0xd0..=0xd7) {
            *rest = &rest[1..];
            return Some(marker);
        }
    }
}

fn read_frame(segment: &[u8], progressive: bool) -> Option<Frame> {
    let [8, y1, y0, x1, x0, count] = *segment.first_chunk()? else { return None };
    let height = usize::from(u16::from_be_bytes([y1, y0]));
    let width = usize::from(u16::from_be_bytes([x1, x0]));
    if !matches!(count, 1 | 3) || width == 0 || height == 0 || width * height > MAX_PIXELS {
        return None;
    }
    let specs: Vec<[u8; 3]> = segment.get(6..6 + 3 * usize::from(count))?.as_chunks().0.to_vec();
    let valid = |s: &[u8; 3]| (1..=4).contains(&(s[1] >> 4)) && (1..=4).contains(&(s[1] & 15)) && s[2] < 4;
    if !specs.iter().all(valid) {
        return None;
    }
    let h = specs.iter().map(|s| usize::from(s[1] >> 4)).max()?;
    let v = specs.iter().map(|s| usize::from(s[1] & 15)).max()?;
    let (mcus_x, mcus_y) = (width.div_ceil(8 * h), height.div_ceil(8 * v));
    let mut components = Vec::new();
    // Three full planes, and what pads units.
    let mut left = 4 * MAX_PIXELS;
    for [id, factors, quant] in specs {
        let (own_h, own_v) = (usize::from(factors >> 4), usize::from(factors & 15));
        let stride = mcus_x * own_h;
        let len = stride * mcus_y * own_v * 64;
        left = left.checked_sub(len)?;
        components.push(Component {
            id,
            h: own_h,
            v: own_v,
            quant: quant.into(),
            width: (width * own_h).div_ceil(h),
            height: (height * own_v).div_ceil(v),
            stride,
            coefficients: vec![0; len],
        });
    }
    Some(Frame { width, height, progressive, h, v, components })
}

impl Tables {
    fn read_quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((head, rest)) = segment.split_first() {
            let table = self.quant.get_mut(usize::from(head & 15))?;
            let wide = head >> 4 != 0;
            let (data, rest) = rest.split_at_checked(if wide { 128 } else { 64 })?;
            for (i, place) in ZIGZAG.into_iter().enumerate() {
                table[place] = match wide {
                    true => u16::from_be_bytes([data[2 * i], data[2 * i + 1]]).into(),
                    false => data[i].into(),
                };
            }
            segment = rest;
        }
        Some(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((head, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let len = counts.iter().map(|c| usize::from(*c)).sum();
            let (symbols, rest) = rest.split_at_checked(len)?;
            let class = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *class.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }
}
