//! How one kind of notification is delivered: the [`Driver`] trait, what a send
//! may end with, and the registry of drivers.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use crate::notification::{Lane, MAX_TYPE_BYTES};

/// Delivers notifications of one type.
///
/// Every method may block; `send` must come to an end by itself, since nothing
/// can interrupt it. Types of drivers that don't ship with this crate should
/// look like `example.com/some_org/some_driver`.
///
/// ```
/// use notify_api::{Delivery, Driver, Rejected, SendError};
///
/// /// Appends each payload, as a line, to the file that the endpoint names.
/// struct AppendToFile;
///
/// impl Driver for AppendToFile {
///     fn r#type(&self) -> &str {
///         "example.com/append_to_file"
///     }
///
///     fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
///         use std::{fs::OpenOptions, io::Write};
///         let mut line = delivery.content.to_vec();
///         line.push(b'\n');
///         OpenOptions::new()
///             .create(true)
///             .append(true)
///             .open(delivery.endpoint)
///             .and_then(|mut file| file.write_all(&line))
///             .map_err(|error| SendError::temporary(error.to_string()))?;
///         Ok(b"appended".to_vec())
///     }
///
///     fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
///         Ok(())
///     }
///
///     fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
///         if endpoint.starts_with('/') {
///             Ok(())
///         } else {
///             Err(Rejected::new("the endpoint must be an absolute path"))
///         }
///     }
/// }
/// ```
pub trait Driver: Send + Sync + 'static {
    /// The name that `type` of a request selects it by, at most [`MAX_TYPE_BYTES`] bytes.
    fn r#type(&self) -> &str;

    /// Makes one attempt and returns the receiver's response, which is stored.
    ///
    /// # Errors
    /// It was not delivered, or nobody knows; the kind of the error decides what
    /// follows. A panic counts as a temporary failure.
    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError>;

    /// Checks a payload (raw JSON) before the notification is accepted.
    ///
    /// # Errors
    /// It can't be delivered; the sentence is shown to the client.
    fn verify(&self, content: &[u8]) -> Result<(), Rejected>;

    /// Checks an endpoint before the notification is accepted.
    ///
    /// # Errors
    /// Nothing can be delivered there; the sentence is shown to the client.
    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected>;

    /// The name of the lane that notifications for this endpoint wait in: they
    /// share the receiver that may be slow or dead. Equal names of different
    /// drivers are one lane. By default each type and endpoint is its own.
    fn lane(&self, endpoint: &str) -> String {
        format!("{}\n{endpoint}", self.r#type())
    }

    /// What a "not before" of the receiver holds back: all notifications whose
    /// endpoints have the same destination. By default the lane.
    fn destination(&self, endpoint: &str) -> String {
        self.lane(endpoint)
    }

    /// Tries the account that the driver sends by, without sending anything, and tells in a
    /// few words what it is good for. It is for people who set it up, and never asked while
    /// notifications are sent. By default there is no account to try.
    ///
    /// # Errors
    /// It can't be used as it is, or not now.
    fn check_account(&self) -> Result<Option<String>, SendError> {
        Ok(None)
    }
}

impl<D: Driver + ?Sized> Driver for Box<D> {
    fn r#type(&self) -> &str {
        (**self).r#type()
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        (**self).send(delivery)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        (**self).verify(content)
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        (**self).check_endpoint(endpoint)
    }

    fn lane(&self, endpoint: &str) -> String {
        (**self).lane(endpoint)
    }

    fn destination(&self, endpoint: &str) -> String {
        (**self).destination(endpoint)
    }

    fn check_account(&self) -> Result<Option<String>, SendError> {
        (**self).check_account()
    }
}

/// What a driver is to deliver.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The notification's id: the same at every attempt, so that a receiver can
    /// recognise repeats.
    pub id: &'a str,
    /// Where to; checked by [`Driver::check_endpoint`] when it was accepted, but
    /// not if another program wrote it into the table.
    pub endpoint: &'a str,
    /// The payload, byte for byte; the same holds for [`Driver::verify`].
    pub content: &'a [u8],
}

/// A payload or an endpoint that a driver refuses; the sentence is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected(Cow<'static, str>);

impl Rejected {
    /// Refuses with this sentence.
    pub fn new(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rejected {}

/// Why an attempt failed, and what that means for the next one. When in doubt,
/// it is [temporary](SendError::temporary).
#[derive(Clone, Debug)]
pub struct SendError {
    kind: Kind,
    reason: Cow<'static, str>,
    response: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Temporary,
    Unreachable,
    Permanent,
    NotBefore(Duration),
}

impl SendError {
    /// A later attempt may succeed.
    pub fn temporary(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::with_kind(Kind::Temporary, reason)
    }

    /// Temporary, and nobody answered: no connection, closed without an answer,
    /// or a time-out. Its lane is held to one send at a time until somebody does.
    pub fn unreachable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::with_kind(Kind::Unreachable, reason)
    }

    /// No later attempt of this notification can succeed.
    pub fn permanent(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::with_kind(Kind::Permanent, reason)
    }

    /// Temporary, and the receiver wants nothing for the same destination
    /// before that much time has passed (rounded up to seconds, at most a day).
    pub fn not_before(reason: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        Self::with_kind(Kind::NotBefore(wait), reason)
    }

    /// Also stores what the receiver answered, instead of the reason.
    #[must_use]
    pub fn with_response(mut self, response: impl Into<Vec<u8>>) -> Self {
        self.response = Some(response.into());
        self
    }

    /// The same failure in other words, and with another response.
    pub(crate) fn rewritten(
        mut self,
        reason: impl FnOnce(&str) -> String,
        response: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Self {
        self.reason = reason(&self.reason).into();
        self.response = self.response.map(response);
        self
    }

    fn with_kind(kind: Kind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, reason: reason.into(), response: None }
    }

    /// Whether nobody answered.
    pub fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    /// Whether no later attempt can succeed.
    pub fn is_permanent(&self) -> bool {
        self.kind == Kind::Permanent
    }

    /// How long the receiver wants to be left alone.
    pub fn wait(&self) -> Option<Duration> {
        match self.kind {
            Kind::NotBefore(wait) => Some(wait),
            _ => None,
        }
    }

    /// What to store: the receiver's answer, or else the reason.
    pub fn into_response(self) -> Vec<u8> {
        self.response.unwrap_or_else(|| self.reason.into_owned().into_bytes())
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for SendError {}

/// The registered drivers by their type.
#[derive(Clone, Default)]
pub(crate) struct Drivers(BTreeMap<String, Arc<dyn Driver>>);

impl Drivers {
    pub(crate) fn register(&mut self, driver: Arc<dyn Driver>) -> Result<(), InvalidDriver> {
        let kind = driver.r#type().to_owned();
        if kind.is_empty() || kind.len() > MAX_TYPE_BYTES || kind.contains('\0') {
            return Err(InvalidDriver::BadType(kind));
        }
        if self.0.contains_key(&kind) {
            return Err(InvalidDriver::Twice(kind));
        }
        self.0.insert(kind, driver);
        Ok(())
    }

    pub(crate) fn find(&self, kind: &str) -> Option<&Arc<dyn Driver>> {
        self.0.get(kind)
    }

    pub(crate) fn types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The lane of a notification; rows of a type that isn't registered get one
    /// too, and those whose driver panics over their endpoint.
    pub(crate) fn lane(&self, kind: &str, endpoint: &str) -> Lane {
        let named = self.find(kind).and_then(|driver| unless_it_panics(|| driver.lane(endpoint)));
        match named {
            Some(name) => Lane::named(&name),
            None => Lane::named(&format!("{kind}\n{endpoint}")),
        }
    }
}

/// What a "not before" of the receiver holds back; `None` if the driver panics
/// over the endpoint, which then is nothing that could be held.
pub(crate) fn destination(driver: &dyn Driver, endpoint: &str) -> Option<String> {
    unless_it_panics(|| driver.destination(endpoint))
}

/// These are asked in critical sections, and for endpoints that were never checked.
fn unless_it_panics(name: impl FnOnce() -> String) -> Option<String> {
    panic::catch_unwind(AssertUnwindSafe(name)).ok()
}

/// A driver that can't be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidDriver {
    /// Its type is empty, too long, or has a U+0000 in it.
    BadType(String),
    /// Another driver has this type.
    Twice(String),
}

impl fmt::Display for InvalidDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadType(kind) => {
                write!(f, "driver type {kind:?} must have 1 to {MAX_TYPE_BYTES} bytes without U+0000")
            }
            Self::Twice(kind) => write!(f, "driver type {kind:?} is registered already"),
        }
    }
}

impl std::error::Error for InvalidDriver {}
