//! Weights in the layouts that microkernels read.

use half::{bf16, f16};
use nnc_ir::plan::{BytePanels, Packing, PanelAxis, Weight};
use nnc_ir::{DType, Tensor};
use std::borrow::Cow;

/// Columns of a panel.
const PANEL: usize = 16;

/// The bytes of a weight in its stored form; packed forms are of f32 or of integers.
pub fn pack(weight: &Weight) -> Cow<'_, [u8]> {
    match &weight.packing {
        Packing::Plain => Cow::Borrowed(weight.tensor.bytes()),
        Packing::Panels { offset, batch, k, n, dtype } => {
            Cow::Owned(narrowed(&panels(&elems(&weight.tensor), *offset, batch, k, *n), *dtype))
        }
        Packing::Taps { taps, channels } => {
            let (x, t, c) = (elems(&weight.tensor), *taps as usize, *channels as usize);
            let moved: Vec<f32> = (0..t * c).map(|i| x[(i % c) * t + i / c]).collect();
            Cow::Owned(bytemuck::cast_slice(&moved).to_vec())
        }
        Packing::Nibbles { k, n } => Cow::Owned(nibbles(&weight.tensor, *k, *n)),
        Packing::Bytes(p) => {
            Cow::Owned(bytemuck::cast_slice(&byte_panels(&integers(&weight.tensor), p)).to_vec())
        }
        Packing::Sums(p) => Cow::Owned(bytemuck::cast_slice(&sums(&integers(&weight.tensor), p)).to_vec()),
    }
}

/// The elements of a constant of one of the integer types that products of bytes come in.
fn integers(t: &Tensor) -> Vec<i32> {
    let known = "only integers are packed as bytes";
    match t.dtype() {
        DType::I8 => t.elems::<i8>().expect(known).iter().map(|v| i32::from(*v)).collect(),
        DType::U8 => t.elems::<u8>().expect(known).iter().map(|v| i32::from(*v)).collect(),
        _ => t.elems::<i32>().expect(known).into_owned(),
    }
}

/// Elements of K that the 8-bit product takes at a time.
const GROUP: usize = 4;

fn byte_panels(x: &[i32], p: &BytePanels) -> Vec<i8> {
    let (batch, taps, k) = (offsets(&p.batch), offsets(&p.taps), offsets(&p.k));
    let (columns, groups) = (p.n.len as usize, k.len().div_ceil(GROUP));
    let mut out = vec![0; batch.len() * p.set() as usize];
    let mut panels = out.chunks_exact_mut((p.panel() as usize).max(1));
    for b in &batch {
        for first in (0..columns).step_by(PANEL) {
            let Some(to) = panels.next() else { return out };
            for j in 0..PANEL.min(columns - first) {
                let column = p.offset + b + (first + j) as i64 * p.n.stride;
                for (t, tap) in taps.iter().enumerate() {
                    for (i, row) in k.iter().enumerate() {
                        let at = ((t * groups + i / GROUP) * PANEL + j) * GROUP + i % GROUP;
                        to[at] = (i64::from(x[(column + tap + row) as usize]) - p.shift) as i8;
                    }
                }
            }
        }
    }
    out
}

fn sums(x: &[i32], p: &BytePanels) -> Vec<i32> {
    let rows = offsets(&[&p.taps[..], &p.k].concat());
    let column = |at: i64| -> i64 { rows.iter().map(|r| i64::from(x[(at + r) as usize]) - p.shift).sum() };
    let columns = offsets(&[&p.batch[..], &[p.n]].concat());
    columns.into_iter().map(|c| column(p.offset + c) as i32).collect()
}

fn elems(t: &Tensor) -> Vec<f32> {
    match t.elems::<f32>() {
        Ok(floats) => floats.into_owned(),
        // Zero points may come in a narrower type.
        Err(_) => t.to_f64s().into_iter().map(|v| v as f32).collect(),
    }
}

fn nibbles(t: &Tensor, k: PanelAxis, n: PanelAxis) -> Vec<u8> {
    // The lower half of a byte is the first element; a sign bit flipped adds eight.
    let flip = if t.dtype() == DType::I4 { 8 } else { 0 };
    let at = |column: i64, row: i64| {
        let i = (column * n.stride + row * k.stride) as usize;
        if column < n.len { (t.bytes()[i / 2] >> (4 * (i % 2)) & 15) ^ flip } else { 0 }
    };
    let mut out = Vec::with_capacity(((n.len + 15) / 16 * k.len * 8) as usize);
    for first in (0..n.len).step_by(PANEL) {
        for row in 0..k.len {
            out.extend((first..first + 8).map(|j| at(j, row) | at(j + 8, row) << 4));
        }
    }
    out
}

/// The bytes of floats in a type that holds them exactly.
fn narrowed(x: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F16 => x.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        DType::BF16 => x.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(x).to_vec(),
    }
}

/// Offsets of every point of some axes, the last one fastest.
fn offsets(axes: &[PanelAxis]) -> Vec<i64> {
    axes.iter().fold(vec![0], |outer, a| {
        outer.iter().flat_map(|o| (0..a.len).map(move |i| o + i * a.stride)).collect()
    })
}

fn panels(x: &[f32], offset: i64, batch: &[PanelAxis], k: &[PanelAxis], n: PanelAxis) -> Vec<f32> {
    let (batch, rows, columns) = (offsets(batch), offsets(k), n.len as usize);
    let n_panels = columns.div_ceil(PANEL);
    let mut out = vec![0.0; batch.len() * n_panels * rows.len() * PANEL];
    let mut panel = out.chunks_exact_mut((rows.len() * PANEL).max(1));
    for b in &batch {
        for p in 0..n_panels {
            let Some(to) = panel.next() else { return out };
            let width = PANEL.min(columns - p * PANEL);
            for (row, r) in to.chunks_exact_mut(PANEL).zip(&rows) {
                let from = offset + b + r + (p * PANEL) as i64 * n.stride;
                for (j, y) in row[..width].iter_mut().enumerate() {
                    *y = x[(from + j as i64 * n.stride) as usize];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_in_groups_of_four_rows() {
        // Two taps of a 5 × 3 matrix of u8, column by column.
        let x: Vec<u8> = (0..30).map(|i| 128 + i).collect();
        let tensor = Tensor::from_slice(&[3, 5, 2], &x).expect("sizes agree");
        let axis = |len, stride| PanelAxis { len, stride };
        let p = BytePanels {
            offset: 0,
            batch: vec![],
            taps: vec![axis(2, 1)],
            k: vec![axis(5, 2)],
            n: axis(3, 10),
            shift: 128,
        };
        assert_eq!((p.panel(), Packing::Bytes(p.clone()).elems()), (256, Some(256)));
        let bytes = pack(&Weight { tensor: tensor.clone(), packing: Packing::Bytes(p.clone()) }).into_owned();
        let (tap, group, column, k) = (1, 1, 2, 0);
        assert_eq!(bytes[((tap * 2 + group) * 16 + column) * 4 + k], 2 * 10 + 4 * 2 + 1);
        assert_eq!(bytes[((tap * 2 + group) * 16 + column) * 4 + 1], 0);
        let sums = pack(&Weight { tensor, packing: Packing::Sums(p) }).into_owned();
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, i32>(&sums), [45, 145, 245]);
    }

    #[test]
    fn nibbles_stand_beside_those_of_eight_columns_on() {
        // 10 columns of 4 numbers.
        let bytes: Vec<u8> = (0..20).map(|i| (2 * i % 16) | (((2 * i + 1) % 16) << 4)).collect();
        let tensor = Tensor::from_bytes(DType::U4, vec![10, 4], &bytes).expect("sizes agree");
        let (k, n) = (PanelAxis { len: 4, stride: 1 }, PanelAxis { len: 10, stride: 4 });
        let packing = Packing::Nibbles { k, n };
        assert_eq!((packing.elems(), packing.dtype(DType::U4)), (Some(32), DType::U8));
        let packed = pack(&Weight { tensor, packing }).into_owned();
        // Row 3: columns 1 (number 7) and 9 (number 39), columns 2 (11) and 10 (missing).
        assert_eq!((packed[3 * 8 + 1], packed[3 * 8 + 2]), (7 | 7 << 4, 11));
    }

    #[test]
    fn panels_hold_columns_in_groups_of_sixteen() {
        // A 2 × 20 matrix stored transposed.
        let x: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let tensor = Tensor::from_slice(&[20, 2], &x).expect("sizes agree");
        let k = vec![PanelAxis { len: 2, stride: 1 }];
        let packing = Packing::Panels {
            offset: 0,
            batch: vec![],
            k,
            n: PanelAxis { len: 20, stride: 2 },
            dtype: DType::F32,
        };
        assert_eq!(packing.elems(), Some(64));
        let bytes = pack(&Weight { tensor, packing }).into_owned();
        let y: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        assert_eq!((y[0], y[1], y[16], y[32], y[35], y[36]), (0.0, 2.0, 1.0, 32.0, 38.0, 0.0));
    }
}
