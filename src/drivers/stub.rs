//! A driver for tests and benchmarks: it delivers nothing, or whatever a closure makes of it.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::driver::{Delivery, Driver, Rejected, SendError};

type Act = dyn Fn(&Delivery<'_>) -> Result<Vec<u8>, SendError> + Send + Sync;
type Check<T> = dyn Fn(&T) -> Result<(), Rejected> + Send + Sync;
type Lane = dyn Fn(&str) -> String + Send + Sync;

/// A driver of any type that accepts everything and answers with an empty
/// response, unless it is told otherwise. Clones are the same driver: keep one
/// and register another.
///
/// As it comes it costs nothing: no lock, no allocation. With
/// [`recording`](Stub::recording) it remembers what was sent, and a test can
/// wait for that instead of sleeping.
///
/// ```
/// use std::time::Duration;
/// use notify_api::{Delivery, Driver, SendError, drivers::stub::Stub};
///
/// let stub = Stub::new("example.com/flaky").recording().acting(|delivery| {
///     if delivery.endpoint == "nowhere" {
///         return Err(SendError::unreachable("nobody there"));
///     }
///     Ok(b"thanks".to_vec())
/// });
///
/// // What the server does with a driver that was registered:
/// let driver = stub.clone();
/// std::thread::spawn(move || {
///     driver.send(&Delivery { id: "1", endpoint: "here", content: b"null" })
/// });
///
/// assert!(stub.wait_for(1, Duration::from_secs(10)));
/// assert_eq!(stub.ids(), ["1"]);
/// ```
#[derive(Clone)]
pub struct Stub {
    r#type: Arc<str>,
    response: Arc<[u8]>,
    act: Option<Arc<Act>>,
    verify: Option<Arc<Check<[u8]>>>,
    check_endpoint: Option<Arc<Check<str>>>,
    lane: Option<Arc<Lane>>,
    record: Option<Arc<Record>>,
}

/// A delivery that was attempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The notification's id.
    pub id: String,
    /// Where it went.
    pub endpoint: String,
    /// Its payload.
    pub content: Vec<u8>,
}

#[derive(Default)]
struct Record {
    attempts: Mutex<Attempts>,
    changed: Condvar,
}

#[derive(Default)]
struct Attempts {
    begun: usize,
    ended: Vec<Recorded>,
}

impl Stub {
    /// A stub of this type.
    pub fn new(r#type: impl Into<Arc<str>>) -> Self {
        Self {
            r#type: r#type.into(),
            response: Arc::default(),
            act: None,
            verify: None,
            check_endpoint: None,
            lane: None,
            record: None,
        }
    }

    /// Answers with this.
    #[must_use]
    pub fn responding(mut self, response: impl Into<Arc<[u8]>>) -> Self {
        self.response = response.into();
        self
    }

    /// Sends by calling this.
    #[must_use]
    pub fn acting(
        mut self,
        act: impl Fn(&Delivery<'_>) -> Result<Vec<u8>, SendError> + Send + Sync + 'static,
    ) -> Self {
        self.act = Some(Arc::new(act));
        self
    }

    /// Verifies payloads by calling this.
    #[must_use]
    pub fn verifying(
        mut self,
        verify: impl Fn(&[u8]) -> Result<(), Rejected> + Send + Sync + 'static,
    ) -> Self {
        self.verify = Some(Arc::new(verify));
        self
    }

    /// Checks endpoints by calling this.
    #[must_use]
    pub fn checking(mut self, check: impl Fn(&str) -> Result<(), Rejected> + Send + Sync + 'static) -> Self {
        self.check_endpoint = Some(Arc::new(check));
        self
    }

    /// Names the lane of an endpoint by calling this.
    #[must_use]
    pub fn in_lanes(mut self, lane: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.lane = Some(Arc::new(lane));
        self
    }

    /// Remembers every attempt.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Arc::default());
        self
    }

    /// How many attempts have ended.
    pub fn count(&self) -> usize {
        self.attempts().map_or(0, |attempts| attempts.ended.len())
    }

    /// The ids of the attempts that have ended, in the order in which they did.
    pub fn ids(&self) -> Vec<String> {
        self.recorded().into_iter().map(|recorded| recorded.id).collect()
    }

    /// The attempts that have ended, in the order in which they did.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.attempts().map_or_else(Vec::new, |attempts| attempts.ended.clone())
    }

    /// Waits until `count` attempts have ended; false if that takes longer than `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> bool {
        self.wait_while(patience, |attempts| attempts.ended.len() < count)
    }

    /// Waits until `count` attempts have begun; false if that takes longer than `patience`.
    pub fn wait_for_begun(&self, count: usize, patience: Duration) -> bool {
        self.wait_while(patience, |attempts| attempts.begun < count)
    }

    fn wait_while(&self, patience: Duration, condition: impl Fn(&Attempts) -> bool) -> bool {
        let (Some(record), Some(attempts)) = (&self.record, self.attempts()) else { return false };
        let (attempts, _) = record
            .changed
            .wait_timeout_while(attempts, patience, |attempts| condition(attempts))
            .unwrap_or_else(PoisonError::into_inner);
        !condition(&attempts)
    }

    fn attempts(&self) -> Option<MutexGuard<'_, Attempts>> {
        self.record.as_ref().map(|record| record.lock())
    }

    fn act(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        match &self.act {
            Some(act) => act(delivery),
            None => Ok(self.response.to_vec()),
        }
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the end of an attempt, also one that panics.
struct Ending<'a, 'b> {
    record: &'a Record,
    delivery: &'a Delivery<'b>,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.record.lock().ended.push(Recorded {
            id: self.delivery.id.to_owned(),
            endpoint: self.delivery.endpoint.to_owned(),
            content: self.delivery.content.to_vec(),
        });
        self.record.changed.notify_all();
    }
}

impl Driver for Stub {
    fn r#type(&self) -> &str {
        &self.r#type
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let Some(record) = &self.record else { return self.act(delivery) };
        record.lock().begun += 1;
        record.changed.notify_all();
        let _ending = Ending { record, delivery };
        self.act(delivery)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        self.verify.as_ref().map_or(Ok(()), |verify| verify(content))
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        self.check_endpoint.as_ref().map_or(Ok(()), |check| check(endpoint))
    }

    fn lane(&self, endpoint: &str) -> String {
        match &self.lane {
            Some(lane) => lane(endpoint),
            None => format!("{}\n{endpoint}", self.r#type),
        }
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub").field("type", &self.r#type).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: Delivery<'_> = Delivery { id: "1", endpoint: "here", content: b"null" };

    #[test]
    fn does_nothing_by_default() {
        let stub = Stub::new("example.com/stub");
        assert_eq!(stub.send(&DELIVERY).unwrap(), b"");
        assert_eq!(stub.count(), 0);
        assert!(!stub.wait_for(1, Duration::ZERO));
        assert_eq!(stub.lane("here"), "example.com/stub\nhere");
    }

    #[test]
    fn answers_and_refuses_as_it_is_told() {
        let stub = Stub::new("example.com/stub")
            .responding(*b"thanks")
            .verifying(|_| Err(Rejected::new("no payload is good enough")))
            .checking(|endpoint| Err(Rejected::new(format!("{endpoint} is nowhere"))))
            .in_lanes(|_| "the lane".into());
        assert_eq!(stub.send(&DELIVERY).unwrap(), b"thanks");
        assert_eq!(stub.verify(b"null").unwrap_err().to_string(), "no payload is good enough");
        assert_eq!(stub.check_endpoint("x").unwrap_err().to_string(), "x is nowhere");
        assert_eq!(stub.lane("x"), "the lane");
    }

    #[test]
    fn records_attempts_that_panic() {
        let stub = Stub::new("example.com/stub").recording().acting(|_| panic!("as it is told"));
        let driver = stub.clone();
        std::thread::spawn(move || driver.send(&DELIVERY)).join().unwrap_err();
        assert!(stub.wait_for(1, Duration::ZERO) && stub.wait_for_begun(1, Duration::ZERO));
        assert_eq!(stub.recorded()[0].content, b"null");
    }
}
