//! Weights in the layouts that microkernels read.

use nnc_ir::Tensor;
use nnc_ir::plan::{Packing, PanelAxis, Weight};
use std::borrow::Cow;

/// Columns of a panel.
const PANEL: usize = 16;

/// The bytes of a weight in its stored form; packed forms are of f32.
pub fn pack(weight: &Weight) -> Cow<'_, [u8]> {
    match &weight.packing {
        Packing::Plain => Cow::Borrowed(weight.tensor.bytes()),
        Packing::Panels { offset, batch, k, n } => {
            Cow::Owned(bytemuck::cast_slice(&panels(&elems(&weight.tensor), *offset, batch, k, *n)).to_vec())
        }
        Packing::Taps { taps, channels } => {
            let (x, t, c) = (elems(&weight.tensor), *taps as usize, *channels as usize);
            let moved: Vec<f32> = (0..t * c).map(|i| x[(i % c) * t + i / c]).collect();
            Cow::Owned(bytemuck::cast_slice(&moved).to_vec())
        }
    }
}

fn elems(t: &Tensor) -> Vec<f32> {
    t.elems::<f32>().expect("only f32 weights are packed").into_owned()
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
    fn panels_hold_columns_in_groups_of_sixteen() {
        // A 2 × 20 matrix stored transposed.
        let x: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let tensor = Tensor::from_slice(&[20, 2], &x).expect("sizes agree");
        let k = vec![PanelAxis { len: 2, stride: 1 }];
        let packing = Packing::Panels { offset: 0, batch: vec![], k, n: PanelAxis { len: 20, stride: 2 } };
        assert_eq!(packing.elems(), Some(64));
        let bytes = pack(&Weight { tensor, packing }).into_owned();
        let y: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        assert_eq!((y[0], y[1], y[16], y[32], y[35], y[36]), (0.0, 2.0, 1.0, 32.0, 38.0, 0.0));
    }
}
