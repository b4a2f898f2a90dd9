//! What only the inside can show: plans.

use super::{Dsn, MySql, Purpose, Server};
use crate::{
    db::{
        ConnectError,
        remote::{backend::Backend, plans},
    },
    notification::State,
};

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn lanes_are_read_by_their_index() -> Result<(), ConnectError> {
    let address = std::env::var("NOTIFY_TEST_MYSQL").unwrap_or_else(|_| "mysql://root@127.0.0.1:3306".into());
    let own = Dsn::parse(&format!("{address}/mysql")).map_err(ConnectError::Dsn)?;
    let mut server = Server::new(own).connect(Purpose::Use).unwrap();
    let name = format!("notify_test_{}", uuid::Uuid::now_v7().simple());
    Server::request(&mut server, &format!("create database {name}; use {name}")).unwrap();
    plans::fill(&MySql::connect(&format!("{address}/{name}"))?);
    let mut explain = |sql: &str| {
        let steps =
            Server::request(&mut server, &format!("analyze table items; explain {sql}")).unwrap().remove(1);
        let words = steps.into_iter().map(|mut step| (0..10).map(|column| step.text(column) + " ").collect());
        words.collect::<Vec<String>>().join("\n")
    };
    let (line, heads, lease) = (
        explain(&plans::line::<Server>()),
        explain(&plans::heads::<Server>()),
        explain(&plans::lease::<Server>()),
    );
    let pages = plans::newest_first::<Server>(None);
    let pages: Vec<String> = pages.iter().map(|sql| explain(sql)).collect();
    let few = [State::Pending, State::Failed].map(|state| explain(&plans::in_state::<Server>(state)));
    Server::request(&mut server, &format!("drop database {name}")).unwrap();
    assert!(line.contains("items_due") && !line.contains("filesort"), "{line}");
    assert!(heads.contains("Using index for group-by") && !heads.contains("filesort"), "{heads}");
    assert!(lease.contains("PRIMARY") && !lease.contains("items_due"), "{lease}");
    for page in &pages {
        assert!(page.contains("items_created") && !page.contains("filesort"), "{page}");
    }
    for few in &few {
        assert!(few.contains("items_due") && !few.contains("filesort"), "{few}");
    }
    Ok(())
}
