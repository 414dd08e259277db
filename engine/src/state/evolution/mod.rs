//! State whose type has changed: whether what is stored can be used as what a program registers, and how it becomes that.
//!
//! Beside each state its [`StateCodec`] is stored. When a state is registered it is compared with what the program has, which comes to a [`Verdict`]: new, as it is,
//! after migration, or incompatible. As in Flink keys, map keys and namespaces never migrate.
//!
//! # How state migrates
//! At once, before the first record, so that no state ever has values of two types and a snapshot has one codec a state. A backend knows bytes only, and values of another
//! type may have another width, so nothing is rewritten in place: what is restored is opened as it is, an empty backend takes its place, and every entry of every state of
//! the operator is brought over, key group by key group, through the user's function where its state migrates. No more than a key group of one state is in the engine's memory at a
//! time. The next checkpoint is whole, and shares no file with the one that was restored, which is only read: a crash at any moment finds it as it was, and the migration begins anew.

mod convert;
mod opening;

pub(crate) use convert::{Convert, Evolve, Migration, Way, evolved, way};
pub(crate) use opening::{Opening, PlannedState, bring_over};

use crate::codec::CodecId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is stored with a state of how its bytes came about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateCodec {
    /// The operator's key.
    pub key: CodecId,
    /// The map key, of maps.
    pub map_key: Option<CodecId>,
    /// The namespace, where the state has any.
    pub namespace: Option<CodecId>,
    /// The value, the element of a list, or the accumulator.
    pub value: CodecId,
    /// Whether each value, element or entry is stored with its time.
    pub ttl: bool,
}

impl StateCodec {
    /// That of timers under `key`, which have no values.
    pub(crate) fn of_timers(key: CodecId) -> Self {
        Self {
            key,
            map_key: None,
            namespace: None,
            value: CodecId::of::<()>(),
            ttl: false,
        }
    }
}

impl fmt::Display for StateCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}, ", self.key.shape)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "namespace {}, ", namespace.shape)?;
        }
        if let Some(map_key) = &self.map_key {
            write!(f, "{} -> ", map_key.shape)?;
        }
        write!(f, "value {}", self.value.shape)?;
        if self.ttl {
            f.write_str(", with TTL")?;
        }
        Ok(())
    }
}

/// Whether a stored state can be used as what a program has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is stored under the name.
    New,
    /// The bytes are read as they are.
    AsIs,
    /// Every value is rewritten before the first record.
    AfterMigration {
        /// By what, as a phrase.
        how: String,
    },
    /// The job is refused.
    Incompatible {
        /// Why, and what to do, as a sentence without its full stop.
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::AsIs => f.write_str("as it is"),
            Self::AfterMigration { how } => write!(f, "migrates {how}"),
            Self::Incompatible { reason } => write!(f, "incompatible: {reason}"),
        }
    }
}
