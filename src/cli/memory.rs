//! How much memory a plan takes: its arena, packed as the runtime does it.

use super::inputs::Sizes;
use nnc_runtime::tensor::pack::{Request, pack};
use nnc_runtime::tensor::plan::{Buffer, Place, Plan};

/// Alignment of the arena's buffers.
const ALIGN: u64 = 64;

/// One buffer of the arena.
pub(crate) struct Live {
    /// Bytes.
    pub(crate) size: u64,
    /// First step that touches it.
    pub(crate) first: u32,
    /// Last step that touches it.
    pub(crate) last: u32,
    /// Where it lies.
    pub(crate) offset: u64,
}

/// The buffers of the arena with their places, and its size. Free sizes that `sizes` does not name
/// are 1; buffers whose size is found during the run are left out.
pub(crate) fn arena(plan: &Plan, sizes: &Sizes) -> (Vec<Live>, u64) {
    let mut live: Vec<Live> = Vec::new();
    for b in &plan.buffers {
        let Place::Arena { first, last } = b.place else { continue };
        if let Some(size) = byte_len(plan, b, sizes) {
            live.push(Live { size, first, last, offset: 0 });
        }
    }
    let requests: Vec<Request> =
        live.iter().map(|l| Request { size: l.size, first: l.first, last: l.last }).collect();
    let (offsets, total) = pack(&requests, ALIGN);
    live.iter_mut().zip(offsets).for_each(|(l, offset)| l.offset = offset);
    (live, total)
}

/// Bytes of a buffer; `None` where its size is found during the run.
pub(crate) fn byte_len(plan: &Plan, b: &Buffer, sizes: &Sizes) -> Option<u64> {
    let mut elems = 1u64;
    for d in &b.shape {
        let size = plan.dims[d.index()].eval(&|s| {
            let name = s.to_string();
            Some(sizes.get(name.trim_matches('"')).copied().unwrap_or(1))
        });
        elems = elems.checked_mul(u64::try_from(size.ok()?).ok()?)?;
    }
    u64::try_from(b.dtype.bytes_for(usize::try_from(elems).ok()?)?).ok()
}
