use super::*;
use crate::backend::testing::ModelFactory;

fn registry() -> BackendRegistry {
    let mut registry = BackendRegistry::empty();
    registry.register(ModelFactory::MEMORY).unwrap();
    registry
}

fn file(value: &str) -> Option<Setting> {
    Some(Setting {
        value: value.to_owned(),
        place: "config.yaml:1".to_owned(),
        strength: Strength::File,
    })
}

fn program(value: &str) -> Option<Setting> {
    Some(Setting::program(value))
}

fn choose(backend: Option<Setting>, storage: Option<Setting>, dir: Option<Setting>) -> Result<BackendChoice> {
    BackendSettings {
        backend,
        storage,
        checkpoint_dir: dir,
    }
    .choose(&registry(), &PluginLoader::new(["no-such-folder"]))
}

const DIR: &str = "file:///chk";

#[test]
fn backend_and_storage_follow_flinks_rules() {
    use StorageKind::{FileSystem, JobManager};
    let flink = "org.apache.flink.runtime.state.memory.MemoryStateBackendFactory";
    for (backend, storage, dir, name, kind, warnings) in [
        // Nothing set, and only a folder.
        (None, None, None, "hashmap", JobManager, 0),
        (None, None, file(DIR), "hashmap", FileSystem, 0),
        // Names of today, in any case.
        (file("hashmap"), None, file(DIR), "hashmap", FileSystem, 0),
        (file("HashMap"), None, None, "HashMap", JobManager, 0),
        (file(" memory "), None, file(DIR), "memory", FileSystem, 0),
        (
            file("millpond::MemoryStateBackendFactory"),
            None,
            None,
            "millpond::MemoryStateBackendFactory",
            JobManager,
            0,
        ),
        // The old name that chose the storage too: the folder gets the metadata only.
        (file("jobmanager"), None, file(DIR), "jobmanager", JobManager, 0),
        (file("JobManager"), None, None, "JobManager", JobManager, 0),
        (file(flink), None, file(DIR), "jobmanager", JobManager, 1),
        // A storage by name.
        (None, file("jobmanager"), file(DIR), "hashmap", JobManager, 0),
        (
            file("hashmap"),
            file("FileSystem"),
            file(DIR),
            "hashmap",
            FileSystem,
            0,
        ),
        // The old name against a storage by name: the stronger place wins, and the old name among equals.
        (
            file("jobmanager"),
            file("filesystem"),
            file(DIR),
            "jobmanager",
            JobManager,
            1,
        ),
        (
            program("jobmanager"),
            file("filesystem"),
            file(DIR),
            "jobmanager",
            JobManager,
            1,
        ),
        (
            file("jobmanager"),
            program("filesystem"),
            file(DIR),
            "jobmanager",
            FileSystem,
            0,
        ),
        (
            file("jobmanager"),
            file("jobmanager"),
            None,
            "jobmanager",
            JobManager,
            0,
        ),
    ] {
        let case = format!("{backend:?} {storage:?} {dir:?}");
        let choice = choose(backend, storage, dir).unwrap();
        assert_eq!(
            choice.factory.name(),
            "millpond::MemoryStateBackendFactory",
            "{case}"
        );
        assert_eq!((choice.name.as_str(), choice.storage), (name, kind), "{case}");
        assert_eq!(choice.warnings.len(), warnings, "{case}: {:?}", choice.warnings);
        assert_eq!(choice.why.lines().count(), 1, "{case}");
    }
}

#[test]
fn the_log_line_says_what_was_chosen_and_why() {
    assert_eq!(
        choose(file("hashmap"), None, file(DIR)).unwrap().why,
        "state backend millpond::MemoryStateBackendFactory 1.2.3 (built in) because state.backend.type is 'hashmap', \
         config.yaml:1; checkpoint storage filesystem at file:///chk because execution.checkpointing.dir is set, config.yaml:1"
    );
    assert_eq!(
        choose(None, None, None).unwrap().why,
        "state backend millpond::MemoryStateBackendFactory 1.2.3 (built in) because state.backend.type is not set (default); \
         checkpoint storage jobmanager because neither execution.checkpointing.storage nor execution.checkpointing.dir is set"
    );
}

#[test]
fn what_cannot_be_had_is_refused_with_the_place_and_a_way_out() {
    for (backend, storage, dir, kind, texts) in [
        (
            file("rocksbd"),
            None,
            None,
            ErrorKind::Plugin,
            &["config.yaml:1", "'rocksbd'", "did you mean 'rocksdb'?"][..],
        ),
        (
            file("rocksdb"),
            None,
            None,
            ErrorKind::Plugin,
            &[
                "cargo feature 'rocksdb'",
                "cargo xtask plugins",
                "plugins.dir",
                "no-such-folder (no such folder)",
            ],
        ),
        (
            file("org.apache.flink.contrib.streaming.state.RocksDBStateBackendFactory"),
            None,
            None,
            ErrorKind::Plugin,
            &["RocksDBStateBackendFactory", "cargo feature 'rocksdb'"],
        ),
        (
            file("filesystem"),
            None,
            file(DIR),
            ErrorKind::Plugin,
            &["'filesystem'", "cargo feature 'fs'"],
        ),
        (
            file("acme::Redb"),
            None,
            None,
            ErrorKind::Plugin,
            &["'acme::Redb'", "hashmap"],
        ),
        (
            file("libredb.so"),
            None,
            None,
            ErrorKind::Plugin,
            &["'libredb.so'", "no-such-folder/libredb.so"],
        ),
        (
            file("some/libredb.so"),
            None,
            None,
            ErrorKind::Plugin,
            &["'some/libredb.so'", "there is no"],
        ),
        (
            file(""),
            None,
            None,
            ErrorKind::Configuration,
            &["config.yaml:1", "is empty"],
        ),
        (
            None,
            file("filesytem"),
            None,
            ErrorKind::Configuration,
            &["config.yaml:1", "'filesytem'", "did you mean 'filesystem'?"],
        ),
        (
            None,
            file("filesystem"),
            None,
            ErrorKind::Configuration,
            &["execution.checkpointing.dir is not set"],
        ),
    ] {
        let case = format!("{backend:?} {storage:?}");
        let error = choose(backend, storage, dir).expect_err(&case);
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{case}: {error}");
        for text in texts {
            assert!(error.to_string().contains(text), "{case}: {error}");
        }
    }
}

#[test]
fn a_factory_that_refuses_its_configuration_is_reported_under_the_configured_name() {
    let choice = choose(file("hashmap"), None, None).unwrap();
    let config = BTreeMap::from([("model.pages".to_owned(), "many".to_owned())]);
    let error = choice.create_backend(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .starts_with("config.yaml:1: state.backend.type: 'hashmap'"),
        "{error}"
    );
    assert!(error.to_string().contains("expected a number"), "{error}");
}

#[test]
fn a_registered_name_cannot_be_taken_again() {
    let mut registry = registry();
    for factory in [
        ModelFactory {
            name: "millpond::MemoryStateBackendFactory",
            short_names: &[],
            version: "1",
        },
        ModelFactory {
            name: "acme::Other",
            short_names: &["other", "HashMap"],
            version: "1",
        },
        ModelFactory {
            name: "",
            short_names: &[],
            version: "1",
        },
    ] {
        assert_eq!(
            registry.register(factory).unwrap_err().kind(),
            ErrorKind::Configuration
        );
    }
    registry
        .register(ModelFactory {
            name: "acme::Other",
            short_names: &["other"],
            version: "1",
        })
        .unwrap();
    assert_eq!(registry.find("OTHER").unwrap().name(), "acme::Other");
    assert_eq!(registry.find("ACME::other").map(BackendFactory::name), None);
}
