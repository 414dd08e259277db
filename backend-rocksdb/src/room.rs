//! Room for the tables: what they may take of the memory budget, and which entries give way when it is more.
//!
//! Entries that are in the database as they are can be dropped. A hand goes round the key groups of all states; what was not changed or fetched for
//! the longest time, in checkpoints, goes first (as in the clock algorithm, with the epoch of the last change in place of a bit: entries
//! have it anyhow).

use millpond_backend_memory::Tables;

/// How many epochs an entry is left alone at first.
const AGE_FIRST: u32 = 2;
/// Tables are brought down to this many sixteenths of their limit, so that it is not done for every batch.
const TARGET_SIXTEENTHS: usize = 15;

/// Where the hand is, and how old an entry must be.
#[derive(Debug)]
pub(crate) struct Room {
    state: usize,
    group: usize,
    age: u32,
    in_vain: Option<u32>,
    pub(crate) evicted_bytes: u64,
    pub(crate) rounds: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            state: 0,
            group: 0,
            age: AGE_FIRST,
            in_vain: None,
            evicted_bytes: 0,
            rounds: 0,
        }
    }
}

impl Room {
    /// Drops entries that are also below, which has what was changed up to the epoch `below`, until `tables` take at most `limit` bytes, or
    /// nothing more can go. Returns the bytes that they take then.
    pub(crate) fn make(&mut self, tables: &mut Tables, below: u32, used: usize, limit: usize) -> usize {
        // After a round in vain there is nothing to find until more has come to lie below.
        if used <= limit || self.in_vain == Some(below) {
            return used;
        }
        let target = limit / 16 * TARGET_SIXTEENTHS;
        let mut used = used;
        let groups = tables.range().len();
        let states = tables.iter().count();
        let stops = groups * states;
        let mut stop = 0;
        let mut asked = 0;
        while used > target {
            if stop == stops {
                if self.age == 0 {
                    // Everything that is left was changed since.
                    self.in_vain = Some(below);
                    break;
                }
                self.age -= 1;
                stop = 0;
            }
            if self.group >= groups {
                (self.state, self.group) = (self.state + 1, 0);
            }
            if self.state >= states {
                self.state = 0;
                self.rounds += 1;
            }
            let up_to = below.saturating_sub(self.age);
            if let Some((_, kind)) = tables.iter_mut().nth(self.state) {
                let freed = kind.evict(self.group, up_to);
                used = used.saturating_sub(freed);
                self.evicted_bytes += freed as u64;
            }
            self.group += 1;
            stop += 1;
            asked += 1;
        }
        // What took little to find can be left alone for longer the next time.
        if asked * 4 < stops {
            self.age = (self.age + 1).min(AGE_FIRST);
        }
        used
    }
}
