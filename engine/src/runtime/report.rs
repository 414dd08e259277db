//! What tasks tell worker 0, over the stream of acknowledgements.

use crate::checkpoint::{AckMessage, OperatorId};
use serde::{Deserialize, Serialize};

/// A report of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The answer to a checkpoint.
    Ack(AckMessage),
    /// A source subtask has emitted everything it had.
    SourceFinished {
        /// The source.
        operator: OperatorId,
        /// The subtask.
        subtask: u32,
    },
    /// A source subtask has used up most of the ticks of its epoch.
    NeedsEpoch {
        /// The epoch that is nearly used up.
        epoch: u64,
    },
}
