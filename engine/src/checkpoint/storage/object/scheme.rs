//! From the scheme of an address to a store: the one place that knows which remote storage there is.

use crate::{Error, ErrorKind, Result};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// A kind of remote storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// `memory`: in the memory of this process, under a name. For tests.
    Memory,
}

impl Scheme {
    fn parse(scheme: &str) -> Option<Self> {
        match scheme {
            "memory" => Some(Self::Memory),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
        }
    }
}

/// A folder in remote storage, `<scheme>://<authority>/<path>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteLocation {
    scheme: Scheme,
    authority: String,
    prefix: Path,
}

impl RemoteLocation {
    /// The remote folder that `value` names; nothing if its scheme is not one of remote storage. `key` says where the value comes from, for the error.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the path is none, for example because a segment of it is empty or `..`.
    pub fn parse(key: &str, value: &str) -> Result<Option<Self>> {
        let Some((scheme, rest)) = value.split_once("://") else {
            return Ok(None);
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            return Ok(None);
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(path.trim_end_matches('/')).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("{key}: '{value}' is not a place for objects"),
            )
            .with_source(error)
        })?;
        Ok(Some(Self {
            scheme,
            authority: authority.to_owned(),
            prefix,
        }))
    }

    /// The store that the folder is in.
    #[must_use]
    pub fn open(&self) -> Arc<dyn ObjectStore> {
        match self.scheme {
            Scheme::Memory => memory_store(&self.authority),
        }
    }

    /// The folder's path in its store.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Scheme and authority, which name the store.
    #[must_use]
    pub fn store_address(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority)
    }
}

impl fmt::Display for RemoteLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store_address(), self.prefix)
    }
}

/// The store of this process that `memory://<name>/` stands for: made at the first call, kept until the process ends.
#[must_use]
pub fn memory_store(name: &str) -> Arc<InMemory> {
    static STORES: LazyLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stores.entry(name.to_owned()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[test]
    fn addresses_are_taken_apart() {
        let parse = |value| RemoteLocation::parse("execution.checkpointing.dir", value);
        for (value, store, prefix) in [
            ("memory:///a/b", "memory://", "a/b"),
            ("memory:///a/b/", "memory://", "a/b"),
            ("memory://name/a", "memory://name", "a"),
            ("memory://name", "memory://name", ""),
        ] {
            let found = parse(value).unwrap().unwrap();
            assert_eq!(
                (found.store_address().as_str(), found.prefix().as_ref()),
                (store, prefix)
            );
        }
        for local in ["/a/b", "file:///a/b", "s3://bucket/a", "memory:a", ""] {
            assert_eq!(parse(local).unwrap(), None, "{local}");
        }
        let error = parse("memory:///a//b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error.to_string().starts_with("execution.checkpointing.dir: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn one_name_is_one_store() {
        let path = Path::from("x");
        memory_store("scheme-one").put(&path, "y".into()).await.unwrap();
        assert!(memory_store("scheme-one").head(&path).await.is_ok());
        assert!(memory_store("scheme-two").head(&path).await.is_err());
    }
}
