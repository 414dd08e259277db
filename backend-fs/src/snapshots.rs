//! Snapshots of a subtask: which chain the next one builds on, and what is done when one is complete.

use crate::chain::{Chain, Next};
use crate::options::Options;
use crate::restore::{Opener, Restored, over_base};
use crate::sweep::Sweep;
use crate::writer::{ChainWriter, FsWriter, How, Written, WrittenChain};
use millpond_backend_api::{BackendResult, CheckpointEvent, SnapshotForm, SnapshotRequest};
use millpond_backend_memory::snapshot::TableWriter;
use millpond_backend_memory::{Snapshots, Tables};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The snapshots of a subtask.
#[derive(Debug)]
pub struct ChainSnapshots {
    options: Options,
    opener: Arc<Opener>,
    /// The chain of the latest completed checkpoint that later ones may build on; empty if there is none.
    chain: Chain,
    /// The checkpoint that has it.
    completed: u64,
    /// Snapshots of which it is not known whether they are complete.
    pending: BTreeMap<u64, Pending>,
    /// Whether files lie below the tables.
    over_files: bool,
    sweep: Sweep,
    figures: Figures,
}

#[derive(Debug)]
struct Pending {
    written: Written,
    shared: bool,
    /// The last epoch whose changes it has, if it has everything in one file.
    base_to: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    bases: u64,
    deltas: u64,
    folded: u64,
}

impl ChainSnapshots {
    /// The snapshots of what was restored, with `opener` to open files by.
    pub(crate) fn new(options: Options, opener: Opener, restored: &Restored) -> Self {
        Self {
            options,
            opener: Arc::new(opener),
            chain: restored.chain.clone().if_shared(),
            completed: 0,
            pending: BTreeMap::new(),
            over_files: !restored.files.is_empty(),
            sweep: Sweep::start(&restored.files),
            figures: Figures::default(),
        }
    }

    fn next(&mut self, shared: bool) -> Next {
        let next = if shared { self.chain.next() } else { Next::base() };
        match next.since {
            None => self.figures.bases += 1,
            Some(_) => self.figures.deltas += 1,
        }
        self.figures.folded += next.weight - 1;
        next
    }

    fn complete(&mut self, tables: &mut Tables, id: u64, done: &Pending) {
        self.completed = id;
        // One that was never written is nothing to build on.
        let Some(written) = done.written.get() else {
            self.chain = Chain::default();
            return;
        };
        self.chain = written.chain.clone().if_shared();
        if let Some(epoch) = done.base_to
            && (!self.over_files || done.shared && self.put_over_base(tables, written))
        {
            // Nothing that is below, or that a later increment builds on, has what was deleted up to here.
            for (_, kind) in tables.iter_mut() {
                kind.deletions_mut().forget = epoch;
            }
        }
    }

    /// Lets the tables lie over the base that was just completed, instead of over what was restored: so the restored files can go. Whether it
    /// did; without the base open all stays as it is.
    fn put_over_base(&mut self, tables: &mut Tables, written: &WrittenChain) -> bool {
        match &written.opened {
            Some(file) => over_base(tables, file),
            None if !written.chain.0.is_empty() => return false,
            // There was nothing to be written.
            None => tables.iter_mut().for_each(|(_, kind)| kind.replace_lower(None)),
        }
        self.sweep = Sweep::start(written.opened.as_slice());
        true
    }
}

impl Snapshots for ChainSnapshots {
    type Writer = FsWriter;

    fn snapshot(&mut self, tables: &mut Tables, request: &SnapshotRequest) -> BackendResult<FsWriter> {
        self.sweep.check()?;
        if request.form == SnapshotForm::Canonical {
            // No chain builds on it, so what becomes of it does not matter: increments go on from the native one before it.
            let states = tables.freeze()?;
            return Ok(FsWriter::Canonical(TableWriter::new(tables.range(), states)));
        }
        let shared = request.may_share && self.options.incremental;
        let to = tables.epoch();
        let states = tables.freeze()?;
        let next = self.next(shared);
        let written = Written::default();
        self.pending.insert(
            request.checkpoint_id,
            Pending {
                written: Arc::clone(&written),
                shared,
                base_to: next.since.is_none().then_some(to),
            },
        );
        let how = How {
            shared,
            compressed: self.options.compressed,
            to,
            reopen: (shared && self.over_files && next.since.is_none()).then(|| Arc::clone(&self.opener)),
        };
        let writer = ChainWriter::new(tables.range(), states, next, how, written);
        Ok(FsWriter::Chain(writer))
    }

    fn notify(&mut self, tables: &mut Tables, id: u64, event: CheckpointEvent) -> BackendResult<()> {
        self.sweep.check()?;
        // A canonical one is not among them, and subsumes none of them.
        if let Some(done) = self.pending.remove(&id)
            && event == CheckpointEvent::Completed
        {
            // What came before it will be subsumed if it ever completes.
            self.pending = self.pending.split_off(&id);
            if id > self.completed {
                self.complete(tables, id, &done);
            }
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        let count = |name: &str, number: usize| (name.to_owned(), as_f64(number as u64));
        let figure = |name: &str, number: u64| (name.to_owned(), as_f64(number));
        vec![
            count("chain_files", self.chain.0.len()),
            figure(
                "chain_bytes",
                self.chain.0.iter().map(|file| file.file.size).sum(),
            ),
            figure("bases_begun", self.figures.bases),
            figure("deltas_begun", self.figures.deltas),
            figure("increments_folded", self.figures.folded),
        ]
    }
}

fn as_f64(number: u64) -> f64 {
    number as f64
}
