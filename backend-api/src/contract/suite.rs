//! The suite as a backend runs it.

use super::opened::{Opened, Shape};
use super::random::Random;
use super::storage::Storage;
use super::{SCENARIOS, Scenario};
use crate::abi::{BackendObject, FactoryObject};
use crate::backend::Capabilities;
use crate::error::BackendResult;
use crate::export::panic_text;
use crate::snapshot::{OpenKeyed, SnapshotHandle};
use abi_stable::std_types::{RString, RVec, Tuple2};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that holds the seed of a run that is to be repeated.
const SEED_VARIABLE: &str = "MILLPOND_SEED";

/// The contract suite for one backend.
pub struct Suite {
    make_factory: Box<dyn Fn() -> FactoryObject>,
    config: Vec<(String, String)>,
    scratch: PathBuf,
    scratch_is_ours: bool,
    folders: AtomicU64,
    seed: u64,
    files_on_disk: bool,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite")
            .field("config", &self.config)
            .field("scratch", &self.scratch)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        if self.scratch_is_ours {
            // Another process may have cleaned up already.
            let _ = std::fs::remove_dir_all(&self.scratch);
        }
    }
}

impl Suite {
    /// A suite for the backend that `make_factory` makes, by [`factory_object`](crate::export::factory_object) or from a library.
    /// `config` is what the factory is given, in every scenario.
    pub fn new(make_factory: impl Fn() -> FactoryObject + 'static, config: &[(&str, &str)]) -> Self {
        let seed = std::env::var(SEED_VARIABLE).ok().map_or_else(any_seed, |text| {
            text.parse()
                .unwrap_or_else(|error| panic!("{SEED_VARIABLE}={text} is no number: {error}"))
        });
        let name = format!("millpond-contract-{}-{:016x}", std::process::id(), any_seed());
        Self {
            make_factory: Box::new(make_factory),
            config: config
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            scratch: std::env::temp_dir().join(name),
            scratch_is_ours: true,
            folders: AtomicU64::new(0),
            seed,
            files_on_disk: false,
        }
    }

    /// The same suite with its working files in `folder`, which is made if needed and stays.
    #[must_use]
    pub fn with_scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = folder.into();
        self.scratch_is_ours = false;
        self
    }

    /// The same suite with a seed of its own, whatever the environment says.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same suite with snapshots in files that have a [local path](crate::RestoreFiles::local_path). For backends that map or link
    /// them; to be run beside the plain suite, where files have none.
    #[must_use]
    pub fn with_files_on_disk(mut self) -> Self {
        self.files_on_disk = true;
        self
    }

    /// The names of all scenarios, `theme::what_is_required`.
    pub fn scenarios() -> impl Iterator<Item = &'static str> {
        SCENARIOS.iter().map(|scenario| scenario.name)
    }

    /// Runs the scenario called `name`.
    ///
    /// # Panics
    /// When the backend fails it, or there is none of this name.
    pub fn run(&self, name: &str) {
        let scenario = SCENARIOS
            .iter()
            .find(|scenario| scenario.name == name)
            .unwrap_or_else(|| panic!("there is no scenario called {name}"));
        if let Err(failure) = self.attempt(scenario) {
            panic!("{failure}");
        }
    }

    /// Runs every scenario.
    ///
    /// # Errors
    /// What failed, a line each: name, reason, seed.
    pub fn run_all(&self) -> Result<(), Vec<String>> {
        let failures: Vec<String> = SCENARIOS
            .iter()
            .filter_map(|scenario| self.attempt(scenario).err())
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures)
        }
    }

    fn attempt(&self, scenario: &Scenario) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| (scenario.run)(self))).map_err(|payload| {
            format!(
                "{} ({SEED_VARIABLE}={}): {}",
                scenario.name,
                self.seed,
                panic_text(payload.as_ref())
            )
        })
    }

    /// The source of chance of a scenario; the same in every run with one seed.
    #[must_use]
    pub fn random(&self) -> Random {
        Random::new(self.seed)
    }

    /// A factory, made anew.
    #[must_use]
    pub fn factory(&self) -> FactoryObject {
        (self.make_factory)()
    }

    /// A backend with the suite's configuration.
    #[track_caller]
    pub fn backend(&self) -> BackendObject {
        let config: RVec<Tuple2<RString, RString>> = self
            .config
            .iter()
            .map(|(key, value)| Tuple2(RString::from(key.as_str()), RString::from(value.as_str())))
            .collect();
        match self.factory().create(config).into_result() {
            Ok(backend) => backend,
            Err(error) => panic!("the factory refused the suite's configuration: {error:?}"),
        }
    }

    /// What the backend can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.backend().capabilities()
    }

    /// An empty storage.
    #[must_use]
    pub fn storage(&self) -> Storage {
        if self.files_on_disk {
            self.storage_on_disk()
        } else {
            Storage::new(None)
        }
    }

    /// An empty storage whose files have a local path.
    #[must_use]
    pub fn storage_on_disk(&self) -> Storage {
        let folder = self.new_folder("storage");
        std::fs::create_dir_all(&folder).unwrap();
        Storage::new(Some(folder))
    }

    /// A path in the scratch folder at which there is nothing.
    pub(super) fn new_folder(&self, purpose: &str) -> PathBuf {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        self.scratch.join(format!("{purpose}-{number}"))
    }

    /// The keyed state of a new job that runs alone.
    #[track_caller]
    pub fn fresh(&self) -> Opened {
        self.restored(&self.storage(), Shape::ALONE, &[])
    }

    /// The keyed state of subtask `shape`, restored from those of `handles` that meet its key groups.
    #[track_caller]
    pub fn restored(&self, storage: &Storage, shape: Shape, handles: &[SnapshotHandle]) -> Opened {
        let folder = self.new_folder("local");
        storage.note_restored(handles);
        match self.try_restored(storage.files(), shape, handles, &folder) {
            Ok(opened) => opened,
            Err(error) => panic!("opening the keyed state failed: {error:?}"),
        }
    }

    /// The keyed state of subtask `shape`, restored, or why not. `local_dir` is the folder that the backend may use.
    ///
    /// # Errors
    /// The backend's.
    pub fn try_restored(
        &self,
        files: crate::RestoreFiles,
        shape: Shape,
        handles: &[SnapshotHandle],
        local_dir: &Path,
    ) -> BackendResult<Opened> {
        let range = shape.range();
        // What the engine makes sure of before it opens a keyed state.
        std::fs::create_dir_all(&self.scratch)?;
        let keyed = self
            .backend()
            .open_keyed(OpenKeyed {
                job: RString::from("contract"),
                operator: RString::from("operator"),
                subtask: shape.subtask,
                parallelism: shape.parallelism,
                max_parallelism: shape.max_parallelism,
                key_groups: range,
                local_dir: RString::from(local_dir.to_string_lossy().into_owned()),
                restore: handles
                    .iter()
                    .filter(|handle| handle.key_groups.intersection(&range).is_some())
                    .cloned()
                    .collect(),
                files,
            })
            .into_result()?;
        Ok(Opened::new(keyed, shape, local_dir.to_owned()))
    }
}

/// A seed that nobody chose.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
