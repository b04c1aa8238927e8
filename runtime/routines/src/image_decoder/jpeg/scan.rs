//! Scans: entropy-coded coefficients, all at once or in successive refinements.

use super::bits::{Bits, Huffman};
use super::{Component, Frame, Tables, ZIGZAG};

/// Which coefficients a scan holds, and of which precision.
#[derive(Clone, Copy)]
struct Part {
    progressive: bool,
    /// First and last zigzag position.
    start: usize,
    end: usize,
    /// The bit above which an earlier scan gave the values; 0 for a first scan.
    high: u32,
    /// The lowest bit given here.
    low: u32,
}

/// What goes from block to block.
#[derive(Default)]
struct State {
    /// By component of the scan: the last DC value.
    dc: [i32; 4],
    /// Blocks that end before they begin.
    end_run: u32,
}

/// A component of the scan and its codes.
struct Channel<'a> {
    component: usize,
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
}

/// Decodes the scan that `header` and `data` begin with; answers what follows it.
pub(super) fn decode<'d>(
    frame: &mut Frame,
    tables: &Tables,
    header: &[u8],
    data: &'d [u8],
) -> Option<&'d [u8]> {
    let (count, rest) = header.split_first()?;
    let (specs, rest) = rest.split_at_checked(2 * usize::from(*count))?;
    let mut channels = Vec::new();
    for spec in specs.as_chunks::<2>().0 {
        let component = frame.components.iter().position(|c| c.id == spec[0])?;
        let (dc, ac) = (tables.dc.get(usize::from(spec[1] >> 4))?, tables.ac.get(usize::from(spec[1] & 15))?);
        channels.push(Channel { component, dc: dc.as_ref(), ac: ac.as_ref() });
    }
    let part = read_part(rest, frame.progressive)?;
    if channels.is_empty() || channels.len() > 4 || (part.start > 0 && channels.len() > 1) {
        return None;
    }
    let (mut bits, mut state) = (Bits::new(data), State::default());
    let (columns, rows) = units(frame, &channels);
    for unit in 0..columns * rows {
        if tables.restart > 0 && unit > 0 && unit % tables.restart == 0 {
            bits.restart()?;
            state = State::default();
        }
        decode_unit(frame, &channels, part, (unit % columns, unit / columns), &mut bits, &mut state)?;
    }
    Some(bits.rest())
}

fn read_part(rest: &[u8], progressive: bool) -> Option<Part> {
    let [start, end, precision] = *rest.first_chunk()?;
    let (high, low) = (u32::from(precision >> 4), u32::from(precision & 15));
    if !progressive {
        return Some(Part { progressive, start: 0, end: 63, high: 0, low: 0 });
    }
    let valid =
        start <= end && end < 64 && (start > 0 || end == 0) && low < 14 && (high == 0 || high == low + 1);
    valid.then_some(Part { progressive, start: start.into(), end: end.into(), high, low })
}

/// Columns and rows of units: blocks for a single component, else minimum coded units.
fn units(frame: &Frame, channels: &[Channel]) -> (usize, usize) {
    match channels {
        [one] => {
            let c = &frame.components[one.component];
            (c.width.div_ceil(8), c.height.div_ceil(8))
        }
        _ => (frame.width.div_ceil(8 * frame.h), frame.height.div_ceil(8 * frame.v)),
    }
}

fn decode_unit(
    frame: &mut Frame,
    channels: &[Channel],
    part: Part,
    (x, y): (usize, usize),
    bits: &mut Bits,
    state: &mut State,
) -> Option<()> {
    for (number, channel) in channels.iter().enumerate() {
        let component = &mut frame.components[channel.component];
        let (h, v) = if channels.len() == 1 { (1, 1) } else { (component.h, component.v) };
        for block in 0..h * v {
            let (column, row) = (x * h + block % h, y * v + block / h);
            let block = block_of(component, column, row)?;
            let dc = &mut state.dc[number];
            match (part.progressive, part.start, part.high) {
                (false, ..) => {
                    first_dc(block, bits, channel.dc?, dc, 0)?;
                    first_ac(block, bits, channel.ac?, Part { start: 1, ..part }, &mut 0)?;
                }
                (true, 0, 0) => first_dc(block, bits, channel.dc?, dc, part.low)?,
                (true, 0, _) => block[0] |= (bits.take(1)? << part.low) as i16,
                (true, _, 0) => first_ac(block, bits, channel.ac?, part, &mut state.end_run)?,
                _ => refine_ac(block, bits, channel.ac?, part, &mut state.end_run)?,
            }
        }
    }
    Some(())
}

fn block_of(component: &mut Component, column: usize, row: usize) -> Option<&mut [i16; 64]> {
    let at = row * component.stride + column;
    component.coefficients.as_chunks_mut::<64>().0.get_mut(at)
}

fn first_dc(block: &mut [i16; 64], bits: &mut Bits, table: &Huffman, last: &mut i32, low: u32) -> Option<()> {
    let len = bits.symbol(table)?;
    *last = last.wrapping_add(bits.take_signed(len.into())?);
    block[0] = (*last << low) as i16;
    Some(())
}

/// T.81, figures F.13 and G.3.
fn first_ac(
    block: &mut [i16; 64],
    bits: &mut Bits,
    table: &Huffman,
    part: Part,
    end_run: &mut u32,
) -> Option<()> {
    if *end_run > 0 {
        *end_run -= 1;
        return Some(());
    }
    let mut at = part.start;
    while at <= part.end {
        let symbol = bits.symbol(table)?;
        let (run, len) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (run, len) {
            (15, 0) => at += 16,
            (_, 0) => {
                *end_run = (1 << run) - 1 + bits.take(run)?.cast_unsigned();
                return Some(());
            }
            _ => {
                at += run as usize;
                let place = *ZIGZAG.get(at)?;
                block[place] = (bits.take_signed(len)? << part.low) as i16;
                at += 1;
            }
        }
    }
    Some(())
}

/// T.81, figure G.7.
fn refine_ac(
    block: &mut [i16; 64],
    bits: &mut Bits,
    table: &Huffman,
    part: Part,
    end_run: &mut u32,
) -> Option<()> {
    let bit = 1i16 << part.low;
    let mut at = part.start;
    while *end_run == 0 && at <= part.end {
        let symbol = bits.symbol(table)?;
        let (run, len) = (u32::from(symbol >> 4), symbol & 15);
        let value = match (run, len) {
            (15, 0) => 0,
            (_, 0) => {
                *end_run = (1 << run) + bits.take(run)?.cast_unsigned();
                break;
            }
            _ if bits.take(1)? == 1 => bit,
            _ => -bit,
        };
        at = refine_run(block, bits, at..part.end + 1, run, bit)?;
        if value != 0 && at <= part.end {
            block[ZIGZAG[at]] = value;
        }
        at += 1;
    }
    if *end_run > 0 {
        refine_run(block, bits, at..part.end + 1, u32::MAX, bit)?;
        *end_run -= 1;
    }
    Some(())
}

/// Corrects the values passed on the way over `zeros` zeros; answers the position after them.
fn refine_run(
    block: &mut [i16; 64],
    bits: &mut Bits,
    range: std::ops::Range<usize>,
    mut zeros: u32,
    bit: i16,
) -> Option<usize> {
    let end = range.end;
    for at in range {
        let value = &mut block[ZIGZAG[at]];
        if *value == 0 {
            if zeros == 0 {
                return Some(at);
            }
            zeros -= 1;
        } else if bits.take(1)? == 1 && *value & bit == 0 {
            *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
        }
    }
    Some(end)
}
