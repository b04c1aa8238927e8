//! Which groups of launches have been recorded, and for what: a recording holds addresses and sizes, so that
//! it is good for one binding, with its memory and the inputs that lie on the device where they were.

use crate::exec::bind::{Binding, Layout};
use std::sync::Arc;

/// Surroundings that recordings are kept for, as many as bindings.
const TAPES: usize = 8;

/// How far a group has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Take {
    /// It was never started here.
    #[default]
    Never,
    /// It was started once: all memory is in its place.
    Seen,
    /// There is a recording.
    Recorded(u64),
}

/// What a recording depends on beside the session's own memory.
pub(super) struct Surroundings<'a> {
    pub(super) binding: &'a Binding,
    /// Addresses of the inputs and outputs that lie on the device for the caller, zero for other inputs.
    pub(super) given: &'a [u64],
}

/// The takes of all groups in the same surroundings.
struct Tape {
    sizes: Vec<usize>,
    layout: Arc<Layout>,
    given: Vec<u64>,
    takes: Vec<Take>,
}

impl Tape {
    fn new(now: &Surroundings<'_>, groups: usize) -> Tape {
        Tape {
            sizes: now.binding.key.clone(),
            layout: Arc::clone(&now.binding.layout),
            given: now.given.to_vec(),
            takes: vec![Take::Never; groups],
        }
    }

    fn is_for(&self, now: &Surroundings<'_>) -> bool {
        self.sizes == now.binding.key
            && Arc::ptr_eq(&self.layout, &now.binding.layout)
            && self.given == now.given
    }
}

/// A session's recordings.
#[derive(Default)]
pub(super) struct Tapes {
    /// The latest first.
    tapes: Vec<Tape>,
    /// Recordings that will not be started again.
    stale: Vec<u64>,
}

impl Tapes {
    /// Puts the tape of these surroundings first, an empty one where there is none.
    pub(super) fn turn_to(&mut self, now: &Surroundings<'_>, groups: usize) {
        match self.tapes.iter().position(|t| t.is_for(now)) {
            Some(at) => self.tapes[..=at].rotate_right(1),
            None => {
                if self.tapes.len() == TAPES {
                    let last = self.tapes.pop();
                    self.give_up(last.into_iter().collect());
                }
                self.tapes.insert(0, Tape::new(now, groups));
            }
        }
    }

    /// The take of a group on the first tape, which the caller has turned to.
    pub(super) fn take(&mut self, group: usize) -> &mut Take {
        &mut self.tapes[0].takes[group]
    }

    /// Memory has moved: no recording is good any more.
    pub(super) fn clear(&mut self) {
        let all = std::mem::take(&mut self.tapes);
        self.give_up(all);
    }

    /// Recordings to forget; each is told once.
    pub(super) fn stale(&mut self) -> impl Iterator<Item = u64> {
        self.stale.drain(..)
    }

    fn give_up(&mut self, tapes: Vec<Tape>) {
        for take in tapes.into_iter().flat_map(|t| t.takes) {
            if let Take::Recorded(recording) = take {
                self.stale.push(recording);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(size: usize, layout: &Arc<Layout>) -> Binding {
        Binding { key: vec![size], layout: Arc::clone(layout), ..Binding::default() }
    }

    #[test]
    fn a_tape_is_for_sizes_layout_and_addresses() {
        let (layout, other) = (Arc::new(Layout::default()), Arc::new(Layout::default()));
        let bindings = [binding(1, &layout), binding(2, &layout), binding(1, &other)];
        let mut places: Vec<(&Binding, &[u64])> = bindings.iter().map(|b| (b, [0].as_slice())).collect();
        places.push((&bindings[0], &[256]));
        let mut tapes = Tapes::default();
        for (i, (binding, given)) in places.iter().enumerate() {
            tapes.turn_to(&Surroundings { binding, given }, 2);
            assert_eq!(*tapes.take(1), Take::Never);
            *tapes.take(1) = Take::Recorded(i as u64);
        }
        for (i, (binding, given)) in places.iter().enumerate() {
            tapes.turn_to(&Surroundings { binding, given }, 2);
            assert_eq!((*tapes.take(0), *tapes.take(1)), (Take::Never, Take::Recorded(i as u64)));
        }
        assert_eq!(tapes.stale().count(), 0);
        tapes.clear();
        let mut stale: Vec<u64> = tapes.stale().collect();
        stale.sort_unstable();
        assert_eq!((stale, tapes.stale().count()), (vec![0, 1, 2, 3], 0));
    }

    #[test]
    fn the_tape_that_was_used_longest_ago_goes_first() {
        let layout = Arc::new(Layout::default());
        let mut tapes = Tapes::default();
        for size in (0..TAPES).chain([0, TAPES]) {
            let b = binding(size, &layout);
            tapes.turn_to(&Surroundings { binding: &b, given: &[] }, 1);
            *tapes.take(0) = Take::Recorded(size as u64);
        }
        assert_eq!(tapes.stale().collect::<Vec<_>>(), [1]);
    }
}
