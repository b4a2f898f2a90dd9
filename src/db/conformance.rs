//! The executable contract of [`DBDrv`]: what its comments say, as a suite that
//! runs against any implementation.
//!
//! In a test of the crate that has the database, one line makes one `#[test]` of
//! each case. It takes a function that opens a fresh, empty store, which is
//! called anew for every case; what must live as long as the store, such as a
//! temporary directory, is returned beside it.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # mod runs { // In tests/my_database.rs:
//! notify_api::dbdrv_conformance!(|| {
//!     let directory = tempfile::tempdir().unwrap();
//!     let db = notify_api::db::sqlite::Sqlite::open(directory.path().join("notify.db")).unwrap();
//!     (db, directory)
//! });
//! # }
//! ```
//!
//! Without the macro, [`CASES`] lists what there is:
//!
//! ```
//! use notify_api::db::conformance::{self, Store};
//!
//! # #[cfg(feature = "sqlite")] {
//! # fn open() -> impl Into<Store> {
//! #     let directory = tempfile::tempdir().unwrap();
//! #     let db = notify_api::db::sqlite::Sqlite::open(directory.path().join("notify.db")).unwrap();
//! #     (db, directory)
//! # }
//! for case in conformance::CASES {
//!     println!("{}", case.name);
//!     conformance::check(case.name, open());
//! }
//! # }
//! ```
//!
//! Cases about lanes, epochs and holds pass at once if
//! [`has_lanes`](DBDrv::has_lanes) says no, those about leases if
//! [`is_shared`](DBDrv::is_shared) does, those about methods that are
//! [unsupported](super::DbError::Unsupported) as well. A case fails by a panic that says
//! what was wrong. What no suite can show from inside one process, that a write
//! is durable when its method returns, is left to the implementation's own tests.

use std::{any::Any, fmt};

use super::DBDrv;

mod claim;
mod clear;
mod create;
mod delete;
mod lanes;
mod lease;
mod listing;
mod moving;
mod outcome;
mod pending;
mod resend;
mod sample;
mod update;
mod write;

/// A fresh store for one case, and what has to live as long.
pub struct Store {
    db: Box<dyn DBDrv>,
    // Dropped after the database.
    _guard: Box<dyn Any>,
}

impl<D: DBDrv> From<D> for Store {
    /// A store that needs nothing to live beside it.
    fn from(db: D) -> Self {
        Self { db: Box::new(db), _guard: Box::new(()) }
    }
}

impl<D: DBDrv, G: 'static> From<(D, G)> for Store {
    /// A store and a guard that is dropped after it.
    fn from((db, guard): (D, G)) -> Self {
        Self { db: Box::new(db), _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// One sentence of the contract.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// The method and what it does.
    pub name: &'static str,
    /// Tries it with an empty store, and panics if it isn't so.
    pub run: fn(&dyn DBDrv),
}

/// Runs the case of that name with a fresh store.
///
/// # Panics
/// There is no such case, or it fails.
pub fn check(name: &str, store: impl Into<Store>) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name:?}"));
    let store = store.into();
    (case.run)(store.db.as_ref());
    store.db.close();
}

/// Makes one `#[test]` of each case of the [suite](crate::db::conformance). The
/// argument is a function without parameters that opens a fresh, empty store:
/// it returns a [`DBDrv`], or a pair of one and a guard that is dropped after it.
/// With `, ignore = "why"` behind it the tests are run only when asked for, if they
/// need a server that isn't everywhere.
///
/// The tests are put where the macro stands; for a second database, into a module of its own.
///
/// [`DBDrv`]: crate::DBDrv
#[macro_export]
macro_rules! dbdrv_conformance {
    ($open:expr $(, ignore = $why:literal)?) => {
        fn conformance_store() -> $crate::db::conformance::Store {
            ($open)().into()
        }

        $crate::dbdrv_conformance_cases!($crate::dbdrv_conformance_tests $(, #[ignore = $why])?);
    };
}

/// One test each; not for use by itself.
#[doc(hidden)]
#[macro_export]
macro_rules! dbdrv_conformance_tests {
    ([$($attribute:tt)*] $($module:ident: $($case:ident)*;)*) => {
        $crate::dbdrv_conformance_tests!(@each [$($attribute)*] $($($case)*)*);
    };
    (@each $attributes:tt $($case:ident)*) => {
        $($crate::dbdrv_conformance_tests!(@one $attributes $case);)*
    };
    (@one [$($attribute:tt)*] $case:ident) => {
        #[test]
        $($attribute)*
        fn $case() {
            $crate::db::conformance::check(stringify!($case), conformance_store());
        }
    };
}

/// The one list of all cases; hands it to the macro it is given.
#[doc(hidden)]
#[macro_export]
macro_rules! dbdrv_conformance_cases {
    ($($to:ident)::+ $(, $($attribute:tt)*)?) => {
        $($to)::+! {
            [$($($attribute)*)?]
            create:
                create_stores_every_field
                create_makes_it_pending
                create_refuses_a_taken_id
                create_keeps_ids_apart_that_look_alike
                create_takes_the_longest_id
                create_takes_the_longest_type_and_endpoint
                create_keeps_content_byte_for_byte
                create_takes_a_large_content
                create_keeps_the_largest_numbers
                create_takes_the_id_of_a_deleted_one
                create_by_eight_threads_succeeds_once
                create_by_eight_threads_loses_none
                reads_of_an_unknown_id_are_not_found
                ping_answers
                newest_is_the_newest
                close_is_harmless_twice;
            resend:
                resend_unknown_id_is_not_found
                resend_leaves_one_attempt
                resend_gives_an_attempt_whatever_the_state
                resend_keeps_what_is_known
                resend_can_be_repeated
                resend_is_once_though_the_limit_is_lowered
                resend_takes_the_largest_limit
                resend_touches_no_other;
            update:
                update_stores_what_it_is_given
                update_unknown_id_is_no_error
                update_tells_an_empty_response_from_none
                update_keeps_a_response_byte_for_byte
                update_takes_a_large_response
                update_replaces_the_response
                update_takes_the_largest_number_of_tries
                update_can_be_repeated
                update_touches_no_other;
            pending:
                pending_of_nothing_is_none
                pending_finds_the_oldest_next_at
                pending_is_due_at_its_second
                pending_passes_over_what_is_finished
                pending_passes_over_used_up_attempts
                pending_finds_one_that_is_once
                pending_passes_over_other_types
                pending_passes_over_what_is_being_sent
                pending_compares_sending_byte_by_byte
                pending_finds_the_last_of_many;
            delete:
                delete_removes_it
                delete_unknown_id_is_no_error
                delete_refuses_what_is_being_sent
                delete_touches_no_other;
            clear:
                clear_of_nothing_is_no_error
                clear_removes_what_is_finished
                clear_goes_strictly_before
                clear_keeps_what_is_being_sent
                force_clear_removes_every_state
                force_clear_goes_strictly_before
                force_clear_keeps_what_is_being_sent
                force_clear_removes_many
                clear_slice_comes_to_an_end
                clear_slice_passes_pending_ones
                clear_slice_keeps_what_is_being_sent
                clear_slice_stays_short
                clear_slice_lets_new_ones_in
                clear_slice_takes_a_single_state
                clear_slice_begins_where_it_is_told
                clear_slice_tells_how_many;
            write:
                write_of_nothing_answers_nothing
                write_answers_in_order
                write_takes_a_large_batch
                write_tells_a_repeat_from_other_content
                write_tells_repeats_inside_a_batch
                write_is_not_harmed_by_a_bad_neighbour
                write_sees_what_it_wrote
                write_delete_refuses_what_is_being_sent
                write_by_eight_threads_creates_once;
            outcome:
                outcome_is_stored
                outcome_of_an_unknown_id_is_done
                outcome_before_a_resend_is_superseded
                outcome_after_a_resend_ends_it
                outcome_of_an_older_epoch_in_one_batch
                outcome_keeps_a_response_if_told_so
                outcome_of_every_state_is_stored;
            claim:
                claim_of_nothing_is_empty
                claim_finds_the_due_ones_in_order
                claim_tells_when_the_next_is_due
                claim_takes_no_more_than_the_limit
                claim_takes_one_however_large
                claim_stops_beyond_the_bytes
                claim_passes_over_what_is_skipped
                claim_passes_over_other_types
                claim_returns_every_field
                claim_finds_one_that_is_once;
            lanes:
                claim_keeps_to_its_lane
                claim_finds_used_up_attempts
                claim_tells_lane_and_epoch
                heads_are_the_lanes_with_pending_ones
                heads_are_never_later_than_the_truth
                heads_of_a_thousand_lanes
                resend_tells_the_lane
                unassigned_are_those_without_a_lane
                unassigned_keeps_to_its_limit
                assign_gives_a_lane
                hold_moves_pending_ones
                hold_leaves_finished_ones
                hold_leaves_a_resent_one
                release_undoes_a_hold
                release_keeps_to_lane_and_time
                release_goes_in_steps
                hasten_moves_attempted_ones
                count_pending_stops_at_its_limit;
            listing:
                list_of_nothing_is_empty
                list_is_newest_first
                list_tells_what_is_known
                list_keeps_to_what_is_asked_for
                list_keeps_ids_apart_that_look_alike
                list_pages_meet_each_row_once
                list_pages_mind_no_changes
                list_finds_the_old_among_many
                figures_tell_what_is_pending;
            moving:
                export_meets_each_row_once
                export_tells_all_that_is_known
                import_stores_rows_as_they_are
                import_can_be_repeated
                import_refuses_other_content;
            lease:
                lease_keeps_from_a_second_claim
                lease_is_another_for_each_claim
                lease_given_back_can_be_claimed
                lease_of_another_is_not_given_back
                lease_can_be_renewed
                lease_keeps_from_delete
                lease_keeps_from_clearing
                lease_ends_with_its_outcome
                lease_lost_refuses_the_outcome
                lease_survives_a_resend
                lease_is_no_due_head
                lease_by_eight_threads_is_one;
        }
    };
}

macro_rules! list {
    ([] $($module:ident: $($case:ident)*;)*) => {
        /// All cases.
        pub const CASES: &[Case] = &[$($(Case { name: stringify!($case), run: $module::$case },)*)*];
    };
}

dbdrv_conformance_cases!(list);
