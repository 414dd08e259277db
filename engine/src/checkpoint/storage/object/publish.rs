//! Publishing metadata so that of two coordinators at most one succeeds.
//!
//! The object is created only if its name is free. A store may do that and still report a failure, or nothing at all; so whoever finds
//! the name taken, or does not know, reads what is there. If those are its own bytes, it was the publisher: the bytes name the attempt, and no two
//! coordinators have the same one.

use super::calls::{CallError, Calls};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::sync::Arc;

/// How often the object is put; a store that fails this often in a row is taken for broken.
const TRIES: u32 = 3;

/// Why nothing was published.
#[derive(Debug)]
pub(super) struct PublishFailed {
    pub(super) error: Error,
    /// What has the name now, or will have it, may be somebody else's: it must not be deleted unseen.
    pub(super) contested: bool,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    Us,
    SomebodyElse,
}

/// Finds out who published `path`, given what we would have.
pub(super) fn holder(
    store: &Arc<dyn ObjectStore>,
    calls: &Calls,
    path: &Path,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Holder, CallError> {
    let (asked, of) = (Arc::clone(store), path.clone());
    let read = calls.wait(async move { asked.get(&of).await?.bytes().await });
    match read {
        Ok(bytes) if is_ours(&bytes) => Ok(Holder::Us),
        Ok(_) => Ok(Holder::SomebodyElse),
        Err(error) if error.is_not_found() => Ok(Holder::Nobody),
        Err(error) => Err(error),
    }
}

/// Creates the object, or finds it created by an earlier try of ours.
pub(super) fn create(
    store: &Arc<dyn ObjectStore>,
    calls: &Calls,
    path: &Path,
    bytes: &[u8],
) -> Result<(), PublishFailed> {
    let payload = Bytes::copy_from_slice(bytes);
    let mut last = None;
    for _ in 0..TRIES {
        let (asked, of, payload) = (Arc::clone(store), path.clone(), payload.clone());
        let put = calls.wait(async move {
            asked
                .put_opts(&of, PutPayload::from(payload), PutMode::Create.into())
                .await
        });
        match put {
            Ok(_) => return Ok(()),
            Err(error) if is_settled(&error) => {
                last = Some(error);
                break;
            }
            Err(error) => last = Some(error),
        }
    }
    let failed = |error: Option<CallError>, contested| PublishFailed {
        error: error
            .unwrap_or(CallError::Ended)
            .into_error(ErrorKind::Storage, format_args!("publish the metadata '{path}'")),
        contested,
    };
    match holder(store, calls, path, |found| found == bytes) {
        Ok(Holder::Us) => Ok(()),
        Ok(Holder::SomebodyElse) => Err(PublishFailed {
            error: Error::new(
                ErrorKind::Storage,
                format!(
                    "the metadata '{path}' is there already and is not this coordinator's: does the same job run twice?"
                ),
            ),
            contested: true,
        }),
        // A put without an answer may still take effect later. Then it is ours, and goes with the checkpoint or at the next start.
        Ok(Holder::Nobody) => Err(failed(last, false)),
        Err(unknown) => Err(failed(last.or(Some(unknown)), true)),
    }
}

/// Whether trying again cannot change the answer.
fn is_settled(error: &CallError) -> bool {
    use object_store::Error::{
        AlreadyExists, NotImplemented, NotSupported, PermissionDenied, Precondition, Unauthenticated,
    };
    match error {
        CallError::Store(error) => matches!(
            error,
            AlreadyExists { .. }
                | Precondition { .. }
                | NotImplemented { .. }
                | NotSupported { .. }
                | PermissionDenied { .. }
                | Unauthenticated { .. }
        ),
        CallError::TimedOut(_) => false,
        CallError::Ended => true,
    }
}
