//! Constant right operands of four bits with a scale for each block of the summed axis: they stay packed in
//! the artifact. Either they are made floats piece by piece (see `widening`), or the product `f32_gemm_nibbles`
//! reads them as they are.

use super::PANEL;
use crate::fold::known::uniform;
use crate::lower::emit::{Constant, Emitter};
use crate::lower::index::views;
use nnc_ir::plan::{Packing, PanelAxis};
use nnc_ir::tile::Arg;
use nnc_ir::{DType, Dim, Graph, Sym, ValueId};
use nnc_tensor::Range;

/// `(value - zero) * scale`, `[columns, depth]`.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// The packed numbers.
    value: ValueId,
    /// Scales, `[columns, depth / block]`.
    scale: ValueId,
    /// Zero points in the same form, or one for all.
    zero: Result<ValueId, f64>,
    /// Elements that share a scale.
    block: i64,
    /// Columns.
    columns: i64,
    /// Elements of a column as stored.
    pub(crate) depth: i64,
}

/// The packed constant behind a value, if it is one.
pub(crate) fn weights(graph: &Graph, v: ValueId) -> Option<Weights> {
    let ty = graph.tensor_ty(v);
    let [columns, depth] = ty.fixed_shape()?[..] else { return None };
    let (columns, depth) = (columns as i64, depth as i64);
    let product = graph.def_if(v, "mul").filter(|_| ty.dtype == DType::F32)?;
    let (x, zero) = match graph.def_if(product.inputs[0], "sub") {
        Some(node) => (node.inputs[0], Some(node.inputs[1])),
        None => (product.inputs[0], None),
    };
    let value = graph.def_if(x, "cast")?.inputs[0];
    let dtype = graph.constant(value)?.dtype();
    let (scale, block) = by_block(graph, product.inputs[1], columns, depth)?;
    let known = zero.map_or(Some(0.0), |z| uniform(graph, z));
    let zero = match (dtype, known, zero) {
        // Numbers with a sign are stored eight higher.
        (DType::I4, Some(known), _) => Err(known + 8.0),
        (DType::U4, Some(known), _) => Err(known),
        (DType::U4, None, Some(z)) => {
            let (zero, same) = by_block(graph, z, columns, depth)?;
            (same == block).then_some(())?;
            Ok(zero)
        }
        _ => return None,
    };
    Some(Weights { value, scale, zero, block, columns, depth })
}

/// The constant `[columns, depth / block]` that a value repeats along blocks, and their length.
fn by_block(graph: &Graph, v: ValueId, columns: i64, depth: i64) -> Option<(ValueId, i64)> {
    let (row, k) = (Sym::Local(u32::MAX - 1), Sym::Local(u32::MAX - 2));
    let (row_dim, k_dim) = (Dim::sym(row.clone()), Dim::sym(k));
    let range = |s: &Sym| {
        let last = if *s == row { columns - 1 } else { depth - 1 };
        Range { low: Some(0), high: Some(last), top: Some(Dim::int(last)) }
    };
    let simplify = |d: &Dim| d.simplify(&range);
    let seen = views(graph, v, &[row_dim.clone(), k_dim.clone()], &simplify).pop()?;
    // Narrow zero points are converted first.
    let base = match graph.def_if(seen.base, "cast") {
        Some(node) => node.inputs[0],
        None => seen.base,
    };
    let n_blocks = graph.constant(base)?.len() as i64 / columns.max(1);
    let block = (n_blocks > 0 && depth % n_blocks == 0).then(|| depth / n_blocks)?;
    let expected = row_dim * Dim::int(n_blocks) + k_dim.floor_div(&Dim::int(block));
    (seen.at == simplify(&expected)).then_some((base, block))
}

impl Weights {
    /// The constants that are read.
    pub(crate) fn values(&self) -> Vec<ValueId> {
        [self.value, self.scale].into_iter().chain(self.zero.ok()).collect()
    }

    /// The words that say where the numbers are from column `n0` on, a multiple of a panel: packed panels,
    /// bytes from one to the next, rows that share a scale, scales, zero points or null, the zero point if
    /// there are none, elements from the scales of a panel to those of the next.
    pub(crate) fn words(&self, e: &mut Emitter, n0: &Dim) -> [Arg; 7] {
        let n = PanelAxis { len: self.columns, stride: self.depth };
        let depth = PanelAxis { len: self.depth, stride: 1 };
        let src =
            e.constant(Constant::Packed { value: self.value, packing: Packing::Nibbles { k: depth, n } });
        let blocks = self.depth / self.block;
        let mut by_block = |value| {
            let k = vec![PanelAxis { len: blocks, stride: 1 }];
            let n = PanelAxis { len: self.columns, stride: blocks };
            e.constant(Constant::Packed {
                value,
                packing: Packing::Panels { offset: 0, batch: vec![], k, n, dtype: DType::F32 },
            })
        };
        let (scales, zeros) = (by_block(self.scale), self.zero.ok().map(by_block));
        let int = |v: i64| Arg::Int(Dim::int(v));
        let (panel, scale_panel) = (self.depth * PANEL / 2, blocks * PANEL);
        let first = n0.floor_div(&Dim::int(PANEL));
        let at_scale = first.clone() * Dim::int(scale_panel);
        [
            Arg::Ptr(src, first * Dim::int(panel)),
            int(panel),
            int(self.block),
            Arg::Ptr(scales, at_scale.clone()),
            zeros.map_or(Arg::Null, |z| Arg::Ptr(z, at_scale)),
            Arg::F32(self.zero.err().unwrap_or(0.0) as f32),
            int(scale_panel),
        ]
    }
}
