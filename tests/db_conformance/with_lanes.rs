//! Flaws in what only a database with lanes promises.

use notify_api::{
    DBDrv, DbError, Detail, Item, Lane, State, Status, Timestamp,
    db::{
        Claimed, Clear, Cleared, Outcome, Scope, Sending, Unassigned, Wanted, Write, Written, sqlite::Sqlite,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    ClaimOfAllBytes,
    ClaimForgetsTheNext,
    ClaimDropsUsedUp,
    HeadsAreLate,
    HeadsWithoutOtherTypes,
    NothingIsUnassigned,
    OneRefusalFailsAll,
    EpochsAreIgnored,
    ResponsesAreReplaced,
    HoldsAreIgnored,
    RepeatsAreAllTheSame,
    SlicesAreEndless,
    SlicesAreLong,
    SlicesTakeEveryState,
    SlicesBeginAtTheBeginning,
    SlicesAreNotCounted,
    NewestIsUnknown,
}

struct Flawed(Sqlite, Flaw);

impl DBDrv for Flawed {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        self.0.create(item)
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        self.0.resend(id, max_tries, now)
    }

    fn update(&self, id: &str, tried: u32, at: Timestamp, state: State, body: &[u8]) -> Result<(), DbError> {
        self.0.update(id, tried, at, state, body)
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.0.result(id)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.0.status(id)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.0.detail(id)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        self.0.pending(now, max_tries, drivers, sending)
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        self.0.delete(id, sending)
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.0.clear(before, sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.0.force_clear(before, sending)
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn newest(&self) -> Result<Option<Timestamp>, DbError> {
        if self.1 == Flaw::NewestIsUnknown { Ok(None) } else { self.0.newest() }
    }

    fn heads(&self) -> Result<Vec<(Lane, Timestamp)>, DbError> {
        let mut heads = self.0.heads()?;
        match self.1 {
            Flaw::HeadsAreLate => heads.iter_mut().for_each(|head| head.1 = Timestamp::MAX),
            Flaw::HeadsWithoutOtherTypes => heads.truncate(2),
            _ => {}
        }
        Ok(heads)
    }

    fn claim(&self, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        let max_bytes = if self.1 == Flaw::ClaimOfAllBytes { usize::MAX } else { wanted.max_bytes };
        let mut claimed = self.0.claim(&Wanted { max_bytes, ..*wanted })?;
        match self.1 {
            Flaw::ClaimForgetsTheNext => claimed.next_at = None,
            Flaw::ClaimDropsUsedUp => claimed.items.retain(|item| item.tried < wanted.max_tries),
            _ => {}
        }
        Ok(claimed)
    }

    fn unassigned(&self, limit: usize) -> Result<Vec<Unassigned>, DbError> {
        self.0.unassigned(if self.1 == Flaw::NothingIsUnassigned { 0 } else { limit })
    }

    fn write(&self, batch: &[Write], sending: &Sending) -> Result<Vec<Result<Written, DbError>>, DbError> {
        let mut answers = Vec::new();
        for write in batch {
            let answer = match (self.1, write) {
                (Flaw::EpochsAreIgnored, Write::Outcome(Outcome { id, tried, next_at, state, .. })) => {
                    self.0.update(id.as_str(), *tried, *next_at, *state, b"delivered")?;
                    Ok(Written::Done)
                }
                (Flaw::ResponsesAreReplaced, Write::Outcome(outcome)) => {
                    let outcome = Outcome { keep_response: false, ..outcome.clone() };
                    self.0.write(&[Write::Outcome(outcome)], sending)?.remove(0)
                }
                (Flaw::HoldsAreIgnored, Write::Hold { .. }) => Ok(Written::Done),
                _ => self.0.write(std::slice::from_ref(write), sending)?.remove(0),
            };
            answers.push(match answer {
                Err(error) if self.1 == Flaw::OneRefusalFailsAll => return Err(error),
                Ok(Written::Exists { create_at, .. }) if self.1 == Flaw::RepeatsAreAllTheSame => {
                    Ok(Written::Exists { create_at, same: true })
                }
                answer => answer,
            });
        }
        Ok(answers)
    }

    fn clear_slice(&self, clear: &Clear, sending: &Sending) -> Result<Cleared, DbError> {
        match self.1 {
            Flaw::SlicesAreEndless => {
                Ok(Cleared { rest: Some(clear.clone()), ..self.0.clear_slice(clear, sending)? })
            }
            Flaw::SlicesAreLong => self.force_clear(clear.before, sending).map(|()| Cleared::default()),
            Flaw::SlicesTakeEveryState if clear.scope != Scope::All => {
                self.0.clear_slice(&Clear { scope: Scope::Finished, ..clear.clone() }, sending)
            }
            Flaw::SlicesBeginAtTheBeginning if clear.cursor.is_none() => {
                self.0.clear_slice(&Clear { since: Timestamp::MIN, ..clear.clone() }, sending)
            }
            Flaw::SlicesAreNotCounted => Ok(Cleared { removed: 0, ..self.0.clear_slice(clear, sending)? }),
            _ => self.0.clear_slice(clear, sending),
        }
    }
}

#[test]
fn each_flaw_is_caught() {
    let caught = [
        (Flaw::ClaimOfAllBytes, "claim_stops_beyond_the_bytes"),
        (Flaw::ClaimForgetsTheNext, "claim_tells_when_the_next_is_due"),
        (Flaw::ClaimDropsUsedUp, "claim_finds_used_up_attempts"),
        (Flaw::HeadsAreLate, "heads_are_never_later_than_the_truth"),
        (Flaw::HeadsWithoutOtherTypes, "heads_are_the_lanes_with_pending_ones"),
        (Flaw::NothingIsUnassigned, "unassigned_are_those_without_a_lane"),
        (Flaw::OneRefusalFailsAll, "write_is_not_harmed_by_a_bad_neighbour"),
        (Flaw::EpochsAreIgnored, "outcome_before_a_resend_is_superseded"),
        (Flaw::ResponsesAreReplaced, "outcome_keeps_a_response_if_told_so"),
        (Flaw::HoldsAreIgnored, "hold_moves_pending_ones"),
        (Flaw::RepeatsAreAllTheSame, "write_tells_a_repeat_from_other_content"),
        (Flaw::SlicesAreEndless, "clear_slice_comes_to_an_end"),
        (Flaw::SlicesAreLong, "clear_slice_stays_short"),
        (Flaw::SlicesTakeEveryState, "clear_slice_takes_a_single_state"),
        (Flaw::SlicesBeginAtTheBeginning, "clear_slice_begins_where_it_is_told"),
        (Flaw::SlicesAreNotCounted, "clear_slice_tells_how_many"),
        (Flaw::NewestIsUnknown, "newest_is_the_newest"),
    ];
    for (flaw, case) in caught {
        let with = |flaw| {
            let directory = tempfile::tempdir().unwrap();
            let db = Sqlite::open(directory.path().join("notify.db")).unwrap();
            super::passes(case, (Flawed(db, flaw), directory))
        };
        assert!(with(Flaw::None), "{case} holds without the flaw");
        assert!(!with(flaw), "{flaw:?} got past {case}");
    }
}
