//! The suite that every state backend passes, built-in or not.
//!
//! It drives a backend through the objects that cross the boundary, so a backend linked statically and one from a library go the same way,
//! and it plays the engine's part: storage with injected faults, restores into other key-group ranges, notifications in any order. What it requires
//! is what [`KeyedState`](crate::KeyedState), [`SnapshotWriter`](crate::SnapshotWriter) and their neighbours say; random operations are compared
//! with `BTreeMap`s.
//!
//! It covers what Flink requires of every keyed state backend (`StateBackendTestBase`) as far as a backend sees it: values, lists, maps, timer queues; several
//! states and namespaces; iteration and counting; empty and unregistered state; rescaling; asynchronous, parallel, failed and cancelled snapshots. Defaults, folding,
//! merging, and what is seen of state that has expired are the engine's, above this boundary; what a backend may drop of it is here.
//!
//! # How a backend runs it
//! With the feature `contract` in its dev-dependencies, in a test module of its own:
//!
//! ```ignore
//! millpond_backend_api::contract_tests!(factory_object(AcmeStateBackendFactory));
//! ```
//!
//! This makes a `#[test]` of each scenario. [`Suite`] runs them by hand, for instance for a factory out of a library. Where chance is involved,
//! a failure names the seed, and `MILLPOND_SEED=<seed>` repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "this is test code that others link: a scenario fails by a panic"
)]

pub mod canonical;
mod cells;
mod faults;
mod model;
mod opened;
mod random;
mod scenarios;
mod slots;
mod storage;
mod suite;
#[cfg(test)]
mod tests;

pub use cells::{Address, GROUPS, Keys};
pub use faults::{Faults, Gate};
pub use model::{Model, ModelState};
pub use opened::{Opened, PendingSnapshot, Shape, Written};
pub use random::Random;
pub use storage::Storage;
pub use suite::Suite;

/// A scenario with its name.
struct Scenario {
    name: &'static str,
    run: fn(&Suite),
}

static SCENARIOS: &[Scenario] = crate::contract_scenarios!(table);

/// Makes a `#[test]` of each scenario of the [`contract`](crate::contract) suite.
///
/// Takes an expression that makes a [`FactoryObject`](crate::abi::FactoryObject), evaluated anew whenever a factory is needed; then,
/// if wanted, the configuration: `config = [("key", "value")]`. Or an expression that makes a whole [`Suite`](crate::contract::Suite):
/// `suite = ...`. To be used once a module.
#[macro_export]
macro_rules! contract_tests {
    (suite = $suite:expr $(,)?) => {
        fn millpond_contract_suite() -> $crate::contract::Suite {
            $suite
        }
        $crate::contract_scenarios!(tests);
    };
    ($factory:expr, config = [$($config:expr),* $(,)?] $(,)?) => {
        $crate::contract_tests!(suite = $crate::contract::Suite::new(|| $factory, &[$($config),*]));
    };
    ($factory:expr $(,)?) => {
        $crate::contract_tests!(suite = $crate::contract::Suite::new(|| $factory, &[]));
    };
}

/// The one list of scenarios, as a table or as tests.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_scenarios {
    (@table $($theme:ident { $($name:ident)* })*) => {
        &[$($($crate::contract::Scenario {
            name: concat!(stringify!($theme), "::", stringify!($name)),
            run: $crate::contract::scenarios::$theme::$name,
        },)*)*]
    };
    (@tests $($theme:ident { $($name:ident)* })*) => {
        $(mod $theme {
            $(#[test]
            fn $name() {
                super::millpond_contract_suite()
                    .run(concat!(stringify!($theme), "::", stringify!($name)));
            })*
        })*
    };
    ($form:ident) => {
        $crate::contract_scenarios! { @$form
            values {
                a_value_is_what_was_put_last_and_belongs_to_its_key
                two_generations_of_snapshots_restore_to_their_own_values
                a_deleted_value_is_absent_also_after_a_restore
                several_states_of_one_key_do_not_mix
                keys_namespaces_and_map_keys_of_any_bytes_do_not_mix
                keys_with_equal_hashes_do_not_mix
                the_number_of_cells_follows_puts_deletes_and_restores
                values_of_no_bytes_and_of_a_megabyte_are_kept
                keys_of_no_bytes_and_of_a_hundred_kibibytes_are_kept
                a_hundred_thousand_keys_are_kept
            }
            lists {
                elements_are_concatenated_in_the_order_in_which_they_were_appended
                a_put_replaces_all_elements_of_a_list
                a_deleted_list_starts_anew
                a_list_that_grows_while_a_snapshot_is_pending_is_snapshotted_as_it_was
                appends_go_behind_what_was_restored_over_many_restores_and_ranges
                appends_go_behind_what_had_to_leave_memory
                appends_after_a_snapshot_that_came_to_nothing_are_there_once
            }
            maps {
                an_entry_is_what_was_put_last_under_its_map_key
                clearing_a_map_removes_its_entries_and_no_others
                a_limited_scan_gives_so_many_entries_of_the_map
                a_scan_appends_to_the_buffer_that_it_is_given
                a_visit_gives_every_cell_of_its_group_and_state_once
                cells_may_be_cleared_while_what_was_visited_is_gone_through
            }
            sorted_maps {
                a_scan_is_in_the_order_of_the_map_keys_bytes
                a_scan_keeps_to_its_range_and_limit
                each_key_group_has_a_sorted_map_of_its_own_under_the_empty_key
                many_timers_fire_from_the_front_in_order
                large_maps_keep_their_order_over_restores_and_ranges
                large_maps_keep_their_order_when_memory_runs_out
            }
            registration {
                ids_count_up_and_the_same_name_gives_the_same_id
                a_name_cannot_be_registered_with_another_kind_or_width
                a_restored_state_cannot_be_registered_with_another_kind_or_width
                states_tells_the_codec_registered_last_else_the_restored_one
                states_registered_while_a_snapshot_is_written_are_not_in_it_and_work
                a_subtask_is_open_twice_while_its_state_goes_from_one_to_the_other_at_another_width
            }
            snapshots {
                a_snapshot_of_nothing_is_legal_and_restores
                a_restored_state_that_nobody_registers_stays_for_two_snapshots
                a_snapshot_taken_right_after_a_restore_is_whole
                a_snapshot_that_must_stand_alone_restores_without_any_other_file
                the_synchronous_part_writes_nothing_and_a_dropped_writer_leaves_nothing
                notifications_may_come_in_any_order_late_twice_or_never
                figures_have_names_in_snake_case
                the_factory_has_names_that_can_be_found
                a_chain_of_restores_and_rescales_keeps_every_change
            }
            canonical {
                every_kind_of_state_is_restored_into_any_ranges
                what_any_backend_wrote_is_restored_into_any_ranges
                what_is_written_is_the_states_content_and_nothing_else
                what_lies_in_restored_files_is_written_too
                what_was_restored_is_in_every_later_snapshot
                the_moment_is_that_of_the_call_although_the_worker_goes_on
                native_snapshots_before_and_after_do_not_need_its_files
                it_may_complete_before_an_older_native_one_that_others_then_build_on
                handles_of_both_forms_restore_together
                one_that_fails_or_is_cancelled_leaves_nothing_and_the_state_goes_on
                a_cancelled_one_stops_soon
                damage_is_an_error_that_names_file_and_offset
                cells_that_come_twice_never_make_a_panic
            }
            rescaling {
                one_subtask_restores_into_the_same_range
                few_subtasks_restore_into_many
                many_subtasks_restore_into_few
                ranges_that_cut_across_each_other_restore
                groups_outside_the_range_are_left_out
                the_highest_number_of_key_groups_works
            }
            concurrency {
                what_is_written_after_the_synchronous_part_is_not_in_the_snapshot
                a_second_snapshot_completes_while_the_first_is_held
                several_snapshots_are_written_at_once_and_each_is_of_its_own_moment
                a_writer_outlives_its_keyed_state_or_fails_clean
                two_subtasks_of_one_backend_do_not_see_each_other
                a_table_that_grows_and_shrinks_under_pending_snapshots_is_snapshotted_as_it_was
            }
            slot_batches {
                duplicate_and_new_keys_of_a_batch_are_counted_once
                keys_absent_at_the_end_of_a_batch_are_freed
                a_snapshot_does_not_see_later_updates_through_slots
                slots_and_single_accesses_see_each_other
                other_states_may_be_used_while_a_batch_is_open
                batches_go_on_after_a_restore_into_any_range
                values_of_every_width_have_slots
                stable_slots_outlive_their_batch_until_the_next_snapshot
                slots_that_are_kept_are_good_while_their_generation_lasts
            }
            expiry {
                what_has_not_expired_stays_whatever_is_cleaned_up
                what_has_not_expired_stays_where_no_cleanup_is_asked_for
                nothing_is_dropped_before_the_time_was_told
                a_state_that_is_restored_and_not_registered_does_not_expire
                bytes_without_a_time_are_never_taken_for_expired
            }
            misuse {
                a_key_group_of_another_subtask_is_refused
                a_state_that_was_never_registered_is_refused
                an_operation_of_another_kind_is_refused_and_changes_nothing
                a_value_of_another_width_is_refused_and_changes_nothing
                slots_are_refused_where_there_are_none
            }
            faults {
                an_error_at_any_operation_leaves_the_state_usable_and_the_next_snapshot_whole
                a_cancelled_snapshot_leaves_nothing_and_the_state_goes_on
                a_cancelled_snapshot_stops_soon
                a_snapshot_that_is_too_large_names_its_state_and_the_state_goes_on
                a_read_that_fails_during_a_restore_is_an_error_and_a_retry_works
                a_missing_file_is_an_error
                a_handle_of_an_unknown_format_is_refused_by_name
            }
            damage {
                a_flipped_byte_anywhere_is_found
                a_file_cut_short_or_too_long_is_found
                bytes_with_a_right_checksum_but_made_up_never_make_a_panic
                a_payload_with_changed_bytes_never_makes_a_panic
            }
            random_walks {
                value_states_agree_with_the_model
                value_states_of_a_fixed_width_agree_with_the_model
                list_states_agree_with_the_model
                map_states_agree_with_the_model
                sorted_map_states_agree_with_the_model
            }
        }
    };
}
