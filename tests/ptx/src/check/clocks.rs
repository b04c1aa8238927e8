//! What happens before what within a block.
//!
//! One counter, the block's time, goes on at each synchronization. An access is stamped with it. For each
//! pair of threads the table `known` holds up to which time the accesses of the one come before what the
//! other does now; a barrier of all threads needs no table, only the time `base`. Besides the threads there
//! are agents, which stand for asynchronous operations: what they do comes before what a thread does only
//! where the thread has waited for them.
//!
//! Agents see memory by another way than threads do, the asynchronous proxy. A thread's write comes before
//! what an agent does only if there is a fence between the two, by who wrote or by who starts the agent.

/// The order of accesses within one block.
pub(crate) struct Clocks {
    actors: usize,
    time: u32,
    base: u32,
    known: Vec<u32>,
    /// For each pair of threads, up to which time the writes of the second have passed a fence of the first.
    fenced: Vec<u32>,
}

/// What an actor gives on with a release: up to which time each other's accesses come before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Vec<u32>);

impl Clocks {
    pub(crate) fn new(actors: usize) -> Clocks {
        Clocks { actors, time: 1, base: 0, known: Vec::new(), fenced: Vec::new() }
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

    /// A thread's fence: the writes that come before it can be seen by agents from now on.
    pub(crate) fn fence(&mut self, thread: u32) {
        if self.fenced.is_empty() {
            self.fenced.resize(self.actors * self.actors, 0);
        }
        let row = thread as usize * self.actors;
        for by in 0..self.actors {
            let known = self.known.get(row + by).copied().unwrap_or(0);
            self.fenced[row + by] = self.base.max(known);
        }
        self.fenced[row + thread as usize] = self.time;
        self.time += 1;
    }

    /// Whether a write of `by` at `stamp` can be seen by an agent that `starter` starts now.
    pub(crate) fn is_fenced(&self, by: u32, stamp: u32, starter: u32) -> bool {
        let passed = |of: u32| self.fenced.get(of as usize * self.actors + by as usize).copied().unwrap_or(0);
        passed(by) >= stamp || passed(starter) >= stamp
    }

    /// What an agent did up to `stamp` comes before what the thread does from now on.
    pub(crate) fn learn(&mut self, thread: u32, agent: u32, stamp: u32) {
        if self.known.is_empty() {
            self.known.resize(self.actors * self.actors, 0);
        }
        let known = &mut self.known[thread as usize * self.actors + agent as usize];
        *known = (*known).max(stamp);
    }

    /// The time goes on: what follows is not what went before.
    pub(crate) fn tick(&mut self) {
        self.time += 1;
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

impl Token {
    /// Takes over what another token holds.
    pub(crate) fn join(&mut self, other: &Token) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (to, from) in self.0.iter_mut().zip(&other.0) {
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
    fn writes_reach_agents_by_a_fence_of_either_side() {
        let mut clocks = Clocks::new(4);
        let stamp = clocks.now();
        assert!(!clocks.is_fenced(0, stamp, 1));
        clocks.fence(1);
        assert!(!clocks.is_fenced(0, stamp, 1), "what 1 knew nothing of");
        clocks.meet(&[0, 1], &mut Token::default());
        clocks.fence(1);
        assert!(clocks.is_fenced(0, stamp, 1) && !clocks.is_fenced(0, stamp, 2));
        clocks.fence(0);
        assert!(clocks.is_fenced(0, stamp, 2) && !clocks.is_fenced(0, clocks.now(), 2));
        clocks.learn(2, 3, 5);
        assert!(clocks.ordered(3, 5, 2) && !clocks.ordered(3, 6, 2));
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
