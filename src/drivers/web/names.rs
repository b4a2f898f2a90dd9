//! Name lookups: off the request's path, few at once, remembered for a while.
//!
//! The operating system's lookup blocks for as long as it likes, so it runs on
//! a thread of its own, and whoever waits for it waits no longer than its
//! delivery may take.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use super::{Failure, wire};

/// How long an answer is used without asking again: long enough for a burst of
/// notifications, short enough that nobody waits for a moved server.
const FRESH: Duration = Duration::from_secs(30);

/// How long an old answer is used after a lookup failed, before the next one.
const FRESH_AGAIN: Duration = Duration::from_secs(5);

/// How long an answer is remembered for the case that lookups fail.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// How long a new answer is waited for where there is an old one.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many names are remembered.
const MAX_NAMES: usize = 1024;

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The names that were looked up; clones share them.
#[derive(Clone)]
pub(super) struct Names(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    max_lookups: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: HashMap<String, Name>,
    running: usize,
}

struct Name {
    addresses: Arc<[IpAddr]>,
    /// When the addresses were found.
    found_at: Instant,
    /// Until when they are used without asking again.
    fresh_until: Instant,
    /// A lookup runs.
    looking: bool,
    /// How many lookups have ended, and what the latest one failed with.
    ended: u64,
    error: Option<String>,
}

impl Names {
    pub(super) fn new(max_lookups: usize) -> Self {
        Self::looked_up_by(max_lookups, |name| {
            Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        })
    }

    fn looked_up_by(
        max_lookups: usize,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            lookup: Box::new(lookup),
            max_lookups: max_lookups.max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    fn addresses(&self, name: &str, deadline: Instant) -> Result<Arc<[IpAddr]>, Failure> {
        let mut state = self.0.lock();
        let started = Instant::now();
        let mut ended = None;
        loop {
            let now = Instant::now();
            let known = state.names.get(name);
            let old = known.filter(|known| known.is_usable(now)).map(|known| known.addresses.clone());
            if let Some(known) = known {
                if now < known.fresh_until
                    && let Some(addresses) = old
                {
                    return Ok(addresses);
                }
                // A lookup has ended since this began, and left nothing fresh.
                if ended.is_some_and(|ended| ended != known.ended) {
                    let reason = known.error.as_deref().unwrap_or("it has no address");
                    return old.ok_or_else(|| failed(name, reason));
                }
            }
            ended = Some(known.map_or(0, |known| known.ended));
            if !known.is_some_and(|known| known.looking) && state.running < self.0.max_lookups {
                self.0.start(&mut state, name)?;
                continue;
            }
            let until = if old.is_some() { deadline.min(started + PATIENCE) } else { deadline };
            if until <= now {
                return old.ok_or_else(|| failed(name, "no answer in time"));
            }
            state = self.0.changed.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Name {
    fn is_usable(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && now < self.found_at + REMEMBERED
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>, state: &mut State, name: &str) -> Result<(), Failure> {
        let now = Instant::now();
        if state.names.len() >= MAX_NAMES && !state.names.contains_key(name) {
            state.forget_oldest();
        }
        let known = state.names.entry(name.to_owned()).or_insert_with(|| Name {
            addresses: Arc::default(),
            found_at: now,
            fresh_until: now,
            looking: false,
            ended: 0,
            error: None,
        });
        let (shared, owned) = (self.clone(), name.to_owned());
        thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let result = (shared.lookup)(&owned);
                shared.end(&owned, result);
            })
            .map_err(|error| failed(name, &error.to_string()))?;
        known.looking = true;
        state.running += 1;
        Ok(())
    }

    fn end(&self, name: &str, result: io::Result<Vec<IpAddr>>) {
        let mut state = self.lock();
        state.running -= 1;
        let now = Instant::now();
        if let Some(known) = state.names.get_mut(name) {
            known.looking = false;
            known.ended += 1;
            known.error = result.as_ref().err().map(ToString::to_string);
            match result {
                Ok(addresses) if !addresses.is_empty() => {
                    known.addresses = addresses.into();
                    known.found_at = now;
                    known.fresh_until = now + FRESH;
                }
                _ => known.fresh_until = now + FRESH_AGAIN,
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn forget_oldest(&mut self) {
        let oldest = self
            .names
            .iter()
            .filter(|(_, known)| !known.looking)
            .min_by_key(|(_, known)| known.fresh_until)
            .map(|(name, _)| name.clone());
        if let Some(oldest) = oldest {
            self.names.remove(&oldest);
        }
    }
}

fn failed(name: &str, reason: &str) -> Failure {
    Failure::Unreachable(format!("the name {name} can't be looked up: {reason}"))
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut resolved = self.empty();
        if let Some(address) = literal(host) {
            resolved.push(SocketAddr::new(address, port));
            return Ok(resolved);
        }
        let addresses = self.addresses(host, wire::deadline()).map_err(Failure::into_ureq)?;
        // An `ArrayVec` panics when it is full.
        for address in addresses.iter().take(MAX_ADDRESSES) {
            resolved.push(SocketAddr::new(*address, port));
        }
        Ok(resolved)
    }
}

/// As many as ureq takes.
const MAX_ADDRESSES: usize = 16;

fn literal(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    }
    host.parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn expire(names: &Names, name: &str) {
        names.0.lock().names.get_mut(name).unwrap().fresh_until = Instant::now();
    }

    #[test]
    fn an_answer_is_remembered() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = lookups.clone();
        let names = Names::looked_up_by(4, move |_| {
            counted.fetch_add(1, SeqCst);
            Ok(vec![HOME])
        });
        for _ in 0..3 {
            assert_eq!(*names.addresses("a.test", soon()).unwrap(), [HOME]);
        }
        assert_eq!(lookups.load(SeqCst), 1);
        expire(&names, "a.test");
        names.addresses("a.test", soon()).unwrap();
        assert_eq!(lookups.load(SeqCst), 2);
    }

    #[test]
    fn a_failed_lookup_falls_back_to_the_old_answer() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = lookups.clone();
        let names = Names::looked_up_by(4, move |_| match counted.fetch_add(1, SeqCst) {
            0 => Ok(vec![HOME]),
            _ => Err(io::Error::other("no network")),
        });
        names.addresses("a.test", soon()).unwrap();
        expire(&names, "a.test");
        for _ in 0..3 {
            assert_eq!(*names.addresses("a.test", soon()).unwrap(), [HOME]);
        }
        assert_eq!(lookups.load(SeqCst), 2, "a failure is remembered for a while too");
    }

    #[test]
    fn a_failed_lookup_without_an_old_answer_is_an_error() {
        let names = Names::looked_up_by(4, |_| Err(io::Error::other("no such host")));
        let failure = names.addresses("a.test", soon()).unwrap_err();
        let expected = "the name a.test can't be looked up: no such host";
        assert_eq!(failure, Failure::Unreachable(expected.into()));
    }

    #[test]
    fn a_lookup_that_hangs_holds_nobody_longer_than_the_deadline() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let names = Names::looked_up_by(1, move |_| {
            let _ = hang.lock().unwrap().recv();
            Ok(vec![HOME])
        });
        let now = Instant::now();
        names.addresses("a.test", now + Duration::from_millis(30)).unwrap_err();
        // The only lookup that may run still does: another name waits as well.
        names.addresses("b.test", now + Duration::from_millis(60)).unwrap_err();
        assert!(now.elapsed() < Duration::from_secs(5));
        drop(release);
        assert_eq!(*names.addresses("b.test", soon()).unwrap(), [HOME]);
    }

    #[test]
    fn one_lookup_a_name_serves_all_that_wait() {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = lookups.clone();
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let names = Names::looked_up_by(4, move |_| {
            counted.fetch_add(1, SeqCst);
            let _ = hang.lock().unwrap().recv();
            Ok(vec![HOME])
        });
        thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..8).map(|_| scope.spawn(|| names.addresses("a.test", soon()).unwrap())).collect();
            drop(release);
            for thread in waiting {
                assert_eq!(*thread.join().unwrap(), [HOME]);
            }
        });
        assert_eq!(lookups.load(SeqCst), 1);
    }

    #[test]
    fn the_names_that_are_remembered_are_bounded() {
        let names = Names::looked_up_by(4, |_| Ok(vec![HOME]));
        for number in 0..MAX_NAMES + 10 {
            names.addresses(&format!("{number}.test"), soon()).unwrap();
        }
        assert_eq!(names.0.lock().names.len(), MAX_NAMES);
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(literal("127.0.0.1"), Some(HOME));
        assert_eq!(literal("[::1]"), Some(IpAddr::from(Ipv6Addr::LOCALHOST)));
        assert_eq!(literal("localhost"), None);
    }
}
