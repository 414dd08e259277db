//! Which file of a snapshot each file of a database is: RocksDB's errors know its own names only.

use millpond_backend_api::BackendError;

/// Where the files of a database came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

#[derive(Clone, Debug)]
struct Origin {
    /// What RocksDB calls the file.
    name: String,
    /// What the checkpoint storage calls it.
    token: String,
}

impl Origins {
    /// Notes that the file `name` is the file `token` of a snapshot.
    pub(crate) fn note(&mut self, name: &str, token: &str) {
        self.0.push(Origin {
            name: name.to_owned(),
            token: token.to_owned(),
        });
    }

    /// Takes over all that `other` knows.
    pub(crate) fn note_all(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Takes over what `other` knows of the file that is `old` there and `new` here.
    pub(crate) fn note_renamed(&mut self, other: &Self, old: &str, new: &str) {
        if let Some(origin) = other.0.iter().find(|origin| origin.name == old) {
            self.note(new, &origin.token);
        }
    }

    /// `error` with the snapshot file that it is about, if it names one that came from a snapshot.
    pub(crate) fn tell(&self, error: BackendError) -> BackendError {
        let text = error.message();
        let origin = self.0.iter().find(|origin| text.contains(origin.name.as_str()));
        match origin.map(|origin| format!("snapshot file {}", origin.token)) {
            Some(file) => error.context(file),
            None => error,
        }
    }
}
