//! Everything that is decided, and refused, before a job runs.

use super::{JobSpec, damage, folders};
use crate::backend::{Backend, BackendSettings, PluginLoader, StorageKind, budget};
use crate::checkpoint::ha::HaSettings;
use crate::checkpoint::restore::{self, OperatorPlan, RestorePlan};
use crate::checkpoint::storage::{
    CacheSettings, CachedStorage, CheckpointLocation, CheckpointPaths, CheckpointStorage, FileStorage,
    FileStorageOptions, JobManagerStorage, ObjectStorage, RemoteLocation, STATE_BYTES_MAX,
};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{CheckpointMetadata, CheckpointSettings, JobId};
use crate::cluster::ClusterSettings;
use crate::config::options::storage::SAVEPOINT_DIR;
use crate::config::options::{cluster, control, execution, recovery, rocksdb};
use crate::config::{ClaimMode, Configuration, OnDamage};
use crate::restart::RestartSettings;
use crate::runtime::plan::Plan;
use crate::runtime::plan::node::NodeKind;
use crate::state::ttl::TtlTimeProvider;
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::{MAX_PARALLELISM_LIMIT, default_max_parallelism};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// A job that is ready to run.
pub(crate) struct Prepared {
    pub(crate) job_name: String,
    pub(crate) plan: Plan,
    /// By node.
    pub(crate) parallelism: Vec<u32>,
    /// By node, with whether the program or the configuration asked for it.
    pub(crate) max_parallelism: Vec<(u32, bool)>,
    pub(crate) chaining: bool,
    pub(crate) backend: Arc<Backend>,
    pub(crate) storage: StorageSetup,
    /// Where savepoints go that are asked for without a place.
    pub(crate) savepoint_dir: Option<PathBuf>,
    /// Where requests from outside are looked for.
    pub(crate) control_dir: Option<PathBuf>,
    pub(crate) checkpoints: CheckpointSettings,
    pub(crate) restart: RestartSettings,
    pub(crate) ha: HaSettings,
    pub(crate) cluster: ClusterSettings,
    /// What the job was told to start from.
    pub(crate) initial: Option<CompletedCheckpoint>,
    /// Why that could not be read. A job that goes on from a checkpoint of its own does not need it.
    pub(crate) initial_error: Option<Error>,
    /// The job was told to own what it starts from.
    pub(crate) claims: bool,
    /// How often a damaged snapshot was passed over to find that one.
    pub(crate) went_back: u64,
    pub(crate) on_damage: OnDamage,
    pub(crate) ignore_unclaimed: bool,
    pub(crate) in_flight_target: Duration,
    /// The clock that state expires by.
    pub(crate) ttl_clock: Arc<dyn TtlTimeProvider>,
    pub(crate) tmp_dir: PathBuf,
    /// Other folders in which a backend may make working folders by the names of those in `tmp_dir`.
    pub(crate) database_dirs: Vec<PathBuf>,
}

/// How to make the checkpoint storage once the job's id is known.
#[derive(Clone, Debug)]
pub(crate) struct StorageSetup {
    kind: StorageKind,
    dir: Option<CheckpointLocation>,
    options: FileStorageOptions,
    cache: CacheSettings,
    /// The remote storage of the job that was last asked for: the coordinator and the attempts of a process share it.
    remote: Arc<Mutex<Option<(JobId, Arc<ObjectStorage>)>>>,
}

impl StorageSetup {
    /// Whether snapshots are files, which later checkpoints may name again.
    pub(crate) fn keeps_files(&self) -> bool {
        self.kind == StorageKind::FileSystem
    }

    /// The folder of the job `id`, where there are folders.
    pub(crate) fn job_folder(&self, id: &JobId) -> Option<PathBuf> {
        match &self.dir {
            Some(CheckpointLocation::Folder(dir)) if self.keeps_files() => {
                let paths = CheckpointPaths::new(dir, id, self.options.create_subdir);
                Some(paths.job().to_owned())
            }
            _ => None,
        }
    }

    /// The storage of the job `id`; `runtime` carries out the calls of a remote one.
    pub(crate) fn storage(&self, id: &JobId, runtime: &Handle) -> Result<Arc<dyn CheckpointStorage>> {
        match (self.kind, &self.dir) {
            (StorageKind::FileSystem, Some(CheckpointLocation::Folder(dir))) => {
                Ok(Arc::new(FileStorage::new(dir.clone(), id, self.options.clone())?))
            }
            (StorageKind::FileSystem, Some(CheckpointLocation::Remote(location))) => {
                let remote = self.remote(location, id, runtime)?;
                Ok(Arc::new(CachedStorage::new(
                    remote,
                    &self.cache,
                    self.options.inline_threshold,
                )?))
            }
            (StorageKind::FileSystem, None) => Err(Error::new(
                ErrorKind::Configuration,
                "execution.checkpointing.storage is 'filesystem', but execution.checkpointing.dir is not set",
            )),
            (_, Some(CheckpointLocation::Remote(location))) => Err(refuse(format!(
                "execution.checkpointing.storage is 'jobmanager', which keeps no objects: execution.checkpointing.dir '{location}' \
                 must be a path, or the storage 'filesystem'"
            ))),
            (_, dir) => {
                let storage = JobManagerStorage::new(STATE_BYTES_MAX, self.options.ack_bytes_max);
                Ok(Arc::new(match dir {
                    Some(CheckpointLocation::Folder(dir)) => storage.with_metadata_files(
                        dir.clone(),
                        CheckpointPaths::new(dir, id, self.options.create_subdir),
                    ),
                    _ => storage,
                }))
            }
        }
    }
}

impl StorageSetup {
    fn remote(&self, location: &RemoteLocation, id: &JobId, runtime: &Handle) -> Result<Arc<ObjectStorage>> {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((job, storage)) = remote.as_ref()
            && job == id
        {
            return Ok(Arc::clone(storage));
        }
        let made = ObjectStorage::new(location, id, self.options.clone(), runtime.clone())?;
        let (_, storage) = remote.insert((id.clone(), Arc::new(made)));
        Ok(Arc::clone(storage))
    }
}

/// Checks the settings and the plan, and whether the job fits what it is told to start from.
pub(crate) fn prepare(spec: JobSpec) -> Result<Prepared> {
    let prepared = prepare_plan(spec)?;
    if let Some(initial) = &prepared.initial {
        prepared.restore_plan(&initial.metadata)?;
    }
    Ok(prepared)
}

/// Checks the settings and the plan.
pub(crate) fn prepare_plan(spec: JobSpec) -> Result<Prepared> {
    let JobSpec {
        job_name,
        plan,
        config,
        registry,
        ttl_clock,
    } = spec;
    config.validate()?;
    if plan.nodes.is_empty() {
        return Err(refuse(format!(
            "job '{job_name}' has no source: there is nothing to execute"
        )));
    }
    let checkpoints = config.checkpoint_settings()?;
    let choice =
        BackendSettings::from_config(&config)?.choose(&registry, &PluginLoader::from_config(&config)?)?;
    for warning in &choice.warnings {
        tracing::warn!("{warning}");
    }
    let backend = Arc::new(choice.create_backend(&config.effective(false))?);
    tracing::info!("job '{job_name}': {}", choice.why);
    let storage = StorageSetup {
        kind: choice.storage,
        dir: config.checkpoint_location()?,
        cache: config.cache_settings()?,
        remote: Arc::default(),
        options: FileStorageOptions::from(&checkpoints),
    };
    check_uids(&plan, config.get(&execution::AUTO_GENERATE_UIDS)?)?;
    let (parallelism, max_parallelism) = parallelisms(&plan, &config)?;
    if choice.factory.has_short_name("rocksdb") {
        let widest = parallelism.iter().copied().max().unwrap_or(1);
        if let Some(warning) = budget::warning(&config, widest)? {
            tracing::warn!("{warning}");
        }
    }
    let cluster = cluster_settings(&config, &parallelism)?;
    let on_damage = config.get(&recovery::ON_DAMAGE)?;
    let ha = config.ha_settings()?;
    let (mut initial, mut went_back, mut initial_error) = (None, 0, None);
    if let Some(path) = config.location(&recovery::PATH)? {
        match damage::load_initial(&path, on_damage) {
            Ok(found) => (initial, went_back) = (Some(found.0), found.1),
            Err(error) if ha == HaSettings::None => return Err(error),
            // Started again with the same arguments: what it was started from then may be gone by now, or was claimed and is not needed.
            Err(error) => initial_error = Some(error),
        }
    }
    let prepared = Prepared {
        chaining: config.get(&execution::OPERATOR_CHAINING)?,
        savepoint_dir: config.location(&SAVEPOINT_DIR)?,
        control_dir: config.location(&control::DIR)?,
        restart: config.restart_settings()?,
        ha,
        claims: config.get(&recovery::CLAIM_MODE)? == ClaimMode::Claim,
        ignore_unclaimed: config.get(&recovery::IGNORE_UNCLAIMED_STATE)?,
        in_flight_target: config.get(&execution::IN_FLIGHT_TARGET)?,
        tmp_dir: config
            .get_optional(&execution::TMP_DIRS)?
            .and_then(|dirs| dirs.into_iter().next())
            .map_or_else(std::env::temp_dir, PathBuf::from),
        database_dirs: folders::of_databases(&config.get_optional(&rocksdb::LOCAL_DIR)?.unwrap_or_default()),
        ttl_clock,
        job_name,
        plan,
        parallelism,
        max_parallelism,
        backend,
        storage,
        checkpoints,
        cluster,
        initial,
        initial_error,
        went_back,
        on_damage,
    };
    if prepared.ha != HaSettings::None && prepared.checkpoints.interval.is_none() {
        tracing::warn!(
            "high availability is on, but execution.checkpointing.interval is not set: without checkpoints a killed program starts over"
        );
    }
    Ok(prepared)
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

fn check_uids(plan: &Plan, may_generate: bool) -> Result<()> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        if !may_generate && node.has_state && node.uid.is_none() {
            return Err(refuse(format!(
                "operator '{}' has state but no uid, and pipeline.auto-generate-uids is false: call .uid(\"..\") on it",
                node.name
            )));
        }
        if let Some(other) = seen.insert(plan.uid(index), &node.name) {
            return Err(refuse(format!(
                "operators '{other}' and '{}' have the same uid '{}': uids must be unique within a job",
                node.name,
                plan.uid(index)
            )));
        }
    }
    Ok(())
}

type Parallelisms = (Vec<u32>, Vec<(u32, bool)>);

fn parallelisms(plan: &Plan, config: &Configuration) -> Result<Parallelisms> {
    let default = u32::try_from(config.get(&execution::PARALLELISM)?).unwrap_or(u32::MAX);
    let configured_max = u32::try_from(config.get(&execution::MAX_PARALLELISM)?).ok();
    let (mut all, mut all_max) = (Vec::new(), Vec::new());
    for node in &plan.nodes {
        let parallelism = node.parallelism.unwrap_or(default);
        let asked = node.max_parallelism.or(configured_max);
        let max = asked.unwrap_or_else(|| default_max_parallelism(parallelism));
        if parallelism == 0 || max > MAX_PARALLELISM_LIMIT || parallelism > max {
            return Err(refuse(format!(
                "operator '{}' has parallelism {parallelism} and max parallelism {max}: expected 1 <= parallelism <= max \
                 parallelism <= {MAX_PARALLELISM_LIMIT} (parallelism.default, pipeline.max-parallelism, set_parallelism, \
                 set_max_parallelism)",
                node.name
            )));
        }
        all.push(parallelism);
        all_max.push((max, asked.is_some()));
    }
    Ok((all, all_max))
}

/// One process has a worker for each subtask; a cluster has the slots that it was given.
fn cluster_settings(config: &Configuration, parallelism: &[u32]) -> Result<ClusterSettings> {
    let mut settings = config.cluster_settings()?;
    let needed = parallelism.iter().copied().max().unwrap_or(1) as usize;
    if settings.processes() == 1 {
        settings.slots = needed;
        return Ok(settings);
    }
    let slots = settings.slots * settings.processes();
    if needed > slots {
        return Err(refuse(format!(
            "the job needs {needed} slots, but {} processes of {} slots have only {slots}: raise {} or lower the parallelism",
            settings.processes(),
            settings.slots,
            cluster::TASK_SLOTS.key()
        )));
    }
    Ok(settings)
}

impl Prepared {
    /// The operators with state, as a restore has to know them.
    pub(crate) fn operator_plans(&self) -> Vec<OperatorPlan> {
        let plan = |(index, node): (usize, &crate::runtime::plan::Node)| {
            let (max_parallelism, is_set) = self.max_parallelism.get(index).copied().unwrap_or((1, false));
            OperatorPlan {
                id: crate::checkpoint::OperatorId::new(self.plan.uid(index)),
                name: node.name.clone(),
                parallelism: self.parallelism.get(index).copied().unwrap_or(1),
                max_parallelism,
                max_parallelism_is_set: is_set,
                sources: self.plan.sources_of(index),
            }
        };
        self.plan
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.has_state)
            .map(plan)
            .collect()
    }

    /// What each subtask gets of a checkpoint.
    pub(crate) fn restore_plan(&self, metadata: &CheckpointMetadata) -> Result<RestorePlan> {
        restore::assign(metadata, &self.operator_plans(), self.ignore_unclaimed)
    }

    /// The uids of all sources.
    pub(crate) fn source_uids(&self) -> impl Iterator<Item = String> {
        let nodes = self.plan.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| matches!(node.kind, NodeKind::Source(..)))
            .map(|(index, _)| self.plan.uid(index))
    }

    /// The encoded splits of every source, of a fresh start.
    pub(crate) fn splits(&self) -> Result<Vec<(String, Vec<Vec<u8>>)>> {
        let mut splits = Vec::new();
        for (index, node) in self.plan.nodes.iter().enumerate() {
            if let NodeKind::Source(source, _) = &node.kind {
                let parallelism = self.parallelism.get(index).copied().unwrap_or(1);
                let of_source = source.splits(parallelism).map_err(|error| {
                    // The job does not start, whatever the source calls it.
                    refuse(format!("source '{}' cannot list its input: {error}", node.name))
                })?;
                splits.push((self.plan.uid(index), of_source));
            }
        }
        Ok(splits)
    }

    /// Asks every sink whether a start from nothing would do harm.
    pub(crate) fn check_fresh_start(&self) -> Result<()> {
        for node in &self.plan.nodes {
            if let NodeKind::Operator(operator) = &node.kind {
                operator.check_fresh_start()?;
            }
        }
        Ok(())
    }

    /// A number that differs between programs whose dataflows do not fit together.
    pub(crate) fn fingerprint(&self) -> u64 {
        use std::fmt::Write;
        let mut text = String::new();
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let inputs: Vec<_> = node.inputs.iter().map(|edge| edge.from).collect();
            let parallelism = self.parallelism.get(index);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{index} {} {inputs:?} {parallelism:?};",
                self.plan.uid(index)
            );
        }
        millpond_backend_api::key_hash(text.as_bytes())
    }
}
