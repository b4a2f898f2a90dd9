//! What only the inside can show: plans.

use super::{Postgres, Purpose, Server};
use crate::{
    db::{
        ConnectError,
        remote::{backend::Backend, plans},
    },
    notification::State,
};

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn lanes_are_read_by_their_index() -> Result<(), ConnectError> {
    let address = std::env::var("NOTIFY_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into());
    let mut server = Server::new(&address)?.connect(Purpose::Use).unwrap();
    let name = format!("notify_test_{}", uuid::Uuid::now_v7().simple());
    Server::request(&mut server, &format!("create schema {name}; set search_path = {name}")).unwrap();
    plans::fill(&Postgres::connect(&format!("{address}?options=-csearch_path%3D{name}"))?);
    let mut explain = |sql: &str| {
        let steps = Server::request(&mut server, &format!("explain {sql}")).unwrap().remove(0);
        steps.into_iter().map(|mut step| step.text(0) + "\n").collect::<String>()
    };
    let (line, heads, lease) = (
        explain(&plans::line::<Server>()),
        explain(&plans::heads::<Server>()),
        explain(&plans::lease::<Server>()),
    );
    let mut explain_all = |sql: Vec<String>| sql.iter().map(|sql| explain(sql)).collect::<Vec<_>>();
    let pages = explain_all(plans::newest_first::<Server>(None));
    let failed = explain_all(plans::newest_first::<Server>(Some(State::Failed)));
    let pending = explain_all(vec![plans::in_state::<Server>(State::Pending)]);
    Server::request(&mut server, &format!("drop schema {name} cascade")).unwrap();
    assert!(line.contains("Index Scan using items_due"), "{line}");
    assert!(heads.contains("items_due") && !heads.contains("Seq Scan on items"), "{heads}");
    assert!(lease.contains("Index Scan using items_pkey") && !lease.contains("items_due"), "{lease}");
    for (plans, index) in [(&pages, "items_created"), (&failed, "items_failed"), (&pending, "items_due")] {
        for plan in plans {
            assert!(plan.contains("Index") && plan.contains(index), "{plan}");
            assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
        }
    }
    assert!(![line, heads, lease].iter().any(|plan| plan.contains("Sort")));
    Ok(())
}
