//! Loops: turns, carried values, collected values.

use super::RunError;
use super::program::{CarryInfo, Home, LoopInfo, Move};
use super::run::Run;
use nnc_tensor::plan::BufferId;

impl Run<'_> {
    /// `while counter < trip && cond { body; collect; next becomes current }`
    pub(crate) fn looping(&mut self, l: &LoopInfo) -> Result<(), RunError> {
        let trip = l.trip.map(|b| self.fetched(b, 0)).transpose()?;
        let mut goes_on = l.cond.map(|b| self.fetched(b, 0)).transpose()? != Some(0);
        for c in &l.carries {
            self.copy(c.init, c.current)?;
        }
        let mut turn = 0i64;
        while goes_on && trip.is_none_or(|t| turn < t) {
            self.limits.poll()?;
            self.write_counter(l.counter, turn)?;
            self.body(&l.body)?;
            goes_on = l.next_cond.map(|b| self.fetched(b, 0)).transpose()? != Some(0);
            for (element, output) in &l.scans {
                self.collect(*element, *output, turn)?;
            }
            self.move_carries(l)?;
            turn += 1;
        }
        if turn == 0 {
            for (element, output) in &l.scans {
                self.collect_nothing(*element, *output)?;
            }
        }
        Ok(())
    }

    fn write_counter(&mut self, counter: BufferId, turn: i64) -> Result<(), RunError> {
        if let Home::Late(i) = self.program.buffer(counter).home
            && !self.program.buffer(counter).is_view()
        {
            let rank = self.program.buffer(counter).shape.len().min(1);
            self.reshape_late(i, counter, &[1][..rank])?;
        }
        let bytes = self.bytes_mut(counter)?;
        bytes.first_chunk_mut::<8>().map(|b| *b = turn.to_le_bytes()).ok_or(RunError::OutOfBounds)?;
        self.wrote(counter);
        Ok(())
    }

    fn move_carries(&mut self, l: &LoopInfo) -> Result<(), RunError> {
        if l.crossed {
            return self.move_crossed(&l.carries);
        }
        for c in &l.carries {
            match (c.by, self.program.buffer(c.next).home, self.program.buffer(c.current).home) {
                (Move::Stay, ..) => {}
                (Move::Swap, Home::Late(a), Home::Late(b)) => {
                    self.memory.late.swap(a, b);
                    self.memory.device.swap_late(a, b);
                }
                _ => self.copy(c.next, c.current)?,
            }
        }
        Ok(())
    }

    /// Reads all values before it writes the first one.
    fn move_crossed(&mut self, carries: &[CarryInfo]) -> Result<(), RunError> {
        let moved = carries.iter().filter(|c| c.by != Move::Stay);
        let mut values = Vec::new();
        for c in moved {
            values.push((c.current, self.value(c.next)?));
        }
        values.into_iter().try_for_each(|(current, value)| self.store(current, value))
    }

    /// Appends one turn's value to a collected output.
    fn collect(&mut self, element: BufferId, output: BufferId, turn: i64) -> Result<(), RunError> {
        let Home::Late(at) = self.program.buffer(output).home else { return Err(RunError::NotComputed) };
        let rank = self.program.buffer(element).shape.len();
        let len = self.span(element)?.len;
        self.fetch(element)?;
        self.fetch(output)?;
        if turn == 0 {
            let mut shape = std::mem::take(&mut self.memory.late[at].shape);
            shape.clear();
            shape.push(0);
            for axis in 0..rank {
                shape.push(self.size_of(element, axis)?);
            }
            let late = &mut self.memory.late[at];
            (late.shape, late.len, late.known) = (shape, 0, true);
        }
        for axis in 0..rank {
            if self.memory.late[at].shape.get(axis + 1) != Some(&self.size_of(element, axis)?) {
                return Err(RunError::Ragged { turn });
            }
        }
        let from = self.memory.late[at].len;
        let to = from.checked_add(len).ok_or(RunError::NoMemory(usize::MAX))?;
        self.memory.grow_late(at, to, &self.limits)?;
        let mut moving = std::mem::take(&mut self.memory.moving);
        moving.clear();
        moving.extend_from_slice(self.bytes(element)?);
        self.memory.late[at].block[from..to].copy_from_slice(&moving);
        self.memory.moving = moving;
        self.memory.late[at].shape[0] += 1;
        self.wrote(output);
        Ok(())
    }

    /// The collected output of a loop without turns: no rows, of the size that is known.
    fn collect_nothing(&mut self, element: BufferId, output: BufferId) -> Result<(), RunError> {
        let Home::Late(at) = self.program.buffer(output).home else { return Err(RunError::NotComputed) };
        let declared = &self.program.buffer(element).shape;
        let sizes = declared.iter().map(|d| self.size(*d).unwrap_or(0));
        let shape: Vec<usize> = std::iter::once(0).chain(sizes).collect();
        self.reshape_late(at, output, &shape)
    }
}
