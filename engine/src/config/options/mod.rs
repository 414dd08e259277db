//! The engine's options, a module a subject.
//!
//! Each is a constant of type [`ConfigOption`](super::ConfigOption); its documentation is also its row in `docs/OPTIONS.md`.
//! Keys, old keys, defaults and meanings are Flink's (2.1, and the releases since 0.9 for old keys) unless the text says
//! otherwise.

use super::option::AnyOption;

pub mod backend;
pub mod checkpointing;
pub mod cluster;
pub mod control;
pub mod execution;
pub mod high_availability;
pub mod metrics;
pub mod plugins;
pub mod recovery;
pub mod rest;
pub mod restart;
pub mod rocksdb;
pub mod storage;

/// The options of one subject.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) options: &'static [&'static dyn AnyOption],
}

/// All subjects, in the order of the table.
pub(super) const SECTIONS: &[Section] = &[
    backend::SECTION,
    plugins::SECTION,
    storage::SECTION,
    checkpointing::SECTION,
    recovery::SECTION,
    restart::SECTION,
    high_availability::SECTION,
    control::SECTION,
    cluster::SECTION,
    execution::SECTION,
    rest::SECTION,
    metrics::SECTION,
    rocksdb::SECTION,
];

/// Every option.
pub(super) fn all() -> impl Iterator<Item = &'static dyn AnyOption> {
    SECTIONS
        .iter()
        .flat_map(|section| section.options.iter().copied())
}

/// Declares the options of a module and lists them as its `SECTION`, so that none is left out of the checks and the table. The
/// documentation of an option serves as its description.
macro_rules! options {
    (
        $title:literal;
        $( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $key:literal $(.$method:ident($($argument:expr),+ $(,)?))* ; )+
    ) => {
        $(
            $(#[doc = $doc])+
            pub const $name: ConfigOption<$type> = ConfigOption::<$type>::new($key)
                $(.$method($($argument),+))*
                .with_description(concat!($($doc),+));
        )+

        pub(super) const SECTION: super::Section = super::Section {
            title: $title,
            options: &[$(&$name),+],
        };
    };
}
use options;
