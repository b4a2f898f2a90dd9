//! What each endpoint takes, does and answers.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, Stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};
use uuid::{ContextV7, Uuid};
use warp::{
    Buf, Filter,
    filters::{BoxedFilter, path::FullPath},
    http::{HeaderMap, HeaderValue, Method},
    reply::Response,
};

use super::{
    MEMORY_BYTES,
    access::Token,
    body::{self, Body, BodyError},
    endpoint::{Call, Endpoint, View},
    list::{self, Pairs},
    reply::{self, Failure},
};
use crate::{
    db::{Clear, DBDrv, DbError, Scope, Write, Written},
    json,
    metrics::Now,
    notification::{Id, Item, Params, Timestamp},
    recorder::Refusal,
    sender::Sender,
};

/// Every call is answered within ten seconds of its body's end.
const ANSWER_WITHIN: Duration = Duration::from_millis(9_500);

/// Whoever collects metrics waits ten seconds, if nothing else is said.
const FIGURES_WITHIN: Duration = Duration::from_secs(5);

/// So long after it was created, the same notification again is a repeat.
const REPEATABLE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Rows with all their bytes in memory at once, from the reading to the answer.
const WHOLE_ROWS: usize = 4;

/// Readings of many rows at once. They may take seconds, and the sender reads, too.
const LONG_READS: usize = 2;

/// Carries the notification's id in the answer of `/send` and `/sendOnce`.
const ID_HEADER: &str = "notification-id";

/// What all requests share.
pub(super) struct Api {
    pub(super) sender: Sender,
    token: Option<Token>,
    body_limit: usize,
    memory: Arc<Semaphore>,
    whole_rows: Arc<Semaphore>,
    long_reads: Arc<Semaphore>,
    ids: Mutex<ContextV7>,
}

/// The whole API; other paths are rejected as not found.
pub(super) fn filter(api: Arc<Api>) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .and_then(
            |path: FullPath| async move { Endpoint::at(path.as_str()).ok_or_else(warp::reject::not_found) },
        )
        .and(warp::method())
        .and(warp::query())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and_then(move |endpoint, method: Method, query: Pairs, headers, body| {
            let api = api.clone();
            async move {
                // Drivers check what clients send, and may have bugs.
                let answer = AssertUnwindSafe(api.answer(endpoint, &method, &query, &headers, body));
                let answer = answer.catch_unwind().await.unwrap_or(Err(Failure::Bug));
                Ok::<_, Infallible>(answer.unwrap_or_else(|failure| api.refuse(failure)))
            }
        })
        .boxed()
}

impl Api {
    pub(super) fn new(sender: Sender, token: Option<Token>, body_limit: usize) -> Self {
        let memory = Arc::new(Semaphore::new(MEMORY_BYTES));
        let whole_rows = Arc::new(Semaphore::new(WHOLE_ROWS));
        let long_reads = Arc::new(Semaphore::new(LONG_READS));
        let ids = Mutex::new(ContextV7::new());
        Self { sender, token, body_limit, memory, whole_rows, long_reads, ids }
    }

    /// The order of these checks is a promise.
    async fn answer(
        &self,
        endpoint: Endpoint,
        method: &Method,
        query: &Pairs,
        headers: &HeaderMap,
        stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    ) -> Result<Response, Failure> {
        endpoint.check_method(method)?;
        let is_open = endpoint == Endpoint::Get(View::Health);
        if !is_open && self.token.as_ref().is_some_and(|token| !token.is_shown(headers)) {
            return Err(Failure::Unauthorized);
        }
        let call = match endpoint {
            Endpoint::Post(call) => call,
            Endpoint::Get(View::List) => return self.list(query).await,
            Endpoint::Get(View::Metrics) => return self.metrics().await,
            Endpoint::Get(View::Health) => return Ok(self.health().await),
        };
        let body = body::read(headers, stream, self.body_limit, &self.memory).await;
        let body = body.map_err(|error| match error {
            BodyError::TooLarge => Failure::TooLarge { limit: self.body_limit },
            BodyError::NoMemory => Failure::no_memory(),
            BodyError::Incomplete => Failure::Invalid("the body didn't arrive as a whole".into()),
        })?;
        self.call(call, body).await
    }

    async fn call(&self, call: Call, Body { bytes, memory }: Body) -> Result<Response, Failure> {
        match call {
            Call::Send | Call::SendOnce => {
                let params = Params::parse(&bytes)?;
                // The payload has been copied out of it.
                drop(bytes);
                self.send(params, call == Call::SendOnce, memory).await
            }
            Call::Resend => {
                let (max_tries, now) = (self.sender.max_tries, self.sender.clock.now());
                self.write(Write::Resend { id: id(&bytes)?, max_tries, now }, memory).await?;
                Ok(reply::done())
            }
            Call::Delete => {
                self.write(Write::Delete { id: id(&bytes)? }, memory).await?;
                Ok(reply::done())
            }
            Call::Clear => self.clear(Scope::Finished, before(&bytes)?).await,
            Call::ForceClear => self.clear(Scope::All, before(&bytes)?).await,
            Call::Result => {
                let id = id(&bytes)?;
                let (response, _row) = self.read_whole(move |db| db.result(id.as_str())).await?;
                reply::bytes_within(&self.memory, response.unwrap_or_default())
            }
            Call::Status => {
                let id = id(&bytes)?;
                Ok(reply::json(&self.read(move |db| db.status(id.as_str())).await?))
            }
            Call::Detail => {
                let id = id(&bytes)?;
                let (detail, _row) = self.read_whole(move |db| db.detail(id.as_str())).await?;
                reply::json_within(&self.memory, &detail)
            }
        }
    }

    async fn send(
        &self,
        params: Params,
        once: bool,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<Response, Failure> {
        let Params { id, r#type, endpoint, payload } = params;
        let drivers = &self.sender.drivers;
        let driver = drivers.find(&r#type).ok_or_else(|| {
            let known: Vec<&str> = drivers.types().collect();
            Failure::Invalid(format!("no driver of type {:?} is on, only: {}", r#type, known.join(", ")))
        })?;
        driver.verify(payload.get().as_bytes()).map_err(|reason| Failure::Invalid(reason.to_string()))?;
        driver.check_endpoint(&endpoint).map_err(|reason| Failure::Invalid(reason.to_string()))?;
        let id = id.unwrap_or_else(|| self.new_id());
        let now = self.sender.clock.now();
        let item = Item {
            id: id.clone(),
            lane: self.sender.lane(&r#type, &endpoint),
            r#type,
            endpoint,
            content: Box::<str>::from(payload).into_string().into_bytes(),
            create_at: now,
            next_at: now,
            tried: if once { self.sender.max_tries - 1 } else { 0 },
            once,
            epoch: 0,
            lease: 0,
        };
        match self.write(Write::Create(item), memory).await? {
            Written::Exists { create_at, same }
                if !same || self.sender.clock.age(create_at) >= REPEATABLE_FOR =>
            {
                Err(Failure::id_taken(&id, create_at, same))
            }
            _ => {
                let mut response = reply::done();
                let id = HeaderValue::try_from(id.to_header()).map_err(|_| Failure::Bug)?;
                response.headers_mut().insert(ID_HEADER, id);
                Ok(response)
            }
        }
    }

    /// An id that sorts after all that this server has made before.
    fn new_id(&self) -> Id {
        let now = self.sender.clock.since_epoch();
        let ids = self.ids.lock().expect("making an id doesn't panic");
        let time = uuid::Timestamp::from_unix(&*ids, now.as_secs(), now.subsec_nanos());
        Id::from_store(Uuid::new_v7(time).to_string())
    }

    async fn write(&self, write: Write, memory: Option<OwnedSemaphorePermit>) -> Result<Written, Failure> {
        let receiver = self.sender.recorder.write(write, memory)?;
        answered(receiver).await
    }

    async fn clear(&self, scope: Scope, before: Timestamp) -> Result<Response, Failure> {
        let receiver = self.sender.recorder.clear(Clear::new(scope, before))?;
        answered(receiver).await?;
        Ok(reply::done())
    }

    fn refuse(&self, failure: Failure) -> Response {
        if matches!(failure, Failure::Unavailable(_)) {
            self.sender.metrics.refused();
        }
        failure.into()
    }

    async fn list(&self, query: &Pairs) -> Result<Response, Failure> {
        let query = list::query(query, self.sender.clock.now())?;
        let (page, _reading) = self.read_beside(&self.long_reads, move |db| db.list(&query)).await?;
        reply::json_within(&self.memory, &list::listing(page))
    }

    /// Also while the database doesn't answer: then what it would tell is missing.
    async fn metrics(&self) -> Result<Response, Failure> {
        let asked = self.read_beside(&self.long_reads, |db| match db.figures() {
            Err(DbError::Unsupported(_)) => Ok(None),
            figures => figures.map(Some),
        });
        let (asked, pinged) = tokio::join!(
            timeout(FIGURES_WITHIN, asked),
            // Figures of a large table may take longer: that is no trouble.
            timeout(FIGURES_WITHIN, self.read(|db| db.ping())),
        );
        let figures = asked.ok().and_then(Result::ok).and_then(|(figures, _reading)| figures);
        let answers = pinged.is_ok_and(|pinged| pinged.is_ok());
        let sender = &self.sender;
        let now = Now {
            time: sender.clock.now(),
            is_healthy: answers && sender.trouble().is_none(),
            sending: sender.running(),
            figures,
        };
        sender.metrics.text(&now).map(reply::metrics).map_err(|_| Failure::Bug)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn DBDrv) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Failure> {
        let db = self.sender.db.clone();
        let reading = tokio::task::spawn_blocking(move || read(db.as_ref()));
        within_time(reading).await?.map_err(|_| Failure::Bug)?.map_err(Failure::from)
    }

    /// Reads something as large as a row.
    async fn read_whole<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn DBDrv) -> Result<T, DbError> + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit), Failure> {
        self.read_beside(&self.whole_rows, read).await
    }

    /// Reads something large, beside so many others. What is read is not in the memory budget
    /// before it is an answer; the permit that comes with it bounds how much of that there is.
    async fn read_beside<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        read: impl FnOnce(&dyn DBDrv) -> Result<T, DbError> + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit), Failure> {
        let db = self.sender.db.clone();
        let reading = async {
            let place = places.clone().acquire_owned().await.map_err(|_| Failure::Bug)?;
            // The permit goes with the reading, which ends even when nobody waits for it any more.
            let reading = tokio::task::spawn_blocking(move || Ok((read(db.as_ref())?, place)));
            reading.await.map_err(|_| Failure::Bug)?.map_err(<Failure as From<DbError>>::from)
        };
        within_time(reading).await?
    }

    async fn health(&self) -> Response {
        #[derive(Serialize)]
        struct Health {
            status: &'static str,
            sending: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<String>,
        }
        let answers = self.read(|db| db.ping()).await;
        let trouble = match answers {
            Ok(()) => self.sender.trouble(),
            Err(failure) => Some(failure.into_sentence()),
        };
        let sending = self.sender.running();
        match trouble {
            None => reply::json(&Health { status: "ok", sending, error: None }),
            error => {
                let mut response = Response::from(Failure::Unavailable(String::new()));
                let body = reply::json(&Health { status: "failing", sending, error });
                *response.body_mut() = body.into_body();
                response
            }
        }
    }
}

/// The answer of the recorder, in time.
async fn answered<T>(receiver: oneshot::Receiver<Result<T, DbError>>) -> Result<T, Failure> {
    // The recorder drops what it can't do any more when it ends.
    within_time(receiver).await?.map_err(|_| Failure::from(Refusal::Closing))?.map_err(Failure::from)
}

async fn within_time<T>(answer: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .map_err(|_| Failure::Unavailable("the database takes too long; a write may still happen".into()))
}

/// The body of the calls that name one notification.
fn id(body: &[u8]) -> Result<Id, Failure> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        id: Option<String>,
    }
    let Named { id } = json::object(body).map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok(Id::new(id.unwrap_or_default())?)
}

/// The body of the clearing calls. Only an integer literal will do: `1.0` or
/// `"1"` is more likely a mistake than a time.
fn before(body: &[u8]) -> Result<Timestamp, Failure> {
    #[derive(Deserialize)]
    struct Before<'a> {
        #[serde(borrow, default)]
        before: Option<&'a RawValue>,
    }
    let Before { before } = json::object(body).map_err(|error| Failure::Invalid(error.to_string()))?;
    let before =
        before.ok_or_else(|| Failure::Invalid("\"before\" is missing: a Unix time in seconds".into()))?;
    before
        .get()
        .parse()
        .map(Timestamp::from_secs)
        .map_err(|_| Failure::Invalid("\"before\" must be a JSON integer: a Unix time in seconds".into()))
}
