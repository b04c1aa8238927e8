//! Checks sizes and buffers.

use super::super::expr::Exprs;
use super::super::program::{ArenaUse, BufferInfo, Home};
use super::{Checked, Checker, Counts, MAX_DEPTH, MAX_RANK, wrong};
use nnc_tensor::plan::{BufferId, DimId, Place, Step};
use nnc_tensor::{DType, Tensor};

impl Checker<'_> {
    /// Compiles all sizes and tells early from late ones.
    #[allow(clippy::type_complexity)] // three tables that the caller takes apart at once
    pub(super) fn sizes(&mut self) -> Checked<(Exprs, Vec<bool>, Vec<Vec<DimId>>)> {
        let mut exprs = Exprs::default();
        for (i, dim) in self.plan.dims.iter().enumerate() {
            if exprs.push(dim, &mut self.symbols).is_none() {
                return wrong(format!("size {i} is too deep"));
            }
        }
        let mut bound = Vec::new();
        bound_symbols(&self.plan.steps, &mut bound, 0)?;
        let bound: Vec<u32> = bound.iter().map(|s| self.symbols.number(s)).collect();
        let mut early = vec![false; self.symbols.names.len()];
        for port in &self.plan.inputs {
            let Some(buffer) = self.plan.buffers.get(port.buffer.index()) else {
                return wrong(format!("input \"{}\" has no buffer", port.name));
            };
            for dim in &buffer.shape {
                self.dim(*dim)?;
                exprs.symbols_of(dim.index()).for_each(|s| early[s as usize] = true);
            }
        }
        self.late = vec![false; early.len()];
        for s in bound {
            if early[s as usize] {
                return wrong(format!("size \"{}\" is given twice", self.symbols.names[s as usize]));
            }
            self.late[s as usize] = true;
        }
        self.late_by_results(&exprs, &early);
        if let Some(s) = (0..early.len()).find(|s| !early[*s] && !self.late[*s]) {
            return wrong(format!("nothing gives size \"{}\" its value", self.symbols.names[s]));
        }
        let mut dims_of_symbol = vec![Vec::new(); early.len()];
        let mut late_dims = vec![false; self.plan.dims.len()];
        for (at, late) in late_dims.iter_mut().enumerate() {
            for s in exprs.symbols_of(at).filter(|s| self.late[*s as usize]) {
                *late = true;
                dims_of_symbol[s as usize].push(DimId(at as u32));
            }
        }
        Ok((exprs, late_dims, dims_of_symbol))
    }

    /// A size that is a symbol alone gets its value from the routine that makes a late buffer with it.
    fn late_by_results(&mut self, exprs: &Exprs, early: &[bool]) {
        for buffer in self.plan.buffers.iter().filter(|b| matches!(b.place, Place::Late | Place::Slot)) {
            for dim in buffer.shape.iter().filter(|d| d.index() < self.plan.dims.len()) {
                if let Some(s) = exprs.lone_symbol(dim.index()).filter(|s| !early[*s as usize]) {
                    self.late[s as usize] = true;
                }
            }
        }
    }

    pub(super) fn buffer(&self, at: usize, late_dims: &[bool], n: &mut Counts) -> Checked<BufferInfo> {
        let b = &self.plan.buffers[at];
        if b.shape.len() > MAX_RANK {
            return wrong(format!("buffer {at} has {} dimensions", b.shape.len()));
        }
        b.shape.iter().try_for_each(|d| self.dim(*d))?;
        let late_shape = b.shape.iter().any(|d| late_dims[d.index()]);
        let container = self.plan.inputs.iter().any(|p| p.container.is_some() && p.buffer.index() == at);
        let slot = |n: &mut Counts| {
            n.slots += 1;
            Home::Slot(n.slots - 1)
        };
        let home = match &b.place {
            Place::Input(i) => {
                n.inputs.push(*i as usize);
                if b.dtype == DType::Str || container { slot(n) } else { Home::Input(*i as usize) }
            }
            Place::Constant { offset, len } => match self.constant(at, *offset, *len)? {
                Some(strings) => {
                    n.strings.push((n.slots, strings));
                    slot(n)
                }
                None => Home::Constant(*offset as usize),
            },
            Place::Slot => slot(n),
            Place::Arena { .. } | Place::Late if b.dtype == DType::Str => slot(n),
            Place::Arena { first, last } => {
                if late_shape {
                    return wrong(format!("buffer {at} of the arena has a size that is found too late"));
                }
                if first > last {
                    return wrong(format!("buffer {at} ends before it begins"));
                }
                n.arena.push(ArenaUse { buffer: BufferId(at as u32), first: *first, last: *last });
                Home::Arena(n.arena.len() - 1)
            }
            Place::Late => {
                n.late += 1;
                Home::Late(n.late - 1)
            }
            // Its chain is followed when all homes are known.
            Place::View { .. } => Home::Slot(usize::MAX),
        };
        let late = late_shape || matches!(home, Home::Late(_));
        Ok(BufferInfo { dtype: b.dtype, shape: b.shape.clone().into(), home, view: Box::new([]), late })
    }

    /// Checks a constant's range and size; decodes strings.
    fn constant(&self, at: usize, offset: u64, len: u64) -> Checked<Option<Tensor>> {
        let b = &self.plan.buffers[at];
        let range =
            usize::try_from(offset).ok().zip(offset.checked_add(len).and_then(|e| usize::try_from(e).ok()));
        let Some(bytes) = range.and_then(|(from, to)| self.around.weights.get(from..to)) else {
            return wrong(format!("constant {at} lies outside the weights"));
        };
        let sizes: Option<Vec<usize>> = b.shape.iter().map(|d| self.plan.dims[d.index()].as_len()).collect();
        let Some(shape) = sizes else { return wrong(format!("constant {at} has no fixed size")) };
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if b.dtype == DType::Str {
            let strings = count.and_then(|n| decode_strings(bytes, n));
            let tensor = strings.and_then(|s| Tensor::from_strings(&shape, s).ok());
            return match tensor {
                Some(t) => Ok(Some(t)),
                None => wrong(format!("string constant {at} cannot be decoded")),
            };
        }
        if count.and_then(|n| b.dtype.bytes_for(n)) != Some(bytes.len()) {
            return wrong(format!("constant {at} has {len} bytes, which is not its size"));
        }
        Ok(None)
    }

    pub(super) fn view(&self, at: usize, buffers: &mut [BufferInfo], late_dims: &[bool]) -> Checked<()> {
        let (mut chain, mut root) = (Vec::new(), at);
        while let Place::View { of, offset } = &self.plan.buffers[root].place {
            self.exists(*of)?;
            self.dim(*offset)?;
            chain.push((*offset, self.plan.buffers[root].dtype.bits()));
            if chain.len() > self.plan.buffers.len() {
                return wrong(format!("buffer {at} is a view of itself"));
            }
            root = of.index();
        }
        if chain.is_empty() {
            return Ok(());
        }
        let home = buffers[root].home;
        if matches!(home, Home::Slot(_)) || buffers[at].dtype == DType::Str {
            return wrong(format!("buffer {at} is a view of something that is no bytes"));
        }
        let late = chain.iter().any(|(d, _)| late_dims[d.index()]) || buffers[root].late;
        let b = &mut buffers[at];
        b.home = home;
        b.view = chain.into();
        b.late |= late;
        Ok(())
    }
}

fn decode_strings(mut bytes: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        strings.push(text.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(strings)
}

/// The symbols that `Bind` steps give values to.
pub(super) fn bound_symbols(steps: &[Step], found: &mut Vec<nnc_tensor::Sym>, depth: usize) -> Checked<()> {
    if depth > MAX_DEPTH {
        return wrong(format!("steps are nested deeper than {MAX_DEPTH}"));
    }
    for step in steps {
        match step {
            Step::Bind { sym, .. } => found.push(sym.clone()),
            Step::If { then, otherwise, .. } => {
                bound_symbols(then, found, depth + 1)?;
                bound_symbols(otherwise, found, depth + 1)?;
            }
            Step::Loop(l) => bound_symbols(&l.body, found, depth + 1)?,
            _ => {}
        }
    }
    Ok(())
}
