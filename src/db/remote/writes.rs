//! Batches of writes, each in one transaction and a few round trips.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    backend::{Backend, Failure, Kind, Rows, Values},
    plan::{self, Changes, Image, Inserted, Origin, Plan, Updated},
    pool::Session,
    sql::{Sql, literal},
};
use crate::{
    db::{DbError, Sending, Write, Written},
    notification::{Id, Item, Lane, Timestamp},
};

/// A statement isn't begun longer than this, nor more of them sent at once, in bytes:
/// below what any server takes by default.
const REQUEST_BYTES: usize = 512 << 10;

/// How many rows one [`Write::Release`] takes.
const RELEASED: usize = 500;

/// What became of each write; the error is that of a transaction.
type Answers = Vec<Result<Written, DbError>>;

/// Whether these writes may be done twice without harm.
pub(super) fn is_repeatable(batch: &[Write]) -> bool {
    !batch.iter().any(|write| matches!(write, Write::Outcome(_) | Write::Resend { .. }))
}

/// Writes a batch in one transaction.
pub(super) fn write<B: Backend>(
    session: &mut Session<B>,
    batch: &[Write],
    sending: &Sending,
) -> Result<Answers, Failure> {
    let Some(items) = new_ones(batch) else { return write_any(session, batch, sending) };
    let rows = items.iter().map(|item| Inserted::new(item)).collect();
    let Some(inserted) = insert_all(session, rows)? else {
        return write_any(session, batch, sending);
    };
    if inserted.len() == items.len() {
        return Ok(batch.iter().map(|_| Ok(Written::Done)).collect());
    }
    // The others exist: how do they compare?
    let (new, old): (Vec<_>, Vec<_>) =
        (0..).zip(batch).partition(|(at, _)| inserted.contains(items[*at].id.as_str()));
    let old_ones: Vec<Write> = old.iter().map(|(_, write)| Write::clone(write)).collect();
    let mut answers: Vec<_> = new.into_iter().map(|(at, _)| (at, Ok(Written::Done))).collect();
    let rest = write_any(session, &old_ones, sending)?;
    answers.extend(old.into_iter().map(|(at, _)| at).zip(rest));
    answers.sort_unstable_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// The items of a batch that does nothing but create them.
fn new_ones(batch: &[Write]) -> Option<Vec<&Item>> {
    let items = batch.iter().map(|write| match write {
        Write::Create(item) => Some(item),
        _ => None,
    });
    let items: Vec<&Item> = items.collect::<Option<_>>()?;
    (plan::ids(batch).len() == items.len()).then_some(items)
}

/// Inserts rows without looking first: nearly always none of them exists. One round
/// trip. `None` if one does and nothing was inserted.
pub(super) fn insert_all<B: Backend>(
    session: &mut Session<B>,
    mut rows: Vec<Inserted<'_>>,
) -> Result<Option<HashSet<Id>>, Failure> {
    rows.sort_unstable_by_key(|row| row.item.id.as_str());
    let statements = inserts::<B>(&rows, B::RETURN_INSERTED);
    let inserted = match &statements[..] {
        // It is a transaction by itself.
        [statement] => session.request(statement),
        statements => in_portions(session, statements),
    };
    match inserted {
        Ok(_) if B::RETURN_INSERTED.is_empty() => {
            Ok(Some(rows.iter().map(|row| row.item.id.clone()).collect()))
        }
        Ok(sets) => {
            let ids = sets.into_iter().flatten().filter_map(|mut row| row.id(0).ok());
            Ok(Some(ids.collect()))
        }
        Err(failure) if failure.kind == Kind::Duplicate => {
            session.roll_back()?;
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Large statements as one transaction.
fn in_portions<B: Backend>(session: &mut Session<B>, statements: &[String]) -> Result<Vec<Rows>, Failure> {
    session.begin("")?;
    let mut sets = Vec::new();
    for statement in statements {
        sets.extend(session.request(statement)?);
    }
    session.commit("")?;
    Ok(sets)
}

/// Writes any batch: reads and locks the rows, works out what changes, writes that.
fn write_any<B: Backend>(
    session: &mut Session<B>,
    batch: &[Write],
    sending: &Sending,
) -> Result<Answers, Failure> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut rest = batch;
    let mut is_open = false;
    let mut last = Vec::new();
    while !rest.is_empty() {
        flush(session, std::mem::take(&mut last))?;
        if let Write::Release { lane, from, to } = &rest[0] {
            if !is_open {
                session.begin("")?;
            }
            answers.push(Ok(Written::Released(release(session, *lane, *from, *to)?)));
            rest = &rest[1..];
        } else {
            let end = rest.iter().position(|write| matches!(write, Write::Release { .. }));
            let (part, others) = rest.split_at(end.unwrap_or(rest.len()));
            last = write_part(session, part, sending, is_open, &mut answers)?;
            rest = others;
        }
        is_open = true;
    }
    if is_open {
        commit(session, last)?;
    }
    Ok(answers)
}

/// Has the last statements of a transaction done, and commits it: in one request, if
/// they are small.
pub(super) fn commit<B: Backend>(session: &mut Session<B>, last: Vec<String>) -> Result<(), Failure> {
    let commit_with = if last.iter().map(String::len).sum::<usize>() <= REQUEST_BYTES {
        last.join(";")
    } else {
        flush(session, last)?;
        String::new()
    };
    session.commit(&commit_with)
}

/// Has statements done in few requests, none of them much larger than allowed.
fn flush<B: Backend>(session: &mut Session<B>, statements: Vec<String>) -> Result<(), Failure> {
    let mut request = String::new();
    for statement in statements {
        if !request.is_empty() && request.len() + statement.len() > REQUEST_BYTES {
            session.request(&request)?;
            request.clear();
        }
        if !request.is_empty() {
            request.push(';');
        }
        request.push_str(&statement);
    }
    if !request.is_empty() {
        session.request(&request)?;
    }
    Ok(())
}

/// Works out writes that go by ids; returns what remains to be done.
fn write_part<B: Backend>(
    session: &mut Session<B>,
    batch: &[Write],
    sending: &Sending,
    is_open: bool,
    answers: &mut Answers,
) -> Result<Vec<String>, Failure> {
    let ids = plan::ids(batch);
    if ids.is_empty() {
        answers.extend(batch.iter().map(|_| Ok(Written::Done)));
        if !is_open {
            session.begin("")?;
        }
        return Ok(Vec::new());
    }
    let stored = load(session, &ids, is_open)?;
    let created = batch.iter().filter_map(|write| match write {
        Write::Create(item) => Some(item),
        _ => None,
    });
    let origins = origins(session, created, &stored)?;
    let mut plan = Plan::new(&ids, stored, &origins);
    answers.extend(batch.iter().map(|write| plan.apply(write, sending)));
    Ok(statements::<B>(&plan.changes()))
}

pub(super) fn load<B: Backend>(
    session: &mut Session<B>,
    ids: &[&str],
    is_open: bool,
) -> Result<HashMap<Id, Image>, Failure> {
    let sql = Sql::<B>::new(
        "select notify_id, create_at, next_at, tried, cur_state, lane, once, epoch, lease_token, ",
    )
    .sql("case when lease_until > ")
    .sql(B::CLOCK)
    .sql(" then 1 else 0 end, case when response is null then 0 else 1 end from ")
    .sql(B::BY_ID)
    .sql(" where notify_id in ")
    .ids(ids.iter().copied())
    .sql(" order by notify_id for update")
    .done();
    let mut sets = if is_open { session.request(&sql)? } else { session.begin(&sql)? };
    let rows = sets.pop().unwrap_or_default();
    let rows = rows.into_iter().filter_map(|mut row| {
        let id = row.id(0).ok()?;
        let status = row.status(1);
        let image = Image {
            create_at: status.create_at,
            next_at: status.next_at,
            tried: status.tried,
            state: status.state,
            lane: row.lane(5),
            once: row.is_true(6),
            epoch: row.count(7),
            lease: row.integer(8).cast_unsigned(),
            is_leased: row.is_true(9),
            has_response: row.is_true(10),
        };
        Some((id, image))
    });
    Ok(rows.collect())
}

/// What those rows were created from that are to be created again. One whose content has
/// another length than any of these is another one, and isn't even read.
pub(super) fn origins<'a, B: Backend>(
    session: &mut Session<B>,
    created: impl Iterator<Item = &'a Item>,
    stored: &HashMap<Id, Image>,
) -> Result<HashMap<Id, Origin>, Failure> {
    let again: Vec<&Item> = created.filter(|item| stored.contains_key(&item.id)).collect();
    if again.is_empty() {
        return Ok(HashMap::new());
    }
    let lengths: BTreeSet<usize> = again.iter().map(|item| item.content.len()).collect();
    let sql = Sql::<B>::new("select notify_id, driver, endpoint, content from ").sql(B::BY_ID);
    let sql = sql.sql(" where notify_id in ").ids(again.iter().map(|item| item.id.as_str()));
    let sql =
        sql.sql(" and octet_length(content) in (").list(lengths, |sql, length| sql.number(length as i64));
    let rows = session.request(&sql.sql(")").done())?.pop().unwrap_or_default();
    let rows = rows.into_iter().filter_map(|mut row| {
        let origin = Origin {
            r#type: row.text(1),
            endpoint: row.text(2),
            content: B::read_bytes(row.take(3).unwrap_or_default()),
        };
        Some((row.id(0).ok()?, origin))
    });
    Ok(rows.collect())
}

fn release<B: Backend>(
    session: &mut Session<B>,
    lane: Lane,
    from: Timestamp,
    to: Timestamp,
) -> Result<usize, Failure> {
    // They would be found again for ever.
    if from == to {
        return Ok(0);
    }
    let sql = Sql::<B>::new("select notify_id from ").sql(B::BY_DUE).sql(" where cur_state = 0 and lane = ");
    let sql = sql.number(lane.number()).sql(" and next_at = ").time(from).sql(" limit ");
    let sql = sql.number(RELEASED as i64).sql(" for update").done();
    let rows = session.request(&sql)?.pop().unwrap_or_default();
    let ids: Vec<Id> = rows.into_iter().filter_map(|mut row| row.id(0).ok()).collect();
    if !ids.is_empty() {
        let sql = Sql::<B>::new("update ").sql(B::BY_ID).sql(" set next_at = ").time(to);
        session.request(&sql.sql(" where notify_id in ").ids(ids.iter().map(Id::as_str)).done())?;
    }
    Ok(ids.len())
}

/// What makes the table so: deletes before inserts of the same id.
pub(super) fn statements<B: Backend>(changes: &Changes<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    if !changes.deleted.is_empty() {
        let sql = Sql::<B>::new("delete from items where notify_id in ").ids(changes.deleted.iter().copied());
        statements.push(sql.done());
    }
    statements.extend(inserts::<B>(&changes.inserted, ""));
    statements.extend(updates::<B>(&changes.updated));
    statements
}

const INSERT: &str = "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, \
     cur_state, response, lane, once, epoch) values ";

fn inserts<B: Backend>(rows: &[Inserted<'_>], end: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut sql = String::new();
    for row in rows {
        if sql.len() > REQUEST_BYTES {
            statements.push(std::mem::take(&mut sql) + end);
        }
        sql.push_str(if sql.is_empty() { INSERT } else { "," });
        let Inserted { item, image, response } = row;
        let values = Sql::<B>::new("(").id(item.id.as_str()).sql(",").text(&item.r#type).sql(",");
        let values = values.text(&item.endpoint).sql(",").bytes(&item.content).sql(",");
        let values = values.time(image.create_at).sql(",").time(image.next_at).sql(",");
        let values = values.number(image.tried).sql(",").number(image.state as u8).sql(",");
        let values = match response {
            Some(response) => values.bytes(response),
            None => values.sql("null"),
        };
        let values = values.sql(",").number(image.lane.number()).sql(",").number(u8::from(image.once));
        sql.push_str(&values.sql(",").number(image.epoch).sql(")").done());
    }
    if !sql.is_empty() {
        statements.push(sql + end);
    }
    statements
}

/// Each with the response, or without where it stays.
const UPDATED: &[&str] =
    &["id", "v_next", "v_tried", "v_state", "v_lane", "v_once", "v_epoch", "v_lease", "v_set", "v_response"];

const UPDATE: &str = "next_at = v_next, tried = v_tried, cur_state = v_state, lane = v_lane, once = v_once, \
     epoch = v_epoch, lease_token = case when v_lease = 1 then 0 else lease_token end, \
     lease_until = case when v_lease = 1 then 0 else lease_until end, \
     response = case when v_set = 1 then v_response else response end";

fn updates<B: Backend>(rows: &[Updated<'_>]) -> Vec<String> {
    let mut statements = Vec::new();
    let mut values = Values { columns: UPDATED, rows: Vec::new() };
    let mut bytes = 0;
    for Updated { id, image, ends_lease, response } in rows {
        if bytes > REQUEST_BYTES {
            statements.push(B::update_from(&values, UPDATE, "notify_id = v.id"));
            values.rows.clear();
            bytes = 0;
        }
        let number = |number: i64| literal::<B>(|sql| sql.number(number));
        values.rows.push(vec![
            literal::<B>(|sql| sql.id(id)),
            number(image.next_at.as_secs()),
            number(image.tried.into()),
            number(image.state as i64),
            number(image.lane.number().into()),
            number(image.once.into()),
            number(image.epoch.into()),
            number((*ends_lease).into()),
            number(response.is_some().into()),
            literal::<B>(|sql| sql.bytes(response.unwrap_or_default())),
        ]);
        bytes += 2 * response.map_or(0, <[u8]>::len) + 200;
    }
    if !values.rows.is_empty() {
        statements.push(B::update_from(&values, UPDATE, "notify_id = v.id"));
    }
    statements
}
