//! One connection, from its acceptance to its end.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use io::{Io, Stream};
pub(super) use pulse::Pulse;
use pulse::Verdict;

mod io;
mod pulse;

/// The largest head of a request, and with it the most that a connection holds of a body or an answer that
/// it couldn't pass on yet. A client that sends a longer head gets a 431.
const BUFFER: usize = 64 * 1024;

/// Serves the requests that come in on `socket`, until either side has had enough.
pub(super) async fn serve<S, B>(socket: TcpStream, tls: Option<TlsAcceptor>, service: S, pulse: Arc<Pulse>)
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut watch = Watch::new(pulse.clone());
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(socket),
        Some(tls) => match watch.over(tls.accept(socket)).await {
            Some(Ok(stream)) => Box::new(stream),
            Some(Err(error)) => return debug!("TLS handshake failed: {error}"),
            None => return debug!("TLS handshake not finished in time"),
        },
    };

    let requests = pulse.clone();
    let service = service_fn(move |request| {
        let served = requests.request();
        let answer = service.call(request);
        async move { answer.await.map(|answer| answer.map(|body| Answer { body, _served: served })) }
    });
    let mut http = http1::Builder::new()
        // A client may end its side as soon as it has sent its request, as `nc -N` does, and wait for the answer.
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Io::new(stream, pulse)), service);

    let mut finishing = false;
    let ended = poll_fn(|cx| {
        loop {
            // First, so that a request that has just arrived wins over an order or a deadline.
            if let Poll::Ready(ended) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            match watch.poll(cx) {
                Verdict::Close => return Poll::Ready(None),
                Verdict::Finish if !finishing => {
                    finishing = true;
                    Pin::new(&mut http).graceful_shutdown();
                }
                Verdict::Finish | Verdict::Until(_) => return Poll::Pending,
            }
        }
    })
    .await;

    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!("connection ended: {error}"),
        None => {
            let mut io = Some(http.into_parts().io.into_inner());
            poll_fn(|cx| Poll::Ready(io.take().map(|io| io.part(cx)))).await;
        }
    }
}

/// Watches a connection's orders and its deadline, with one timer.
struct Watch {
    pulse: Arc<Pulse>,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(pulse: Arc<Pulse>) -> Watch {
        let sleep = Box::pin(sleep_until(tokio::time::Instant::now()));
        Watch { pulse, sleep }
    }

    /// The verdict of now; the task is woken when it changes. `Close` also when a deadline has passed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Verdict {
        let verdict = self.pulse.verdict(cx.waker());
        if let Verdict::Until(Some(deadline)) = verdict {
            if self.sleep.deadline() != deadline {
                self.sleep.as_mut().reset(deadline);
            }
            if self.sleep.as_mut().poll(cx).is_ready() {
                return Verdict::Close;
            }
        }
        verdict
    }

    /// What `future` gives, or nothing if the connection has to be closed before.
    async fn over<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.poll(cx) == Verdict::Close => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// The body of an answer; hyper drops it when it has taken all of it.
struct Answer<B> {
    body: B,
    _served: pulse::Request,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
