//! What the program has to do with systemd, if that has started it: the socket that it is
//! given, and what it tells about itself. Without systemd none of this happens.

use std::{
    collections::VecDeque,
    convert::Infallible,
    env,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use listenfd::ListenFd;
use notify_api::{Activity, Monitor};
use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::Refusal;

/// How often the status is told where there is no watchdog to feed.
const STATUS_EVERY: Duration = Duration::from_secs(60);

/// For which time failures are counted.
const RECENT: Duration = Duration::from_secs(60 * 60);

/// How long the end takes beside what running sends get.
const CLOSING: Duration = Duration::from_secs(15);

/// The socket that systemd listens on for this process, if there is one. It changes the
/// environment: to be called before there are other threads.
///
/// # Errors
/// It isn't a single listening TCP socket.
pub(crate) fn socket() -> Result<Option<TcpListener>, Refusal> {
    const TAKES: &str = "it takes one ListenStream= with a port";
    // Says how many are for this very process, which the other crate is lax about.
    let count = sd_notify::listen_fds().map_err(|error| format!("LISTEN_FDS, LISTEN_PID: {error}"))?.len();
    match count {
        0 => return Ok(None),
        1 => {}
        count => return Err(format!("systemd passes {count} sockets: {TAKES}")),
    }
    let passed = ListenFd::from_env().take_tcp_listener(0);
    let socket = passed.ok().flatten().filter(|socket| SockRef::from(socket).is_listener().unwrap_or(false));
    socket
        .map(Some)
        .ok_or_else(|| format!("systemd passes something else than a TCP socket that listens: {TAKES}"))
}

/// Whether an address, as somebody writes it, names this one.
pub(crate) async fn names(bind: &str, address: SocketAddr) -> bool {
    let (host, port) = bind.rsplit_once(':').unwrap_or((bind, ""));
    if host.is_empty() {
        return address.ip().is_unspecified() && port.parse() == Ok(address.port());
    }
    let same = |named: SocketAddr| {
        let is_everywhere = named.ip().is_unspecified() && address.ip().is_unspecified();
        named.port() == address.port() && (is_everywhere || named.ip() == address.ip())
    };
    tokio::net::lookup_host(bind).await.is_ok_and(|mut named| named.any(same))
}

/// The one who has started this process and wants to hear of it.
pub(crate) struct Manager {
    /// It ends this process when it hasn't heard of it for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Whom the environment names.
    pub(crate) fn from_env() -> Option<Self> {
        env::var_os("NOTIFY_SOCKET")?;
        Some(Self { watchdog: sd_notify::watchdog_enabled() })
    }

    /// The database is about to be opened.
    pub(crate) fn opening(&self) {
        tell(&[NotifyState::Status("opening the database")]);
    }

    /// It serves.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// It stops; running sends get that long, whatever the unit says.
    pub(crate) fn stopping(&self, grace: Duration) {
        let longest = format!("EXTEND_TIMEOUT_USEC={}", (grace + CLOSING).as_micros());
        let status = "waiting for running sends";
        tell(&[NotifyState::Stopping, NotifyState::Status(status), NotifyState::Custom(&longest)]);
    }

    /// Tells how the server is, twice in each interval of the watchdog, or when that changes.
    /// The watchdog is fed when the server has responded: it is there for what hangs. Troubles
    /// that the server knows of, a database that can't be reached or a full disk, are no
    /// reason to start it anew: that would end them no sooner.
    pub(crate) async fn watch(&self, monitor: &Monitor) -> Infallible {
        let mut ticks = interval(self.watchdog.map_or(STATUS_EVERY, |limit| limit / 2));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = Failures::default();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if self.watchdog.is_some() {
                        monitor.responds().await;
                        tell(&[NotifyState::Watchdog]);
                    }
                }
                () = monitor.trouble_changed() => {}
            }
            let Activity { pending, sending, given_up, trouble, .. } = monitor.activity().await;
            let failed = failures.recent(given_up, Instant::now());
            let status = status_of(pending, sending, trouble.as_deref(), failed);
            tell(&[NotifyState::Status(&status)]);
        }
    }
}

/// Nobody is there to hear of a failure.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("NOTIFY_SOCKET: {error}");
    }
}

/// How the server is, in one line.
fn status_of(pending: Option<usize>, sending: usize, trouble: Option<&str>, failed: u64) -> String {
    let mut parts = Vec::new();
    if let Some(trouble) = trouble {
        parts.push(trouble.replace(char::is_control, " "));
    }
    match pending {
        Some(Activity::MOST_COUNTED) => parts.push(format!("{} or more pending", Activity::MOST_COUNTED)),
        Some(pending) => parts.push(format!("{pending} pending")),
        None => {}
    }
    parts.push(format!("{sending} sending"));
    parts.push(format!("{failed} failed in the last hour"));
    parts.join(", ")
}

/// How many had been given up in all, when that had changed, for an hour.
#[derive(Default)]
struct Failures(VecDeque<(Instant, u64)>);

impl Failures {
    /// How many of these were given up within the last hour.
    fn recent(&mut self, given_up: u64, now: Instant) -> u64 {
        let is_old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= RECENT;
        // One that is old stays, to count from.
        while self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
        if self.0.back().map_or(0, |(_, known)| *known) != given_up {
            self.0.push_back((now, given_up));
        }
        given_up - self.0.front().filter(|first| is_old(first)).map_or(0, |(_, before)| *before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_an_hour() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert_eq!(failures.recent(0, minutes(0)), 0);
        assert_eq!(failures.recent(2, minutes(10)), 2);
        assert_eq!(failures.recent(5, minutes(40)), 5);
        assert_eq!(failures.recent(5, minutes(71)), 3);
        assert_eq!(failures.recent(6, minutes(99)), 4);
        assert_eq!(failures.recent(6, minutes(101)), 1);
        assert_eq!(failures.recent(6, minutes(1_000)), 0);
        assert_eq!(failures.0.len(), 1);
    }

    #[test]
    fn the_status_is_one_line() {
        let text = status_of(Some(12), 3, Some("a\nb"), 1);
        assert_eq!(text, "a b, 12 pending, 3 sending, 1 failed in the last hour");
        let text = status_of(Some(Activity::MOST_COUNTED), 0, None, 0);
        assert_eq!(text, "10000 or more pending, 0 sending, 0 failed in the last hour");
        assert_eq!(status_of(None, 0, None, 0), "0 sending, 0 failed in the last hour");
    }

    #[tokio::test]
    async fn addresses_have_many_names() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (bind, place, is) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("localhost:80", "127.0.0.1:80", true),
            (":80", "[::]:80", true),
            (":80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            (":80", "127.0.0.1:80", false),
            (":81", "[::]:80", false),
            ("[::1]:80", "[::1]:80", true),
            ("127.0.0.1:80", "[::]:80", false),
            ("nonsense", "127.0.0.1:80", false),
        ] {
            assert_eq!(names(bind, address(place)).await, is, "{bind} {place}");
        }
    }
}
