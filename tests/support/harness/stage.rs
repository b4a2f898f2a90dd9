//! A driver that does what the test says: each send waits for its cue.

use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use notify_api::{Delivery, Driver, Rejected, SendError};

use super::{MOMENT, PATIENCE};

/// An endpoint is `lane/rest`: what comes before the slash is the lane, all of it
/// is the destination.
pub(crate) struct Stage {
    kind: &'static str,
    begun: Mutex<Sender<Sending>>,
    one_destination: bool,
}

/// Where the test sees what begins.
pub(crate) struct Audience(pub(crate) Receiver<Sending>);

/// An attempt that waits for its cue; without one it fails.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) content: Vec<u8>,
    cue: Sender<Result<Vec<u8>, SendError>>,
}

impl Stage {
    pub(crate) fn new(kind: &'static str) -> (Self, Audience) {
        let (begun, audience) = channel();
        (Self { kind, begun: Mutex::new(begun), one_destination: false }, Audience(audience))
    }

    /// All its lanes share one destination, like those of an account with a limit.
    pub(crate) fn with_one_destination(mut self) -> Self {
        self.one_destination = true;
        self
    }
}

impl Driver for Stage {
    fn r#type(&self) -> &str {
        self.kind
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let (cue, answer) = channel();
        let sending = Sending {
            id: delivery.id.to_owned(),
            endpoint: delivery.endpoint.to_owned(),
            content: delivery.content.to_owned(),
            cue,
        };
        let gone = || SendError::temporary("the test has ended");
        self.begun.lock().unwrap().send(sending).map_err(|_| gone())?;
        answer.recv().unwrap_or_else(|_| Err(gone()))
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }

    fn lane(&self, endpoint: &str) -> String {
        endpoint.split('/').next().unwrap().to_owned()
    }

    fn destination(&self, endpoint: &str) -> String {
        if self.one_destination { "the account".into() } else { endpoint.to_owned() }
    }
}

impl Audience {
    /// The next attempt that begins.
    #[track_caller]
    pub(crate) fn next(&self) -> Sending {
        self.next_within(PATIENCE).expect("an attempt begins")
    }

    /// The next attempt, which must be of this notification.
    #[track_caller]
    pub(crate) fn expect(&self, id: &str) -> Sending {
        let sending = self.next();
        assert_eq!(sending.id, id);
        sending
    }

    pub(crate) fn next_within(&self, limit: Duration) -> Option<Sending> {
        match self.0.recv_timeout(limit) {
            Ok(sending) => Some(sending),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the server has gone"),
        }
    }

    /// Nothing begins for a moment.
    #[track_caller]
    pub(crate) fn none(&self) {
        if let Some(sending) = self.next_within(MOMENT) {
            panic!("{} must not begin", sending.id);
        }
    }
}

impl Sending {
    pub(crate) fn answer(self, result: Result<Vec<u8>, SendError>) {
        // A server that was stopped meanwhile doesn't listen.
        let _ = self.cue.send(result);
    }

    pub(crate) fn deliver(self, response: &str) {
        self.answer(Ok(response.into()));
    }

    pub(crate) fn fail(self) {
        self.answer(Err(SendError::temporary("not now")));
    }

    pub(crate) fn refuse(self) {
        self.answer(Err(SendError::permanent("never")));
    }

    pub(crate) fn unreachable(self) {
        self.answer(Err(SendError::unreachable("nobody there")));
    }

    pub(crate) fn not_before(self, wait: Duration) {
        self.answer(Err(SendError::not_before("slow down", wait)));
    }
}
