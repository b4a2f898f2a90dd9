use super::*;

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
const NOW: i64 = 1_800_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * 24 * 60 * 60))
}

/// What is believed hour by hour, when the wall clock is `ahead` of the right time by so many seconds.
fn believed(newest: Option<i64>, ahead: impl IntoIterator<Item = i64>) -> Vec<bool> {
    let start = Instant::now();
    let mut ahead = ahead.into_iter().peekable();
    let first = NOW + ahead.peek().copied().unwrap_or_default();
    let mut confidence = Confidence::begin(newest.map(at), at(first), start);
    (0..)
        .zip(ahead)
        .map(|(hour, ahead)| {
            let later = start + Duration::from_secs(3600 * hour);
            confidence.look(at(NOW + 3600 * hour as i64 + ahead), later)
        })
        .collect()
}

#[test]
fn a_clock_near_the_newest_notification_is_believed_at_once() {
    for newest in [Some(NOW + 2), Some(NOW), Some(NOW - 1), Some(NOW - 366 * DAY), None] {
        assert_eq!(believed(newest, [0; 30]), [true; 30], "{newest:?}");
    }
}

#[test]
fn another_one_is_believed_after_a_day() {
    let after_a_day: Vec<bool> = (0..30).map(|hour| hour >= 24).collect();
    for newest in [Some(NOW - 367 * DAY), Some(NOW + 3), Some(NOW + 20 * 365 * DAY)] {
        assert_eq!(believed(newest, [0; 30]), after_a_day, "{newest:?}");
    }
}

#[test]
fn a_wrong_clock_that_is_set_right_within_a_day_never_counts() {
    let wrong = 14 * 365 * DAY;
    for wrong in [wrong, -wrong] {
        let hours = (0..60).map(|hour| if hour < 20 { wrong } else { 0 });
        let believed = believed(Some(NOW - HOUR), hours);
        let expected: Vec<bool> = (0..60).map(|hour| hour >= 44).collect();
        assert_eq!(believed, expected);
    }
}

#[test]
fn a_jump_while_it_runs_counts_after_a_day() {
    let jump = |ahead| (0..60).map(move |hour| if hour < 10 { 0 } else { ahead });
    let after_a_day: Vec<bool> = (0..60).map(|hour| !(10..34).contains(&hour)).collect();
    for ahead in [2 * DAY, -2 * DAY, 14 * 365 * DAY] {
        assert_eq!(believed(Some(NOW), jump(ahead)), after_a_day, "{ahead}");
    }
    for ahead in [DAY - 1, HOUR, -HOUR] {
        assert_eq!(believed(Some(NOW), jump(ahead)), [true; 60], "{ahead}");
    }
}

#[test]
fn a_monotonic_clock_that_leaps_is_not_believed() {
    let start = Instant::now();
    let mut confidence = Confidence::begin(Some(at(NOW)), at(NOW), start);
    let later = |seconds: i64| (at(NOW + seconds), start + Duration::from_secs(seconds as u64));
    for (seconds, believed) in [(HOUR, true), (1000 * DAY, false), (1000 * DAY + HOUR, false)] {
        let (wall, at) = later(seconds);
        assert_eq!(confidence.look(wall, at), believed, "{seconds}");
    }
}

#[test]
fn what_is_kept_for_hours_is_looked_at_more_often() {
    let period = |success, failed| Retention { success, failed }.period().as_secs();
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    assert_eq!(period(days(30), days(90)), 3600);
    assert_eq!(period(days(30), None), 3600);
    assert_eq!(period(minutes(60), days(90)), 15 * 60);
    assert_eq!(period(None, minutes(1)), 15);
    assert_eq!(period(None, Some(Duration::from_secs(2))), 1);
}

/// The clearings of a pass that have something to do: scope, from, to.
fn pass(keep: Retention, now: i64, done: Reach) -> Vec<(Scope, i64, i64)> {
    let clears = keep.reach(at(now)).after(done);
    let clears = clears.into_iter().filter(|clear| clear.since < clear.before);
    clears.map(|clear| (clear.scope, clear.since.as_secs(), clear.before.as_secs())).collect()
}

#[test]
fn a_pass_goes_to_the_age_of_each_state() {
    let none = Reach::default();
    let (month, season) = (NOW - 30 * DAY, NOW - 90 * DAY);
    let keep = |success, failed| Retention { success, failed };
    assert_eq!(
        pass(keep(days(30), days(90)), NOW, none),
        [(Scope::Finished, i64::MIN, season), (Scope::Success, season, month)]
    );
    assert_eq!(
        pass(keep(days(90), days(30)), NOW, none),
        [(Scope::Finished, i64::MIN, season), (Scope::Failed, season, month)]
    );
    assert_eq!(pass(keep(days(30), days(30)), NOW, none), [(Scope::Finished, i64::MIN, month)]);
    assert_eq!(pass(keep(days(30), None), NOW, none), [(Scope::Success, i64::MIN, month)]);
    assert_eq!(pass(keep(None, days(30)), NOW, none), [(Scope::Failed, i64::MIN, month)]);
    assert_eq!(pass(keep(None, None), NOW, none), []);
}

#[test]
fn the_next_pass_looks_at_what_has_come_of_age_since() {
    for (success, failed) in [(30, 90), (90, 30), (30, 30)] {
        let keep = Retention { success: days(success), failed: days(failed) };
        let done = keep.reach(at(NOW));
        for (_, since, before) in pass(keep, NOW + HOUR, done) {
            assert_eq!(before - since, HOUR, "{success}, {failed}");
        }
        assert_eq!(pass(keep, NOW, done), [], "nothing is left at once");
        assert_eq!(pass(keep, NOW - DAY, done), [], "nor when the clock is set back");
    }
}
