//! The order in which contenders have their turns.

use crate::Result;

/// A xorshift generator: the order of a round needs to be even, not unpredictable.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// Calls `try_one` with each contender's place in turn, in a new random order each round, and gives the figures of
/// each. One that fails is asked no more.
pub fn interleave<T>(
    count: usize,
    rounds: usize,
    mut try_one: impl FnMut(usize, usize) -> Result<T>,
) -> Vec<Result<Vec<T>>> {
    let mut outcomes: Vec<Result<Vec<T>>> = (0..count).map(|_| Ok(Vec::new())).collect();
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random::new();
    for round in 0..rounds {
        random.shuffle(&mut order);
        for &index in &order {
            if let Ok(figures) = &mut outcomes[index] {
                match try_one(index, round) {
                    Ok(figure) => figures.push(figure),
                    Err(error) => outcomes[index] = Err(error),
                }
            }
        }
    }
    outcomes
}
