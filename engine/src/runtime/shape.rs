//! A timely operator under construction: its builder, and which inputs lead to which outputs.
//!
//! All operators of a dataflow are begun first and connected one edge after the other, in the same order on every worker; only then are
//! they built. So an edge may also lead back to a source: control inputs have no path to any output, and make no cycle.

use super::batch::Batch;
use super::partition::{Partitioning, Router};
use super::pool::BatchPool;
use super::port::{Port, PortOutput};
use super::time::Time;
use crate::api::Data;
use std::cell::RefCell;
use std::rc::Rc;
use timely::Container;
use timely::communication::Pull;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::InputHandleCore;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::Antichain;

/// An operator under construction.
pub(crate) struct OperatorShape<'scope> {
    pub(crate) builder: OperatorBuilder<'scope, Time>,
    /// For each input, whether what comes in may go out again: `false` for control.
    inputs: Vec<bool>,
    /// For each output, whether it carries on the times of the data inputs.
    outputs: Vec<bool>,
    /// The data outputs by their number.
    pub(crate) ports: Vec<(usize, Rc<RefCell<dyn Port>>)>,
}

impl<'scope> OperatorShape<'scope> {
    pub(crate) fn new(name: &str, scope: Scope<'scope, Time>) -> Self {
        Self {
            builder: OperatorBuilder::new(name.to_owned(), scope),
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Vec::new(),
        }
    }

    fn connection(from_data: bool, others: &[bool]) -> Vec<(usize, Antichain<u64>)> {
        let path = |to_data: bool| {
            if from_data && to_data {
                Antichain::from_elem(0)
            } else {
                Antichain::new()
            }
        };
        others
            .iter()
            .enumerate()
            .map(|(index, data)| (index, path(*data)))
            .collect()
    }

    /// Adds an input and returns its number among the inputs.
    pub(crate) fn input<C: Container, P: ParallelizationContract<Time, C>>(
        &mut self,
        stream: Stream<'scope, Time, C>,
        pact: P,
        is_data: bool,
    ) -> (usize, InputHandleCore<Time, C, P::Puller>) {
        let connection = Self::connection(is_data, &self.outputs);
        let handle = self.builder.new_input_connection(stream, pact, connection);
        self.inputs.push(is_data);
        (self.inputs.len() - 1, handle)
    }

    /// Adds an output and returns its number among the outputs.
    pub(crate) fn output<C: Container>(
        &mut self,
        carries_times: bool,
    ) -> (usize, Output<Time, C>, Stream<'scope, Time, C>) {
        let connection = Self::connection(carries_times, &self.inputs);
        let (output, stream) = self.builder.new_output_connection(connection);
        self.outputs.push(carries_times);
        (self.outputs.len() - 1, output, stream)
    }

    /// Connects a new data output of this operator with a new data input of `to`. Returns the output, and the input with its number.
    pub(crate) fn connect<T: Data>(
        &mut self,
        to: &mut Self,
        edge: EdgeShape,
    ) -> (Rc<RefCell<PortOutput<T>>>, (usize, Box<dyn InputEdge<T>>)) {
        let (number, output, stream) = self.output::<Batch<T>>(true);
        let pool = BatchPool::new();
        let output = Rc::new(RefCell::new(PortOutput::new(output, pool.clone())));
        let port: Rc<RefCell<dyn Port>> = Rc::<RefCell<PortOutput<T>>>::clone(&output);
        self.ports.push((number, port));
        let input = match edge.rule {
            Partitioning::Forward => {
                let (number, handle) = to.input(stream, Pipeline, true);
                (
                    number,
                    Box::new(PooledInput { handle, pool }) as Box<dyn InputEdge<T>>,
                )
            }
            rule => {
                let EdgeShape {
                    subtask, parallelism, ..
                } = edge;
                let buffers = pool.clone();
                let pact = DistributorPact(move |peers| {
                    Router::<T>::new(rule, subtask, parallelism, peers, buffers)
                });
                let (number, handle) = to.input(stream, pact, true);
                (
                    number,
                    Box::new(PooledInput { handle, pool }) as Box<dyn InputEdge<T>>,
                )
            }
        };
        (output, input)
    }
}

/// How an edge spreads records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EdgeShape {
    /// The rule.
    pub(crate) rule: Partitioning,
    /// The subtask at this end, on this worker.
    pub(crate) subtask: usize,
    /// The parallelism at the other end.
    pub(crate) parallelism: u32,
}

/// An input of batches, whatever its channel.
pub(crate) trait InputEdge<T> {
    /// Hands every batch that has arrived, with its time, to `take`.
    fn drain(&mut self, take: &mut dyn FnMut(Time, &mut Batch<T>));
}

/// An input that keeps the memory of its batches.
struct PooledInput<T, P: Pull<Message<Time, Batch<T>>>> {
    handle: InputHandleCore<Time, Batch<T>, P>,
    pool: BatchPool<T>,
}

impl<T: Data, P: Pull<Message<Time, Batch<T>>>> InputEdge<T> for PooledInput<T, P> {
    fn drain(&mut self, take: &mut dyn FnMut(Time, &mut Batch<T>)) {
        let Self { handle, pool } = self;
        handle.for_each(|capability, batch| {
            // A message without a time makes no promise about progress; ours always have one.
            if let Some(time) = capability.least() {
                take(*time, batch);
            }
            pool.give(std::mem::take(batch));
        });
    }
}
