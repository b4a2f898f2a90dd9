//! Several real servers on one database, what becomes of them when it fails, and moving
//! from one database to another.
//!
//! It takes both servers: `NOTIFY_TEST_MYSQL` and `NOTIFY_TEST_POSTGRES` are their addresses,
//! with users who may make databases.
#![cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]

mod support {
    pub(crate) mod harness;
}
#[allow(dead_code)] // Other tests need the rest of it.
#[path = "support/servers.rs"]
mod servers;

#[path = "remote/checking.rs"]
mod checking;
#[path = "remote/database.rs"]
mod database;
#[path = "remote/faults.rs"]
mod faults;
#[path = "remote/moving.rs"]
mod moving;
#[path = "remote/together.rs"]
mod together;

use database::{Database, Kind};

/// Makes a test of each function, for each kind of server.
macro_rules! for_both {
    ($module:ident: $($name:ident),+ $(,)?) => {
        mod on_mysql {
            $(
                #[test]
                #[ignore = "needs MariaDB and PostgreSQL; run with --include-ignored"]
                fn $name() {
                    super::$module::$name(super::Kind::MySql);
                }
            )+
        }
        mod on_postgres {
            $(
                #[test]
                #[ignore = "needs MariaDB and PostgreSQL; run with --include-ignored"]
                fn $name() {
                    super::$module::$name(super::Kind::Postgres);
                }
            )+
        }
    };
}

mod several {
    use super::{Kind, together};

    for_both!(together:
        four_nodes_deliver_each_once,
        what_a_killed_node_held_is_delivered_by_another,
        a_late_result_is_refused,
        what_was_next_in_line_is_looked_at_again_after_a_standstill,
        what_one_node_sends_no_other_deletes,
        what_one_node_cannot_take_another_does,
        a_resend_anywhere_is_one_more_attempt,
    );
}

mod troubles {
    use super::{Kind, faults};

    for_both!(faults:
        cut_connections_lose_nothing,
        a_read_only_server_is_waited_for,
        leases_that_could_not_be_returned_are_returned_later,
        a_locked_table_is_answered_in_time,
        a_wrong_login_is_one_line,
    );
}

mod unchanged {
    use super::{Kind, checking};

    for_both!(checking: a_check_changes_nothing, a_wrong_login_is_told);
}

mod between {
    use super::{Kind, moving};

    for_both!(moving: all_rows_are_moved_there_and_back, an_original_becomes_one_file);
}
