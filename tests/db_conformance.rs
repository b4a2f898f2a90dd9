//! The suite for databases passes with ten methods and the defaults of the
//! others, and it fails a database that breaks the contract.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use notify_api::{
    DBDrv, DbError, Detail, Item, State, Status, Timestamp,
    db::{
        Sending,
        conformance::{CASES, Store, check},
    },
};

mod ten_methods {
    notify_api::dbdrv_conformance!(super::Memory::default);
}

/// The least that a third party writes.
#[derive(Default)]
struct Memory {
    rows: Mutex<HashMap<String, Row>>,
    flaw: Option<Flaw>,
}

struct Row {
    item: Item,
    state: State,
    response: Option<Vec<u8>>,
}

/// A mistake that a database may make.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    IdsWithoutCase,
    IdsTrimmed,
    IdsCut,
    CreateReplaces,
    CreateRaces,
    ContentIsText,
    TriesAreSigned,
    ResendUnknownIsFine,
    ResendForgetsOnce,
    ResendDropsResponse,
    ResendAtTheOldTime,
    UpdateUnknownIsNotFound,
    EmptyResponseIsNone,
    PendingNewestFirst,
    PendingIsLate,
    PendingOfAnyType,
    PendingUsedUp,
    PendingWhileSending,
    DeleteUnknownIsNotFound,
    DeleteWhileSending,
    ClearAtBefore,
    ClearPending,
    ClearWhileSending,
    ForceClearFinishedOnly,
}

impl Memory {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.rows.lock().unwrap()
    }

    fn key(&self, id: &str) -> String {
        match self.flaw {
            Some(Flaw::IdsWithoutCase) => id.to_lowercase(),
            Some(Flaw::IdsTrimmed) => id.trim_end().into(),
            Some(Flaw::IdsCut) => id.chars().take(127).collect(),
            _ => id.into(),
        }
    }

    fn with<T>(&self, id: &str, read: impl FnOnce(&mut Row) -> T) -> Result<T, DbError> {
        self.rows().get_mut(&self.key(id)).map(read).ok_or(DbError::NotFound)
    }

    fn keep(&self, before: Timestamp, sending: &Sending, flaw: Flaw, stays: impl Fn(&Row) -> bool) {
        let is_new = |at| at >= before && !(self.has(Flaw::ClearAtBefore) && at == before);
        let is_sent = |id: &str| sending.contains(id) && !self.has(Flaw::ClearWhileSending);
        self.rows().retain(|_, row| {
            is_new(row.item.create_at)
                || is_sent(row.item.id.as_str())
                || (stays(row) != self.has(flaw) && row.state == State::Pending)
        });
    }
}

impl DBDrv for Memory {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        match self.status(item.id.as_str()) {
            Ok(_) if self.has(Flaw::CreateReplaces) => self.delete(item.id.as_str(), &Sending::default())?,
            Ok(_) => return Err(DbError::Exists),
            Err(_) if self.has(Flaw::CreateRaces) => thread::sleep(Duration::from_millis(5)),
            Err(_) => {}
        }
        let mut item = item.clone();
        if self.has(Flaw::ContentIsText) {
            item.content = String::from_utf8_lossy(&item.content).into_owned().into_bytes();
        }
        let key = self.key(item.id.as_str());
        let mut rows = self.rows();
        if rows.contains_key(&key) && !self.has(Flaw::CreateRaces) {
            return Err(DbError::Exists);
        }
        rows.insert(key, Row { item, state: State::Pending, response: None });
        Ok(())
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        let resent = self.with(id, |row| {
            row.state = State::Pending;
            row.item.tried = max_tries - 1;
            row.item.once = !self.has(Flaw::ResendForgetsOnce);
            if !self.has(Flaw::ResendAtTheOldTime) {
                row.item.next_at = now;
            }
            if self.has(Flaw::ResendDropsResponse) {
                row.response = None;
            }
        });
        if self.has(Flaw::ResendUnknownIsFine) { Ok(()) } else { resent }
    }

    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        let updated = self.with(id, |row| {
            row.item.tried = if self.has(Flaw::TriesAreSigned) { tried.min(i32::MAX as u32) } else { tried };
            row.item.next_at = next_at;
            row.state = state;
            row.response = Some(response.to_vec());
        });
        if self.has(Flaw::UpdateUnknownIsNotFound) { updated } else { Ok(()) }
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        let response = self.with(id, |row| row.response.clone())?;
        Ok(response.filter(|response| !response.is_empty() || !self.has(Flaw::EmptyResponseIsNone)))
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.with(id, |Row { item, state, .. }| Status {
            create_at: item.create_at,
            next_at: item.next_at,
            tried: item.tried,
            state: *state,
        })
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        let status = self.status(id)?;
        self.with(id, |row| Detail {
            r#type: row.item.r#type.clone(),
            endpoint: row.item.endpoint.clone(),
            content: row.item.content.clone(),
            response: row.response.clone(),
            status,
        })
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        let is_due =
            |item: &Item| item.next_at < now || (item.next_at == now && !self.has(Flaw::PendingIsLate));
        let has_tries = |item: &Item| item.once || item.tried < max_tries || self.has(Flaw::PendingUsedUp);
        let is_wanted = |item: &Item| drivers.contains(&&*item.r#type) || self.has(Flaw::PendingOfAnyType);
        let is_sent =
            |item: &Item| sending.contains(item.id.as_str()) && !self.has(Flaw::PendingWhileSending);
        let rows = self.rows();
        let due = rows
            .values()
            .filter(|row| row.state == State::Pending)
            .map(|row| &row.item)
            .filter(|item| is_due(item) && has_tries(item) && is_wanted(item) && !is_sent(item));
        Ok(match self.has(Flaw::PendingNewestFirst) {
            true => due.max_by_key(|item| item.next_at).cloned(),
            false => due.min_by_key(|item| item.next_at).cloned(),
        })
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        if sending.contains(id) && !self.has(Flaw::DeleteWhileSending) {
            return Err(DbError::Sending);
        }
        match self.rows().remove(&self.key(id)) {
            None if self.has(Flaw::DeleteUnknownIsNotFound) => Err(DbError::NotFound),
            _ => Ok(()),
        }
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.keep(before, sending, Flaw::ClearPending, |_| true);
        Ok(())
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.keep(before, sending, Flaw::ForceClearFinishedOnly, |_| false);
        Ok(())
    }
}

/// Whether the suite lets it pass that case.
fn passes(case: &str, store: impl Into<Store>) -> bool {
    let store = store.into();
    catch_unwind(AssertUnwindSafe(move || check(case, store))).is_ok()
}

#[test]
fn each_flaw_is_caught() {
    let caught = [
        (Flaw::IdsWithoutCase, "create_keeps_ids_apart_that_look_alike"),
        (Flaw::IdsTrimmed, "reads_of_an_unknown_id_are_not_found"),
        (Flaw::IdsCut, "create_takes_the_longest_id"),
        (Flaw::CreateReplaces, "create_refuses_a_taken_id"),
        (Flaw::CreateRaces, "create_by_eight_threads_succeeds_once"),
        (Flaw::ContentIsText, "create_keeps_content_byte_for_byte"),
        (Flaw::TriesAreSigned, "update_takes_the_largest_number_of_tries"),
        (Flaw::ResendUnknownIsFine, "resend_unknown_id_is_not_found"),
        (Flaw::ResendForgetsOnce, "resend_is_once_though_the_limit_is_lowered"),
        (Flaw::ResendDropsResponse, "resend_keeps_what_is_known"),
        (Flaw::ResendAtTheOldTime, "resend_gives_an_attempt_whatever_the_state"),
        (Flaw::UpdateUnknownIsNotFound, "update_unknown_id_is_no_error"),
        (Flaw::EmptyResponseIsNone, "update_tells_an_empty_response_from_none"),
        (Flaw::PendingNewestFirst, "pending_finds_the_oldest_next_at"),
        (Flaw::PendingIsLate, "pending_is_due_at_its_second"),
        (Flaw::PendingOfAnyType, "pending_passes_over_other_types"),
        (Flaw::PendingUsedUp, "pending_passes_over_used_up_attempts"),
        (Flaw::PendingWhileSending, "pending_passes_over_what_is_being_sent"),
        (Flaw::DeleteUnknownIsNotFound, "delete_unknown_id_is_no_error"),
        (Flaw::DeleteWhileSending, "delete_refuses_what_is_being_sent"),
        (Flaw::ClearAtBefore, "clear_goes_strictly_before"),
        (Flaw::ClearPending, "clear_removes_what_is_finished"),
        (Flaw::ClearWhileSending, "clear_keeps_what_is_being_sent"),
        (Flaw::ForceClearFinishedOnly, "force_clear_removes_every_state"),
    ];
    for (flaw, case) in caught {
        assert!(passes(case, Memory::default()), "{case} holds without the flaw");
        assert!(!passes(case, Memory { flaw: Some(flaw), ..Memory::default() }), "{flaw:?} got past {case}");
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}

#[test]
#[should_panic(expected = "there is no case")]
fn an_unknown_case_is_no_success() {
    check("create_does_something_else", Memory::default());
}

#[cfg(feature = "sqlite")]
#[path = "db_conformance/with_lanes.rs"]
mod with_lanes;
