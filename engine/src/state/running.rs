//! Folds that tell their result after each record.

use crate::api::Data;

/// Folds the records of each key into one value, and makes a result of each step.
pub(crate) trait RunningFold<T, U> {
    /// What is stored for a key.
    type Accumulator: Data;

    /// Folds `record` into what is stored, `None` where it is the first one of its key: hands the new value to `store`, once, and returns the result.
    fn fold<E>(
        &self,
        before: Option<Self::Accumulator>,
        record: T,
        store: impl FnOnce(&Self::Accumulator) -> Result<(), E>,
    ) -> Result<U, E>;
}
