//! Blocking calls of a store that is asynchronous.

use crate::{Error, ErrorKind};
use std::fmt;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long one call may take. Longer than the stores themselves go on trying (3 minutes), so that their word comes first.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(240);

/// Runs the calls of a store on a runtime and waits for them on the caller's thread, which must not be one of the runtime's own two.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    runtime: Handle,
    limit: Duration,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) enum CallError {
    /// The store said so. It may have done what it was asked to all the same.
    Store(object_store::Error),
    /// It said nothing in this time; nobody knows what it has done.
    TimedOut(Duration),
    /// The job's runtime was shut down in the middle.
    Ended,
}

impl Calls {
    pub(super) fn new(runtime: Handle, limit: Duration) -> Self {
        Self { runtime, limit }
    }

    /// The answer of `call`. When it takes too long it is dropped.
    ///
    /// A task and a channel, not `block_on`: that panics when it is called on the wrong thread, and again when the runtime is gone.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        call: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, CallError> {
        let limit = self.limit;
        let (reply, answer) = sync_channel(1);
        self.runtime.spawn(async move {
            let result = match tokio::time::timeout(limit, call).await {
                Ok(result) => result.map_err(CallError::Store),
                Err(_) => Err(CallError::TimedOut(limit)),
            };
            // There is room for one answer, and the caller waits for it.
            let _ = reply.send(result);
        });
        answer.recv().unwrap_or(Err(CallError::Ended))
    }

    /// Starts something that nobody waits for, within the same limit; what comes of it does not matter to the caller.
    pub(super) fn detach(&self, call: impl Future<Output = object_store::Result<()>> + Send + 'static) {
        let limit = self.limit;
        self.runtime.spawn(async move {
            if let Ok(Err(error)) = tokio::time::timeout(limit, call).await {
                tracing::debug!(%error, "a leftover in the checkpoint storage could not be deleted");
            }
        });
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl CallError {
    /// Nothing is there under the name.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }

    /// The engine's error: what could not be done to which object.
    pub(super) fn into_error(self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        match self {
            Self::Store(error) => Error::new(kind, format!("cannot {what}")).with_source(error),
            Self::TimedOut(limit) => Error::new(kind, format!("cannot {what}: no answer within {limit:?}")),
            Self::Ended => Error::new(ErrorKind::Cancelled, format!("cannot {what}: the job has ended")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_without_answer_ends_at_its_limit() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let calls = Calls::new(runtime.handle().clone(), Duration::from_millis(20));
        let never = calls.wait(std::future::pending::<object_store::Result<()>>());
        assert!(matches!(never, Err(CallError::TimedOut(_))), "{never:?}");
    }

    #[test]
    fn call_after_the_end_of_the_runtime_is_an_error_and_no_panic() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let calls = Calls::new(runtime.handle().clone(), CALL_LIMIT);
        drop(runtime);
        let late = calls.wait(std::future::ready(Ok(())));
        assert!(matches!(late, Err(CallError::Ended)), "{late:?}");
        let error = CallError::Ended.into_error(ErrorKind::Storage, "write x");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
