//! Binding: from the inputs' shapes to the values of all sizes and the places of all buffers.

use super::RunError;
use super::expr::UNKNOWN;
use super::program::{ArenaUse, CheckInfo, Home, PortInfo, Program};
use nnc_tensor::dim::{Atom, Term};
use nnc_tensor::pack::{Request, pack};
use nnc_tensor::plan::{BufferId, DimId};
use nnc_tensor::{DType, Dim, Sym};
use std::sync::Arc;

/// Alignment of buffers in the arena.
const ALIGN: u64 = 64;

/// A range of a buffer's home memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

/// Where the arena's buffers are: good for all sizes up to those it was made for.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    room: Vec<Span>,
    /// Bytes of the arena.
    pub(crate) total: usize,
}

/// All sizes and places for one set of input shapes.
#[derive(Debug, Default)]
pub(crate) struct Binding {
    /// The inputs' sizes one after the other.
    pub(crate) key: Vec<usize>,
    /// Values of the symbols; late ones are unknown.
    pub(crate) values: Vec<i64>,
    /// Values of the sizes; late ones are unknown.
    pub(crate) dims: Vec<i64>,
    /// The ranges of the arena's requests.
    pub(crate) arena: Vec<Span>,
    /// The ranges of all buffers that are not late.
    pub(crate) spans: Vec<Span>,
    pub(crate) layout: Arc<Layout>,
}

impl Binding {
    /// Gives the arena's buffers, whose lengths are in `spans`, their places.
    fn lay_out(&mut self, program: &Program, last: Option<Arc<Layout>>) -> Result<(), RunError> {
        let needs = |u: &ArenaUse| self.spans[u.buffer.index()].len;
        let fits = |l: &Layout| program.arena.iter().zip(&l.room).all(|(u, room)| needs(u) <= room.len);
        self.layout = match last {
            Some(last) if fits(&last) => last,
            last => Arc::new(lay_out(program, &self.spans, last.is_some())?),
        };
        self.arena.clear();
        let places = program.arena.iter().zip(&self.layout.room);
        self.arena.extend(places.map(|(u, room)| Span { offset: room.offset, len: needs(u) }));
        Ok(())
    }

    /// True if the binding is for inputs of these shapes.
    pub(crate) fn is_for<'a>(&self, shapes: impl Iterator<Item = &'a [usize]>) -> bool {
        let mut key = self.key.as_slice();
        for shape in shapes {
            match key.strip_prefix(shape) {
                Some(rest) => key = rest,
                None => return false,
            }
        }
        key.is_empty()
    }
}

/// Binds the sizes of a program. `last` is the layout in use, kept where it has room; `old` gives its
/// memory. Shapes of inputs that are no tensors are empty.
pub(crate) fn bind(
    program: &Program,
    shapes: &[&[usize]],
    weights_len: usize,
    last: Option<Arc<Layout>>,
    old: Option<Binding>,
) -> Result<Binding, RunError> {
    let mut b = old.unwrap_or_default();
    b.key.clear();
    b.key.extend(shapes.iter().flat_map(|s| s.iter().copied()));
    b.values.clear();
    b.values.resize(program.symbols.names.len(), UNKNOWN);
    bind_symbols(program, shapes, &mut b.values)?;
    b.dims.clone_from(&program.fixed_dims);
    for at in &program.early_dims {
        let at = *at as usize;
        b.dims[at] = program.exprs.eval(at, &program.symbols, &b.values)?;
    }
    compare_inputs(program, shapes, &b.dims)?;
    check_sizes(program, &program.checks, &b.dims)?;
    b.spans.clear();
    for at in 0..program.buffers.len() {
        let id = BufferId(at as u32);
        let len = if program.has_early_span(id) { byte_len(program, id, &b.dims)? } else { 0 };
        b.spans.push(Span { offset: 0, len });
    }
    b.lay_out(program, last)?;
    for at in 0..program.buffers.len() {
        let id = BufferId(at as u32);
        if !program.has_early_span(id) {
            continue;
        }
        let base = match program.buffers[at].home {
            Home::Arena(i) => b.arena[i],
            Home::Constant(offset) => Span { offset, len: weights_len - offset },
            Home::Input(i) => b.spans[program.inputs[i].buffer.index()],
            Home::Late(_) | Home::Slot(_) => continue,
        };
        b.spans[at] = place(program, id, &b.dims, base, b.spans[at].len)?;
    }
    Ok(b)
}

/// The range of a buffer of `len` bytes inside the range of its home.
pub(crate) fn place(
    program: &Program,
    id: BufferId,
    dims: &[i64],
    base: Span,
    len: usize,
) -> Result<Span, RunError> {
    let mut offset = 0usize;
    for (dim, bits) in &program.buffer(id).view {
        let elems = size(program, *dim, dims)?;
        let bits = elems.checked_mul(*bits).filter(|b| b % 8 == 0).ok_or_else(|| RunError::OutOfBounds)?;
        offset = offset.checked_add(bits / 8).ok_or(RunError::OutOfBounds)?;
    }
    if offset.checked_add(len).is_none_or(|end| end > base.len) {
        return Err(RunError::OutOfBounds);
    }
    Ok(Span { offset: base.offset + offset, len })
}

/// A size that is known and not negative.
pub(crate) fn size(program: &Program, id: DimId, dims: &[i64]) -> Result<usize, RunError> {
    let value = known(program, id, dims)?;
    let expr = || program.dims[id.index()].to_string();
    usize::try_from(value).map_err(|_| RunError::Negative { expr: expr(), value })
}

/// A size that is known.
#[inline]
pub(crate) fn known(program: &Program, id: DimId, dims: &[i64]) -> Result<i64, RunError> {
    match dims[id.index()] {
        UNKNOWN => Err(not_known(program, id)),
        v => Ok(v),
    }
}

#[cold]
fn not_known(program: &Program, id: DimId) -> RunError {
    RunError::NotKnown(program.dims[id.index()].to_string())
}

/// Bytes of a buffer by its declared shape.
pub(crate) fn byte_len(program: &Program, id: BufferId, dims: &[i64]) -> Result<usize, RunError> {
    let b = program.buffer(id);
    let mut count = 1usize;
    for dim in &b.shape {
        let size = size(program, *dim, dims)?;
        count = count.checked_mul(size).ok_or_else(|| RunError::TooLarge { dtype: b.dtype })?;
    }
    bytes_for(b.dtype, count)
}

/// Bytes of `count` elements.
pub(crate) fn bytes_for(dtype: DType, count: usize) -> Result<usize, RunError> {
    let fits = |n: &usize| *n <= isize::MAX.unsigned_abs();
    dtype.bytes_for(count).filter(fits).ok_or_else(|| RunError::TooLarge { dtype })
}

/// Compares sizes that have to agree and are known.
pub(crate) fn check_sizes(program: &Program, checks: &[CheckInfo], dims: &[i64]) -> Result<(), RunError> {
    for c in checks {
        let (found, expected) = (dims[c.found.index()], dims[c.expected.index()]);
        let fits = found == expected || (c.or_one && found == 1);
        if !fits && found != UNKNOWN && expected != UNKNOWN {
            return Err(disagreement(program, c, dims).at(0, program.node(c.node)));
        }
    }
    Ok(())
}

#[cold]
fn disagreement(program: &Program, c: &CheckInfo, dims: &[i64]) -> RunError {
    let mut expected = described(program, c.expected, dims);
    if c.or_one {
        expected.push_str(" or 1");
    }
    let mut symbols: Vec<u32> =
        [c.found, c.expected].iter().flat_map(|d| program.exprs.symbols_of(d.index())).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let given: Vec<String> = symbols.into_iter().filter_map(|s| origin_of(program, s)).collect();
    let given = match given.as_slice() {
        [] => String::new(),
        given => format!("; {}", given.join(", ")),
    };
    RunError::Disagree { expected, found: described(program, c.found, dims), given }
}

/// `"n" is dimension 0 of input "x"`: where a caller finds the size to change.
fn origin_of(program: &Program, symbol: u32) -> Option<String> {
    program.inputs.iter().filter(|p| p.container.is_none()).find_map(|port| {
        let shape = &program.buffer(port.buffer).shape;
        let axis = shape.iter().position(|d| program.exprs.lone_symbol(d.index()) == Some(symbol))?;
        let name = &program.symbols.names[symbol as usize];
        Some(format!("{name} is dimension {axis} of input \"{}\"", port.name))
    })
}

/// `n = 4`, or just the number.
fn described(program: &Program, id: DimId, dims: &[i64]) -> String {
    let dim = &program.dims[id.index()];
    match dim.as_const() {
        Some(v) => v.to_string(),
        None => format!("{dim} = {}", dims[id.index()]),
    }
}

fn tensor_ports<'a>(
    program: &'a Program,
    shapes: &'a [&'a [usize]],
) -> impl Iterator<Item = (&'a PortInfo, &'a [usize])> {
    program.inputs.iter().zip(shapes.iter().copied()).filter(|(p, _)| p.container.is_none())
}

/// Solves the inputs' shapes for the symbols.
fn bind_symbols(program: &Program, shapes: &[&[usize]], values: &mut [i64]) -> Result<(), RunError> {
    let mut unsolved = Vec::new();
    for (port, shape) in tensor_ports(program, shapes) {
        let declared = &program.buffer(port.buffer).shape;
        if declared.len() != shape.len() {
            let (expected, found) = (declared.len(), shape.len());
            return Err(RunError::Rank { name: port.name.clone(), expected, found });
        }
        for (dim, size) in declared.iter().zip(shape) {
            let size = i64::try_from(*size).map_err(|_| nnc_tensor::DimError::Overflow)?;
            match program.exprs.lone_symbol(dim.index()) {
                Some(s) if values[s as usize] == UNKNOWN => values[s as usize] = size,
                Some(_) => {}
                None if program.dims[dim.index()].as_const().is_some() => {}
                None => unsolved.push((&program.dims[dim.index()], size)),
            }
        }
    }
    // Each round gives at least one more symbol its value.
    let mut progress = true;
    while progress {
        progress = false;
        for (dim, size) in &unsolved {
            if let Some((sym, value)) = solve(program, dim, *size, values) {
                values[sym] = value;
                progress = true;
            }
        }
    }
    Ok(())
}

/// The one symbol of `dim = size` that is unknown, where it occurs linearly with a constant factor.
fn solve(program: &Program, dim: &Dim, size: i64, values: &[i64]) -> Option<(usize, i64)> {
    let number = |s: &Sym| program.symbols.names.iter().position(|n| n == s);
    let env = |s: &Sym| number(s).map(|n| values[n]).filter(|v| *v != UNKNOWN);
    let (mut rest, mut factor, mut unknown) = (size, 0i64, None);
    for Term { coeff, factors } in dim.terms() {
        if let [Atom::Sym(s)] = factors.as_slice()
            && env(s).is_none()
        {
            let n = number(s)?;
            if unknown.is_some_and(|u| u != n) {
                return None;
            }
            unknown = Some(n);
            factor = factor.checked_add(*coeff)?;
            continue;
        }
        let mut product = *coeff;
        for atom in factors {
            product = product.checked_mul(eval_atom(atom, &env)?)?;
        }
        rest = rest.checked_sub(product)?;
    }
    let exact = factor != 0 && rest.checked_rem(factor)? == 0;
    unknown.filter(|_| exact).map(|u| (u, rest / factor))
}

fn eval_atom(atom: &Atom, env: &dyn Fn(&Sym) -> Option<i64>) -> Option<i64> {
    match atom {
        Atom::Sym(s) => env(s),
        Atom::FloorDiv(a, b) => {
            let (a, b) = (a.eval(env).ok()?, b.eval(env).ok()?);
            if b > 0 { Some(a.div_euclid(b)) } else { None }
        }
        Atom::Min(a, b) => Some(a.eval(env).ok()?.min(b.eval(env).ok()?)),
        Atom::Max(a, b) => Some(a.eval(env).ok()?.max(b.eval(env).ok()?)),
    }
}

/// Every size of every input must be what its expression says.
fn compare_inputs(program: &Program, shapes: &[&[usize]], dims: &[i64]) -> Result<(), RunError> {
    for (port, shape) in tensor_ports(program, shapes) {
        for (axis, (dim, found)) in program.buffer(port.buffer).shape.iter().zip(shape).enumerate() {
            if i64::try_from(*found) != Ok(dims[dim.index()]) {
                let expected = described(program, *dim, dims);
                return Err(RunError::Size { name: port.name.clone(), axis, found: *found, expected });
            }
        }
    }
    Ok(())
}

/// Packs the arena. Where shapes have changed before they will change again, so that sizes which
/// depend on them get a sixteenth more room: a sequence that grows by one element a run then seldom
/// needs a new layout, and the arena stays within 10 % of the largest need.
fn lay_out(program: &Program, spans: &[Span], roomy: bool) -> Result<Layout, RunError> {
    let request = |u: &ArenaUse| {
        let (shape, mut size) = (&program.buffer(u.buffer).shape, spans[u.buffer.index()].len as u64);
        if roomy && shape.iter().any(|d| program.dims[d.index()].as_const().is_none()) {
            size = size.saturating_add(size / 16);
        }
        Request { size, first: u.first, last: u.last }
    };
    let requests: Vec<Request> = program.arena.iter().map(request).collect();
    let (offsets, total) = pack(&requests, ALIGN);
    let total = usize::try_from(total).ok().filter(|t| *t <= isize::MAX.unsigned_abs());
    let total = total.ok_or(RunError::NoMemory(usize::MAX))?;
    let room = requests.iter().zip(offsets).map(|(r, o)| Span { offset: o as usize, len: r.size as usize });
    Ok(Layout { room: room.collect(), total })
}
