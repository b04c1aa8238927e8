//! How much memory a model takes: its weights, and the plan's arena, packed as the runtime does it.

use super::failure::Failure;
use super::inputs::{Sizes, size_of};
use super::out::bytes;
use nnc_ir::plan::Program;
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
        let size = plan.dims[d.index()].eval(&|s| Some(size_of(sizes, s)));
        elems = elems.checked_mul(u64::try_from(size.ok()?).ok()?)?;
    }
    u64::try_from(b.dtype.bytes_for(usize::try_from(elems).ok()?)?).ok()
}

/// Bytes of a program's weights as they are stored.
pub(crate) fn weights(program: &Program) -> u64 {
    program.weights.iter().map(|w| w.byte_len()).sum()
}

/// `n = 8, m = 1 (free)`: the sizes of its inputs that numbers about a plan hold at; empty where all are fixed.
pub(crate) fn at_sizes(plan: &Plan, sizes: &Sizes) -> String {
    let mut found: Vec<String> = Vec::new();
    for d in plan.inputs.iter().flat_map(|p| &plan.buffers[p.buffer.index()].shape) {
        plan.dims[d.index()].visit_syms(&mut |s| {
            let name = s.to_string().trim_matches('"').to_owned();
            let text = match sizes.get(&name) {
                Some(size) => format!("{name} = {size}"),
                None => format!("{name} = 1 (free)"),
            };
            if !found.contains(&text) {
                found.push(text);
            }
        });
    }
    found.join(", ")
}

/// Refuses a program whose weights and activations take more than `limit` bytes.
pub(crate) fn hold_to(limit: u64, program: &Program, sizes: &Sizes) -> Result<(), Failure> {
    let (weights, activations) = (weights(program), arena(&program.plan, sizes).1);
    let needed = weights.saturating_add(activations);
    if needed <= limit {
        return Ok(());
    }
    let at = Some(at_sizes(&program.plan, sizes)).filter(|t| !t.is_empty());
    let at = at.map_or(String::new(), |t| format!(" at {t}"));
    let (w, a) = (bytes(weights), bytes(activations));
    let what =
        format!("needs {needed} bytes of memory, {w} weights and {a} activations{at}; allowed are {limit}");
    let failure = Failure::user(format!("the model {what}"));
    let less = activations > 0 && !sizes.is_empty();
    Err(if less { failure.help("give smaller sizes by --dim") } else { failure })
}
