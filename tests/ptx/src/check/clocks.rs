//! What happens before what within a block.
//!
//! One counter, the block's time, goes on at each synchronization. An access is stamped with it. For each
//! pair of threads the table `known` holds up to which time the accesses of the one come before what the
//! other does now; a barrier of all threads needs no table, only the time `base`. Besides the threads there
//! are agents, which stand for asynchronous copies.

/// The order of accesses within one block.
pub(crate) struct Clocks {
    actors: usize,
    time: u32,
    base: u32,
    known: Vec<u32>,
}

/// What an actor gives on with a release: up to which time each other's accesses come before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Vec<u32>);

impl Clocks {
    pub(crate) fn new(actors: usize) -> Clocks {
        Clocks { actors, time: 1, base: 0, known: Vec::new() }
    }

    /// The stamp of an access made now.
    pub(crate) fn now(&self) -> u32 {
        self.time
    }

    /// Whether an access of `by` at `stamp` comes before what `reader` does now.
    #[inline]
    pub(crate) fn ordered(&self, by: u32, stamp: u32, reader: u32) -> bool {
        by == reader || stamp <= self.base || self.known(reader as usize, by as usize) >= stamp
    }

    fn known(&self, reader: usize, by: usize) -> u32 {
        self.known.get(reader * self.actors + by).copied().unwrap_or(0)
    }

    /// All threads have met.
    pub(crate) fn meet_all(&mut self) {
        self.base = self.time;
        self.time += 1;
    }

    /// Some threads have met; the token holds what those brought who left without waiting.
    pub(crate) fn meet(&mut self, threads: &[u32], token: &mut Token) {
        for &thread in threads {
            self.add_to(thread, token);
        }
        for &thread in threads {
            self.acquire(thread, token);
        }
        self.time += 1;
    }

    /// Adds to a token what comes before the actor's next access.
    pub(crate) fn release(&mut self, actor: u32, token: &mut Token) {
        self.add_to(actor, token);
        self.time += 1;
    }

    fn add_to(&self, actor: u32, token: &mut Token) {
        let row = actor as usize * self.actors;
        token.0.resize(self.actors, 0);
        if let Some(known) = self.known.get(row..row + self.actors) {
            for (to, from) in token.0.iter_mut().zip(known) {
                *to = (*to).max(*from);
            }
        }
        token.0[actor as usize] = self.time;
    }

    /// What the token holds comes before what the actor does from now on.
    pub(crate) fn acquire(&mut self, actor: u32, token: &Token) {
        if self.known.is_empty() {
            self.known.resize(self.actors * self.actors, 0);
        }
        let row = actor as usize * self.actors;
        for (to, from) in self.known[row..row + self.actors].iter_mut().zip(&token.0) {
            *to = (*to).max(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings_order_those_who_met_and_what_they_knew() {
        let mut clocks = Clocks::new(4);
        let stamp = clocks.now();
        assert!(clocks.ordered(0, stamp, 0) && !clocks.ordered(0, stamp, 1));
        clocks.meet(&[0, 1], &mut Token::default());
        assert!(clocks.ordered(0, stamp, 1) && !clocks.ordered(0, stamp, 2));
        clocks.meet(&[1, 2], &mut Token::default());
        assert!(clocks.ordered(0, stamp, 2), "what 1 knew is handed on");
        assert!(!clocks.ordered(0, clocks.now(), 1), "later accesses are not covered");
        clocks.meet_all();
        assert!(clocks.ordered(0, stamp, 3));
    }

    #[test]
    fn a_release_reaches_only_who_acquires_it() {
        let mut clocks = Clocks::new(3);
        let before = clocks.now();
        let mut token = Token::default();
        clocks.release(0, &mut token);
        let after = clocks.now();
        clocks.acquire(1, &token);
        assert!(clocks.ordered(0, before, 1) && !clocks.ordered(0, after, 1));
        assert!(!clocks.ordered(0, before, 2) && !clocks.ordered(1, before, 0));
    }
}
