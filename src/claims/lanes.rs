//! Which lane gets the next free slot: the directory of all lanes, without their
//! rows. It knows nothing of databases, threads or time, and is bounded by the
//! number of lanes there can be.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::notification::{Item, Lane, Timestamp};

/// With so many slots or more, the last free one is kept for lanes that have no
/// sends running.
const SLOTS_TO_KEEP_ONE: usize = 4;

/// All lanes that have, or had, something to send.
#[derive(Debug)]
pub(super) struct Lanes {
    slots: usize,
    running: usize,
    /// Sends running in lanes whose latest attempt was unreachable.
    running_unreachable: usize,
    entries: HashMap<Lane, Entry>,
    /// Lanes that could use a slot now, best first: those that answer,
    answering: BTreeSet<Rank>,
    /// and those that didn't at their latest attempt.
    unreachable: BTreeSet<Rank>,
    /// When the earliest row of a lane falls due that has none due now.
    timers: BTreeSet<(Timestamp, Lane)>,
    /// Counts the slots given away, to tell who was served longest ago.
    served: u64,
    /// The latest slot went to an unreachable lane.
    latest_unreachable: bool,
    /// Everything up to here is due.
    now: Timestamp,
}

/// Fewest sends running, then served longest ago.
type Rank = (usize, u64, Lane);

#[derive(Debug)]
struct Entry {
    running: usize,
    allowed: usize,
    served: u64,
    unreachable: bool,
    /// Next in line: claimed, no attempt begun.
    waiting: VecDeque<Item>,
    /// When the earliest row falls due that isn't claimed; `None` if there is none.
    due: Option<Timestamp>,
    /// Rows were set aside and are being written back: no claiming until that is done.
    writing_back: bool,
    /// Where the indexes have the lane.
    place: Place,
}

/// A lane's place in the indexes: in one of them, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Answering(Rank),
    Unreachable(Rank),
    Timer(Timestamp),
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            running: 0,
            allowed: 1,
            served: 0,
            unreachable: false,
            waiting: VecDeque::new(),
            due: None,
            writing_back: false,
            place: Place::Nowhere,
        }
    }
}

impl Entry {
    fn has_due(&self, now: Timestamp) -> bool {
        !self.waiting.is_empty() || (!self.writing_back && self.due.is_some_and(|due| due <= now))
    }

    /// Where the indexes should have it.
    fn place(&self, lane: Lane, now: Timestamp) -> Place {
        let rank = (self.running, self.served, lane);
        match self.due {
            _ if self.has_due(now) && self.running >= self.allowed => Place::Nowhere,
            _ if self.has_due(now) && self.unreachable => Place::Unreachable(rank),
            _ if self.has_due(now) => Place::Answering(rank),
            Some(due) if !self.writing_back => Place::Timer(due),
            _ => Place::Nowhere,
        }
    }
}

/// What the end of an attempt says about its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Somebody answered, whatever it was.
    Answered,
    /// Nobody did.
    Unreachable,
}

impl Lanes {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            running: 0,
            running_unreachable: 0,
            entries: HashMap::new(),
            answering: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            timers: BTreeSet::new(),
            served: 0,
            latest_unreachable: false,
            now: Timestamp::MIN,
        }
    }

    /// Sends running.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// When the next lane gets something due that has nothing now.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The lane that the next free slot goes to, as it stands at `now`.
    pub(super) fn pick(&mut self, now: Timestamp) -> Option<Lane> {
        self.advance(now);
        let free = self.slots.checked_sub(self.running).filter(|free| *free > 0)?;
        let unreachable_may = match self.slots {
            1 => !self.latest_unreachable || self.answering.is_empty(),
            slots => self.running_unreachable < slots / 2,
        };
        let answering = self.answering.first();
        let unreachable = self.unreachable.first().filter(|_| unreachable_may);
        let &(running, _, lane) = answering.into_iter().chain(unreachable).min()?;
        let keep_last = self.slots >= SLOTS_TO_KEEP_ONE && free == 1;
        (running == 0 || !keep_last).then_some(lane)
    }

    /// How many sends the lane may have running at once.
    pub(super) fn allowed(&self, lane: Lane) -> usize {
        self.entries.get(&lane).map_or(1, |entry| entry.allowed)
    }

    /// Takes what is next in line in the lane, without giving it a slot yet.
    pub(super) fn take_waiting(&mut self, lane: Lane) -> Option<Item> {
        self.change(lane, |entry| entry.waiting.pop_front())
    }

    /// Whether a row that is due at that time has nothing of its lane before it but
    /// what is in line, and that is less than `line`.
    pub(super) fn is_latest(&self, lane: Lane, at: Timestamp, line: usize) -> bool {
        self.entries.get(&lane).is_none_or(|entry| {
            entry.waiting.len() < line && !entry.writing_back && entry.due.is_none_or(|due| due > at)
        })
    }

    /// Puts a claimed row last in line.
    pub(super) fn push_waiting(&mut self, item: Item) {
        self.change(item.lane, |entry| entry.waiting.push_back(item));
    }

    /// Takes a row out of the line; the table has it again.
    pub(super) fn drop_waiting(&mut self, lane: Lane, id: &str) -> Option<Item> {
        self.change(lane, |entry| {
            entry.due = Some(Timestamp::MIN);
            let at = entry.waiting.iter().position(|item| item.id.as_str() == id);
            at.and_then(|at| entry.waiting.remove(at))
        })
    }

    /// Takes all rows out of all lines.
    pub(super) fn drop_all_waiting(&mut self) {
        let waiting = self.entries.iter().filter(|(_, entry)| !entry.waiting.is_empty());
        for lane in waiting.map(|(lane, _)| *lane).collect::<Vec<_>>() {
            self.change(lane, |entry| {
                entry.waiting.clear();
                entry.due = Some(Timestamp::MIN);
            });
        }
    }

    /// A row of the lane falls due then.
    pub(super) fn note(&mut self, lane: Lane, at: Timestamp) {
        if self.entries.get(&lane).is_some_and(|entry| entry.due.is_some_and(|due| due <= at)) {
            return;
        }
        self.change(lane, |entry| entry.due = Some(at));
    }

    /// The table was asked: this is when the lane's earliest unclaimed row falls due.
    pub(super) fn set_due(&mut self, lane: Lane, due: Option<Timestamp>) {
        self.change(lane, |entry| entry.due = due);
    }

    /// Whether rows of the lane are being written back.
    pub(super) fn set_writing_back(&mut self, lane: Lane, writing_back: bool) {
        self.change(lane, |entry| entry.writing_back = writing_back);
    }

    /// An attempt begins: a slot is taken.
    pub(super) fn begin(&mut self, lane: Lane) {
        self.served += 1;
        self.running += 1;
        let served = self.served;
        self.latest_unreachable = self.change(lane, |entry| {
            entry.running += 1;
            entry.served = served;
            entry.unreachable
        });
        self.running_unreachable += usize::from(self.latest_unreachable);
    }

    /// An attempt has ended: its slot is free.
    pub(super) fn end(&mut self, lane: Lane, answer: Answer) {
        let slots = self.slots;
        let (before, after) = self.change(lane, |entry| {
            let before = if entry.unreachable { entry.running } else { 0 };
            entry.running -= 1;
            entry.unreachable = answer == Answer::Unreachable;
            entry.allowed = match answer {
                Answer::Answered => slots.min(entry.allowed + 1),
                Answer::Unreachable => 1,
            };
            (before, if entry.unreachable { entry.running } else { 0 })
        });
        self.running -= 1;
        self.running_unreachable = self.running_unreachable + after - before;
    }

    /// Whatever is due by now becomes eligible.
    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((_, lane)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now) {
            self.change(lane, |_| ());
        }
    }

    /// Changes an entry, and its place in the indexes with it.
    fn change<T>(&mut self, lane: Lane, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = self.entries.entry(lane).or_default();
        let result = change(entry);
        let place = entry.place(lane, self.now);
        let before = std::mem::replace(&mut entry.place, place);
        if before != place {
            match before {
                Place::Nowhere => false,
                Place::Answering(rank) => self.answering.remove(&rank),
                Place::Unreachable(rank) => self.unreachable.remove(&rank),
                Place::Timer(at) => self.timers.remove(&(at, lane)),
            };
            match place {
                Place::Nowhere => false,
                Place::Answering(rank) => self.answering.insert(rank),
                Place::Unreachable(rank) => self.unreachable.insert(rank),
                Place::Timer(at) => self.timers.insert((at, lane)),
            };
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn lane(number: i64) -> Lane {
        Lane::from_number(number)
    }

    /// A directory where these lanes always have something due.
    fn busy(slots: usize, lanes: std::ops::RangeInclusive<i64>) -> Lanes {
        let mut directory = Lanes::new(slots);
        for number in lanes {
            directory.note(lane(number), NOW);
        }
        directory
    }

    fn begin(lanes: &mut Lanes) -> Option<i64> {
        let picked = lanes.pick(NOW)?;
        lanes.begin(picked);
        Some(i64::from(picked.number()))
    }

    fn end(lanes: &mut Lanes, number: i64, answer: Answer) {
        lanes.end(lane(number), answer);
    }

    #[test]
    fn the_lane_with_the_fewest_sends_running_is_next_then_the_one_served_longest_ago() {
        let mut lanes = busy(3, 1..=3);
        assert_eq!([begin(&mut lanes), begin(&mut lanes), begin(&mut lanes)], [Some(1), Some(2), Some(3)]);
        assert_eq!(begin(&mut lanes), None, "no slot is free");
        end(&mut lanes, 2, Answer::Answered);
        end(&mut lanes, 1, Answer::Answered);
        assert_eq!([begin(&mut lanes), begin(&mut lanes)], [Some(1), Some(2)]);
    }

    #[test]
    fn a_lane_starts_with_one_slot_and_gains_one_for_each_answer() {
        let mut lanes = busy(3, 1..=1);
        assert_eq!([begin(&mut lanes), begin(&mut lanes)], [Some(1), None]);
        end(&mut lanes, 1, Answer::Answered);
        assert_eq!([begin(&mut lanes), begin(&mut lanes), begin(&mut lanes)], [Some(1), Some(1), None]);
        end(&mut lanes, 1, Answer::Answered);
        assert_eq!([begin(&mut lanes), begin(&mut lanes)], [Some(1), Some(1)]);
        for _ in 0..3 {
            end(&mut lanes, 1, Answer::Unreachable);
        }
        lanes.note(lane(1), NOW);
        assert_eq!([begin(&mut lanes), begin(&mut lanes)], [Some(1), None]);
    }

    #[test]
    fn unreachable_lanes_hold_at_most_half_of_the_slots_together() {
        let mut lanes = busy(4, 1..=4);
        for _ in 0..4 {
            begin(&mut lanes);
        }
        for number in 1..=4 {
            end(&mut lanes, number, Answer::Unreachable);
        }
        assert_eq!([begin(&mut lanes), begin(&mut lanes), begin(&mut lanes)], [Some(1), Some(2), None]);
        lanes.note(lane(9), NOW);
        assert_eq!(begin(&mut lanes), Some(9));
    }

    #[test]
    fn one_slot_serves_an_unreachable_lane_at_most_every_second_time() {
        let mut lanes = busy(1, 1..=3);
        for number in 1..=2 {
            assert_eq!(begin(&mut lanes), Some(number));
            end(&mut lanes, number, Answer::Unreachable);
        }
        let served: Vec<_> = (0..6)
            .map(|_| {
                let number = begin(&mut lanes).unwrap();
                end(&mut lanes, number, if number == 3 { Answer::Answered } else { Answer::Unreachable });
                number
            })
            .collect();
        assert_eq!(served, [3, 1, 3, 2, 3, 1]);
        lanes.set_due(lane(3), None);
        assert_eq!(
            [begin(&mut lanes), {
                end(&mut lanes, 2, Answer::Unreachable);
                begin(&mut lanes)
            }],
            [Some(2), Some(1)]
        );
    }

    #[test]
    fn the_last_of_four_slots_is_not_for_a_lane_that_has_sends_running() {
        let mut lanes = busy(4, 1..=1);
        for _ in 0..5 {
            begin(&mut lanes);
            end(&mut lanes, 1, Answer::Answered);
        }
        assert_eq!(
            [begin(&mut lanes), begin(&mut lanes), begin(&mut lanes), begin(&mut lanes)],
            [Some(1), Some(1), Some(1), None]
        );
        lanes.note(lane(2), NOW);
        assert_eq!(begin(&mut lanes), Some(2));
        let mut three = busy(3, 1..=1);
        for _ in 0..5 {
            begin(&mut three);
            end(&mut three, 1, Answer::Answered);
        }
        assert_eq!([begin(&mut three), begin(&mut three), begin(&mut three)], [Some(1), Some(1), Some(1)]);
    }

    #[test]
    fn a_row_that_is_not_due_sets_the_timer() {
        let mut lanes = Lanes::new(1);
        let later = Timestamp::from_secs(2000);
        lanes.note(lane(1), later);
        assert_eq!((lanes.pick(NOW), lanes.next_timer()), (None, Some(later)));
        lanes.note(lane(1), Timestamp::from_secs(3000));
        assert_eq!(lanes.next_timer(), Some(later), "the earliest counts");
        assert_eq!((lanes.pick(later), lanes.next_timer()), (Some(lane(1)), None));
        lanes.set_due(lane(1), None);
        assert_eq!(lanes.pick(later), None);
    }

    #[test]
    fn a_lane_whose_rows_are_being_written_back_waits() {
        let mut lanes = busy(1, 1..=1);
        lanes.set_writing_back(lane(1), true);
        assert_eq!((lanes.pick(NOW), lanes.next_timer()), (None, None));
        lanes.set_writing_back(lane(1), false);
        assert_eq!(lanes.pick(NOW), Some(lane(1)));
    }
}
