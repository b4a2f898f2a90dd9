//! Says which databases' tests are missing, because they weren't built.

#[cfg(not(feature = "mysql"))]
#[test]
#[ignore = "built without the feature \"mysql\": tests/db_mysql.rs needs it, and MariaDB"]
fn mysql() {}

#[cfg(not(feature = "postgres"))]
#[test]
#[ignore = "built without the feature \"postgres\": tests/db_postgres.rs needs it, and PostgreSQL"]
fn postgres() {}
