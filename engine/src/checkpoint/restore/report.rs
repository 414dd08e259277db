//! What would become of a snapshot if a job started from it: told before anything starts.

use super::assign::{OperatorPlan, assign};
use crate::checkpoint::{
    CheckpointMetadata, KeyedHandle, OperatorMetadata, Redistribution, StateDescription, SubtaskSnapshot,
};
use crate::runtime::stages::PlannedStates;
use crate::state::{PlannedOperatorState, Verdict};
use millpond_backend_api::{KeyGroupRange, canonical, owner};
use std::collections::BTreeMap;
use std::fmt;

/// An operator of the job with the states that its function registers.
pub(crate) struct PlannedOperator {
    pub(crate) plan: OperatorPlan,
    /// The error of a function that refused to be opened.
    pub(crate) states: Result<PlannedStates, String>,
}

/// What a start from a snapshot would come to: for each operator and state whether it is found, and what happens to it. Its text is for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// What is restored, as a phrase.
    pub snapshot: String,
    /// The operators of the job in the order of the plan, then those that only the snapshot has.
    pub operators: Vec<OperatorReport>,
    /// What stands in the way beside what the operators tell.
    pub problems: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// One operator in a [`RestoreReport`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OperatorReport {
    /// The operator's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What becomes of its state altogether.
    pub fate: OperatorFate,
    /// The snapshot was taken after it had processed all its input; a source has nothing more to give.
    pub is_finished: bool,
    /// The number of subtasks that it had, if the snapshot has it.
    pub parallelism_before: Option<u32>,
    /// The number that it would have, if the job has it.
    pub parallelism: Option<u32>,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// Bytes of its state.
    pub state_bytes: u64,
    /// Which key groups would go from one subtask to another: old subtask, new subtask, how many.
    pub moves: Vec<(u32, u32, u32)>,
    /// Its keyed states, by name.
    pub states: Vec<StateReport>,
    /// Its operator states, by name.
    pub operator_states: Vec<OperatorStateReport>,
    /// Why it cannot be restored.
    pub problems: Vec<String>,
}

/// What becomes of the state of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperatorFate {
    /// The snapshot has it, and it goes on.
    Restored,
    /// The snapshot has nothing of it.
    New,
    /// The job does not have it, and its state is left behind.
    Dropped,
}

/// One keyed state in an [`OperatorReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateReport {
    /// Its name.
    pub name: String,
    /// Its kind: value, list, map, sorted map.
    pub kind: String,
    /// What becomes of it; nothing if the program does not register it: it stays, and goes into the next snapshot.
    pub verdict: Option<Verdict>,
}

/// One operator state in an [`OperatorReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperatorStateReport {
    /// Its name.
    pub name: String,
    /// How its elements are dealt out.
    pub redistribution: Redistribution,
    /// The number of elements or entries that the subtasks have stored together.
    pub elements: u64,
    /// What becomes of it; nothing if the program does not register it (it stays, and goes into the next snapshot), or does so only when it runs.
    pub verdict: Option<Verdict>,
    /// Whether the program is known to register it or not; what a sink's writer asks for is only known when it is opened.
    pub is_known: bool,
}

impl RestoreReport {
    /// Whether the job could start so.
    #[must_use]
    pub fn would_work(&self) -> bool {
        self.all_problems().next().is_none()
    }

    /// Everything that stands in the way.
    pub fn all_problems(&self) -> impl Iterator<Item = &str> {
        let of_operators = self.operators.iter().flat_map(|operator| &operator.problems);
        self.problems.iter().chain(of_operators).map(String::as_str)
    }
}

/// Works out what a start of `job` on the backend `backend` from `metadata` would come to.
pub(crate) fn report(
    metadata: &CheckpointMetadata,
    job: &[PlannedOperator],
    ignore_unclaimed: bool,
    backend: &str,
) -> RestoreReport {
    let mut operators: Vec<OperatorReport> = job
        .iter()
        .map(|operator| of_operator(metadata, operator, backend))
        .collect();
    let unclaimed = metadata
        .operators
        .iter()
        .filter(|stored| stored.has_state() && !job.iter().any(|operator| operator.plan.id == stored.id));
    operators.extend(unclaimed.map(|stored| unclaimed_operator(stored, ignore_unclaimed)));
    let what = if metadata.is_savepoint {
        "savepoint"
    } else {
        "checkpoint"
    };
    RestoreReport {
        snapshot: format!("{what} {} of job '{}'", metadata.id, metadata.job_name),
        operators,
        problems: Vec::new(),
        notes: Vec::new(),
    }
}

fn unclaimed_operator(stored: &OperatorMetadata, ignore_unclaimed: bool) -> OperatorReport {
    let mut report = of_stored(stored);
    report.fate = OperatorFate::Dropped;
    report.states = stored.states.iter().map(unregistered).collect();
    if !ignore_unclaimed {
        report.problems.push(format!(
            "operator '{}' (uid '{}') has state, and the job does not have it: give an operator its uid, or start it with `--allow-non-restored-state` \
             (`execution.state-recovery.ignore-unclaimed-state: true`) to leave the state behind",
            stored.name, stored.id
        ));
    }
    report
}

fn of_stored(stored: &OperatorMetadata) -> OperatorReport {
    let mut operator_states: BTreeMap<&str, OperatorStateReport> = BTreeMap::new();
    for state in stored.subtasks.iter().flat_map(|subtask| &subtask.operator_state) {
        let known = operator_states
            .entry(&state.name)
            .or_insert_with(|| OperatorStateReport {
                name: state.name.clone(),
                redistribution: state.redistribution,
                elements: 0,
                verdict: None,
                is_known: true,
            });
        known.elements += state.offsets.len();
    }
    OperatorReport {
        name: stored.name.clone(),
        uid: stored.id.uid().to_owned(),
        fate: OperatorFate::Restored,
        is_finished: stored.is_finished(),
        parallelism_before: Some(stored.parallelism),
        parallelism: None,
        max_parallelism: stored.max_parallelism,
        state_bytes: stored.subtasks.iter().map(SubtaskSnapshot::state_bytes).sum(),
        moves: Vec::new(),
        states: Vec::new(),
        operator_states: operator_states.into_values().collect(),
        problems: Vec::new(),
    }
}

fn unregistered(state: &StateDescription) -> StateReport {
    StateReport {
        name: state.name.clone(),
        kind: state.kind.clone(),
        verdict: None,
    }
}

fn of_operator(metadata: &CheckpointMetadata, operator: &PlannedOperator, backend: &str) -> OperatorReport {
    let plan = &operator.plan;
    let stored = metadata.operator(&plan.id);
    let mut report = match stored {
        Some(stored) => of_stored(stored),
        None => OperatorReport {
            name: String::new(),
            uid: plan.id.uid().to_owned(),
            fate: OperatorFate::New,
            is_finished: false,
            parallelism_before: None,
            parallelism: None,
            max_parallelism: plan.max_parallelism,
            state_bytes: 0,
            moves: Vec::new(),
            states: Vec::new(),
            operator_states: Vec::new(),
            problems: Vec::new(),
        },
    };
    report.name.clone_from(&plan.name);
    report.parallelism = Some(plan.parallelism);
    if let Some(stored) = stored {
        if !stored.has_state() {
            report.max_parallelism = plan.max_parallelism;
        }
        if let Err(error) = assign(metadata, std::slice::from_ref(plan), true) {
            report.problems.push(error.to_string());
        } else {
            report.moves = moves(stored, plan.parallelism);
        }
        report.problems.extend(other_backend(stored, plan, backend));
    }
    match &operator.states {
        Ok(states) => add_states(&mut report, stored, states),
        Err(error) => {
            report.problems.push(error.clone());
            add_states(&mut report, stored, &PlannedStates::default());
        }
    }
    report
}

/// Adds what is known of the states, and what of it stands in the way.
fn add_states(report: &mut OperatorReport, stored: Option<&OperatorMetadata>, planned: &PlannedStates) {
    let mut states: Vec<StateReport> = planned
        .keyed
        .iter()
        .map(|state| StateReport {
            name: state.name.clone(),
            kind: state.kind.name().to_owned(),
            verdict: Some(state.verdict.clone()),
        })
        .collect();
    let others = stored.iter().flat_map(|stored| &stored.states);
    let others = others.filter(|other| !planned.keyed.iter().any(|state| state.name == other.name));
    states.extend(others.map(unregistered));
    states.sort_by(|left, right| left.name.cmp(&right.name));
    for PlannedOperatorState {
        name,
        redistribution,
        verdict,
    } in planned.operator.iter().flatten()
    {
        match report
            .operator_states
            .iter_mut()
            .find(|state| state.name == *name)
        {
            Some(state) => state.verdict = Some(verdict.clone()),
            None => report.operator_states.push(OperatorStateReport {
                name: name.clone(),
                redistribution: *redistribution,
                elements: 0,
                verdict: Some(verdict.clone()),
                is_known: true,
            }),
        }
    }
    for state in &mut report.operator_states {
        state.is_known = planned.operator.is_some();
    }
    report
        .operator_states
        .sort_by(|left, right| left.name.cmp(&right.name));
    let keyed = states
        .iter()
        .map(|state| (format!("{} state", state.kind), &state.name, &state.verdict));
    let operator = report
        .operator_states
        .iter()
        .map(|state| ("operator state".to_owned(), &state.name, &state.verdict));
    for (kind, name, verdict) in keyed.chain(operator) {
        if let Some(Verdict::Incompatible { reason }) = verdict {
            report.problems.push(format!(
                "operator '{}' (uid '{}'): {kind} '{name}': {reason}",
                report.name, report.uid
            ));
        }
    }
    report.states = states;
}

/// What a backend cannot read: the files of another one, unless they are canonical.
fn other_backend(stored: &OperatorMetadata, plan: &OperatorPlan, backend: &str) -> Option<String> {
    let is_foreign = |handle: &&KeyedHandle| handle.backend != backend && handle.kind != canonical::FORMAT;
    let mut handles = stored.subtasks.iter().flat_map(|subtask| &subtask.keyed);
    let handle = handles.find(is_foreign)?;
    Some(format!(
        "operator '{}' (uid '{}') has state in the form '{}' of the backend {}, which {backend} does not read: take a canonical savepoint to change the backend",
        plan.name, plan.id, handle.kind, handle.backend
    ))
}

/// How many key groups go from which subtask to which other one.
fn moves(stored: &OperatorMetadata, parallelism: u32) -> Vec<(u32, u32, u32)> {
    let mut moves: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for subtask in &stored.subtasks {
        // Several handles may have the same groups.
        let mut ranges: Vec<(u16, u16)> = subtask.keyed.iter().map(|handle| handle.key_groups).collect();
        ranges.sort_unstable();
        ranges.dedup();
        for (first, last) in ranges {
            for group in KeyGroupRange::new(first, last)
                .iter()
                .flat_map(KeyGroupRange::iter)
            {
                let new = owner(group, parallelism, stored.max_parallelism);
                if new != subtask.subtask {
                    *moves.entry((subtask.subtask, new)).or_default() += 1;
                }
            }
        }
    }
    moves
        .into_iter()
        .map(|((from, to), groups)| (from, to, groups))
        .collect()
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "restore plan: {}", self.snapshot)?;
        for operator in &self.operators {
            write!(f, "\n{operator}")?;
        }
        for note in &self.notes {
            writeln!(f, "\nNote: {note}.")?;
        }
        let problems: Vec<&str> = self.all_problems().collect();
        if problems.is_empty() {
            return write!(
                f,
                "\nThe job would start from it, if its files are whole: they were not read, `millpond verify` does that. Nothing was started or changed."
            );
        }
        writeln!(f, "\nThe job would not start from it:")?;
        for problem in problems {
            writeln!(f, "  - {problem}")?;
        }
        write!(f, "Nothing was started or changed.")
    }
}

impl fmt::Display for OperatorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator '{}' (uid '{}'): ", self.name, self.uid)?;
        match self.fate {
            OperatorFate::Restored if self.is_finished => {
                write!(
                    f,
                    "found, had processed all its input, {} bytes",
                    self.state_bytes
                )?;
            }
            OperatorFate::Restored => write!(f, "found, {} bytes", self.state_bytes)?,
            OperatorFate::New => f.write_str("new, begins empty")?,
            OperatorFate::Dropped => write!(f, "dropped, {} bytes", self.state_bytes)?,
        }
        match (self.parallelism_before, self.parallelism) {
            (Some(before), Some(now)) => write!(
                f,
                ", parallelism {before} -> {now} of at most {}",
                self.max_parallelism
            )?,
            (None, Some(now)) => write!(f, ", parallelism {now} of at most {}", self.max_parallelism)?,
            _ => {}
        }
        writeln!(f)?;
        if self.fate == OperatorFate::Restored && self.states.iter().any(|state| !is_new(state)) {
            let moved: u32 = self.moves.iter().map(|(_, _, groups)| groups).sum();
            write!(
                f,
                "  key groups: {moved} of {} go to another subtask",
                self.max_parallelism
            )?;
            for (index, (from, to, groups)) in self.moves.iter().enumerate() {
                write!(
                    f,
                    "{} {groups} from {from} to {to}",
                    if index == 0 { ":" } else { "," }
                )?;
            }
            writeln!(f)?;
        }
        for state in &self.states {
            let StateReport { name, kind, verdict } = state;
            write!(f, "  keyed state '{name}' ({kind}): ")?;
            match verdict {
                Some(Verdict::New) => writeln!(f, "new")?,
                Some(verdict) => writeln!(f, "found, {verdict}")?,
                None if self.fate == OperatorFate::Dropped => writeln!(f, "dropped")?,
                None if name.starts_with('_') => writeln!(f, "found, as it is")?,
                None => writeln!(f, "found, not registered: stays as it is")?,
            }
        }
        for state in &self.operator_states {
            let how = match state.redistribution {
                Redistribution::Split => "split over the subtasks",
                Redistribution::Union => "all of them to each subtask",
                Redistribution::Broadcast => "the same in each subtask",
            };
            write!(
                f,
                "  operator state '{}' ({}): ",
                state.name, state.redistribution
            )?;
            match &state.verdict {
                Some(Verdict::New) => {
                    writeln!(f, "new")?;
                    continue;
                }
                Some(verdict) => write!(f, "found, {verdict}")?,
                None if self.fate == OperatorFate::Dropped => write!(f, "dropped")?,
                None if state.is_known => write!(f, "found, not registered: stays as it is")?,
                None => write!(f, "found; whether it fits is known when the operator is opened")?,
            }
            writeln!(f, "; {} elements, {how}", state.elements)?;
        }
        Ok(())
    }
}

fn is_new(state: &StateReport) -> bool {
    state.verdict == Some(Verdict::New)
}
