//! What comes into a chain: one stream, or two of different types.

use super::batch::Batch;
use super::channels::Channels;
use super::shape::InputEdge;
use super::stage::{CoStage, Stage, StageControl};
use super::task::TaskContext;
use super::time::{Time, epoch_of};
use crate::Result;
use crate::api::Data;
use std::collections::VecDeque;
use std::time::Instant;

/// The inputs of a chain with its first stage. Each kind is compiled for itself: a chain with one input pays nothing for others having two.
pub(crate) trait ChainInputs: 'static {
    /// A batch of any of the inputs.
    type Batch: 'static;

    /// The numbers that the inputs have among those of the timely operator.
    fn numbers(&self) -> Vec<usize>;

    /// The first stage.
    fn chain(&mut self) -> &mut dyn StageControl;

    /// Processes what has arrived, and under exactly-once holds back what is of a later epoch than `aligned_to`.
    fn take(
        &mut self,
        aligned_to: Option<u64>,
        stash: &mut Stash<Self::Batch>,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()>;

    /// Processes a batch that was held back.
    fn process(
        &mut self,
        input: usize,
        batch: Self::Batch,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()>;
}

/// Batches of later epochs, in order of arrival.
pub(crate) struct Stash<B> {
    /// Epoch, input, batch.
    batches: VecDeque<(u64, usize, B)>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl<B> Stash<B> {
    pub(crate) fn new() -> Self {
        Self {
            batches: VecDeque::new(),
            since: None,
        }
    }

    fn hold(&mut self, epoch: u64, input: usize, batch: B) {
        self.since.get_or_insert_with(Instant::now);
        self.batches.push_back((epoch, input, batch));
    }

    /// The first batch, from the `index`-th on, that is of an epoch up to and including `epoch`; `index` moves on to its place.
    pub(crate) fn release(&mut self, epoch: u64, index: &mut usize) -> Option<(usize, B)> {
        while self.batches.get(*index)?.0 > epoch {
            *index += 1;
        }
        self.batches
            .remove(*index)
            .map(|(_, input, batch)| (input, batch))
    }

    /// How long batches have been held back for, in milliseconds; from now on it counts anew.
    pub(crate) fn take_alignment_ms(&mut self) -> f64 {
        self.since
            .take()
            .map_or(0.0, |since| since.elapsed().as_secs_f64() * 1e3)
    }
}

/// The edges that bring records of one type.
type Edges<T> = Vec<(usize, Box<dyn InputEdge<T>>)>;

/// One stream, by any number of edges.
pub(crate) struct OneInput<T: Data> {
    chain: Box<dyn Stage<T>>,
    edges: Edges<T>,
}

impl<T: Data> OneInput<T> {
    pub(crate) fn new(chain: Box<dyn Stage<T>>, edges: Edges<T>) -> Self {
        Self { chain, edges }
    }
}

impl<T: Data> ChainInputs for OneInput<T> {
    type Batch = Batch<T>;

    fn numbers(&self) -> Vec<usize> {
        self.edges.iter().map(|(number, _)| *number).collect()
    }

    fn chain(&mut self) -> &mut dyn StageControl {
        self.chain.as_mut()
    }

    fn take(
        &mut self,
        aligned_to: Option<u64>,
        stash: &mut Stash<Batch<T>>,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { chain, edges } = self;
        let hold = |epoch, input, batch| stash.hold(epoch, input, batch);
        drain(edges, 0, aligned_to, hold, |input, batch| {
            deliver(input, batch, channels, chain.as_mut(), task, |chain, batch| {
                chain.batch(batch, task)
            })
        })
    }

    fn process(
        &mut self,
        input: usize,
        mut batch: Batch<T>,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()> {
        let chain = self.chain.as_mut();
        deliver(input, &mut batch, channels, chain, task, |chain, batch| {
            chain.batch(batch, task)
        })
    }
}

/// Two streams, each by any number of edges; those of the first are counted before those of the second.
pub(crate) struct TwoInputs<A: Data, B: Data> {
    chain: Box<dyn CoStage<A, B>>,
    first: Edges<A>,
    second: Edges<B>,
}

/// A batch of one of two streams.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

impl<A: Data, B: Data> TwoInputs<A, B> {
    pub(crate) fn new(chain: Box<dyn CoStage<A, B>>, first: Edges<A>, second: Edges<B>) -> Self {
        Self { chain, first, second }
    }
}

impl<A: Data, B: Data> ChainInputs for TwoInputs<A, B> {
    type Batch = Either<Batch<A>, Batch<B>>;

    fn numbers(&self) -> Vec<usize> {
        let first = self.first.iter().map(|(number, _)| *number);
        first
            .chain(self.second.iter().map(|(number, _)| *number))
            .collect()
    }

    fn chain(&mut self) -> &mut dyn StageControl {
        self.chain.as_mut()
    }

    fn take(
        &mut self,
        aligned_to: Option<u64>,
        stash: &mut Stash<Self::Batch>,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { chain, first, second } = self;
        let hold = |epoch, input, batch| stash.hold(epoch, input, Either::First(batch));
        drain(first, 0, aligned_to, hold, |input, batch| {
            deliver(input, batch, channels, chain.as_mut(), task, |chain, batch| {
                chain.first(batch, task)
            })
        })?;
        let hold = |epoch, input, batch| stash.hold(epoch, input, Either::Second(batch));
        drain(second, first.len(), aligned_to, hold, |input, batch| {
            deliver(input, batch, channels, chain.as_mut(), task, |chain, batch| {
                chain.second(batch, task)
            })
        })
    }

    fn process(
        &mut self,
        input: usize,
        batch: Self::Batch,
        channels: &mut Channels,
        task: &TaskContext,
    ) -> Result<()> {
        let chain = self.chain.as_mut();
        match batch {
            Either::First(mut batch) => deliver(input, &mut batch, channels, chain, task, |chain, batch| {
                chain.first(batch, task)
            }),
            Either::Second(mut batch) => deliver(input, &mut batch, channels, chain, task, |chain, batch| {
                chain.second(batch, task)
            }),
        }
    }
}

/// Takes everything that has arrived by `edges`, the first of which is input `base`.
fn drain<T: Data>(
    edges: &mut Edges<T>,
    base: usize,
    aligned_to: Option<u64>,
    mut hold: impl FnMut(u64, usize, Batch<T>),
    mut process: impl FnMut(usize, &mut Batch<T>) -> Result<()>,
) -> Result<()> {
    let mut result = Ok(());
    for (input, (_, edge)) in edges.iter_mut().enumerate() {
        edge.drain(&mut |time: Time, batch| {
            let epoch = epoch_of(time);
            if aligned_to.is_some_and(|current| epoch > current) {
                hold(epoch, base + input, std::mem::take(batch));
            } else if result.is_ok() {
                result = process(base + input, batch);
            }
        });
    }
    result
}

/// Hands the records of a batch on by `call`, and then what its mark changes for the whole input.
fn deliver<T, S: StageControl + ?Sized>(
    input: usize,
    batch: &mut Batch<T>,
    channels: &mut Channels,
    chain: &mut S,
    task: &TaskContext,
    call: impl FnOnce(&mut S, &mut Batch<T>) -> Result<()>,
) -> Result<()> {
    let mark = batch.mark.take();
    if !batch.records.is_empty() {
        call(chain, batch)?;
    }
    if let Some(mark) = mark {
        let change = channels.update(input, mark);
        if let Some(idle) = change.idle {
            chain.idle(idle, task)?;
        }
        if let Some(watermark) = change.watermark {
            chain.watermark(watermark, task)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_comes_out_in_order_up_to_its_epoch() {
        let mut stash = Stash::new();
        for (epoch, batch) in [(2, 'a'), (3, 'b'), (2, 'c'), (4, 'd'), (3, 'e')] {
            stash.hold(epoch, 0, batch);
        }
        let release = |stash: &mut Stash<char>, epoch| {
            let (mut index, mut batches) = (0, String::new());
            while let Some((_, batch)) = stash.release(epoch, &mut index) {
                batches.push(batch);
            }
            batches
        };
        assert_eq!(release(&mut stash, 1), "");
        assert_eq!(release(&mut stash, 2), "ac");
        assert_eq!(release(&mut stash, 2), "");
        assert_eq!(release(&mut stash, u64::MAX), "bde");
        assert!(stash.take_alignment_ms() >= 0.0 && stash.since.is_none());
    }
}
