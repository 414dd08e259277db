//! States with namespaces, which are merged.

use crate::say;
use millpond_engine::Result;
use millpond_engine::api::{Data, ProcessContext};
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MergingAggregateFunction, Namespaced, NamespacedRegistry,
    ReducingState,
};
use std::fmt::Display;

/// States with namespaces: the `number`-th record of a key goes to namespace `number % 4`, and with each fourth record the namespaces 1 to 3 are merged into 0. Then the list is shown and
/// cleared; the fold and the mean are shown, and go on.
#[derive(Clone)]
pub(super) struct Merging<C, A: AggregateFunction> {
    list: Namespaced<u64, ListState<u64>>,
    count: Namespaced<u64, ReducingState<C>>,
    mean: Namespaced<u64, AggregatingState<A>>,
}

impl<C: Data + Display, A: MergingAggregateFunction<Input = u64, Output = u64> + Clone> Merging<C, A> {
    pub(super) fn open(
        mut states: NamespacedRegistry<'_, u64>,
        mean: A,
        add: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self {
            list: states.list_state("merged list")?,
            count: states.reducing_state("merged count", add)?,
            mean: states.aggregating_state("merged mean", mean)?,
        })
    }

    pub(super) fn enter(
        &self,
        record: u64,
        one: C,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
    ) -> Result<String> {
        let namespace = number % 4;
        self.list.at(context, &namespace)?.add(context, &record)?;
        self.count.at(context, &namespace)?.add(context, one)?;
        self.mean.at(context, &namespace)?.add(context, record)?;
        if namespace != 3 {
            return Ok("-".to_owned());
        }
        self.list.merge(context, &0, &[3, 0, 1, 2])?;
        self.count.merge(context, &0, &[1, 2, 3])?;
        self.mean.merge(context, &0, &[1, 2, 3, 7])?;
        let list = self.list.at(context, &0)?;
        let records: Vec<String> = list.get(context)?.iter().map(u64::to_string).collect();
        list.clear(context)?;
        let count = self.count.at(context, &0)?.get(context)?;
        let mean = self.mean.at(context, &0)?.get(context)?;
        for empty in 1..4 {
            if !self.list.at(context, &empty)?.get(context)?.is_empty() {
                say(format_args!("FAULT: a list that was merged is not empty"));
            }
        }
        let count = count.map_or_else(String::new, |count| count.to_string());
        Ok(format!("{}:{count}:{}", records.join(","), mean.unwrap_or(0)))
    }
}
