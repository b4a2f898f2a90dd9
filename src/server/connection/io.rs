//! The bytes of a connection, watched.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;

/// What is dropped in one go while closing, in bytes.
const DROP_AT_ONCE: usize = 16 * 1024;

/// A stream of bytes to and from a client. One type for TCP and TLS, so that all the code of hyper is there once;
/// the indirection is nothing beside a system call.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that tells its [`Pulse`] what goes on, and that closes in such a way that the last answer arrives.
pub(super) struct Io {
    stream: Box<dyn Stream>,
    pulse: Arc<Pulse>,
    /// The client was told that nothing more comes.
    shut: bool,
}

impl Io {
    pub(super) fn new(stream: Box<dyn Stream>, pulse: Arc<Pulse>) -> Io {
        Io { stream, pulse, shut: false }
    }

    /// Says goodbye (TLS has a message for that) as far as it can be done without waiting.
    pub(super) fn part(mut self, cx: &mut Context<'_>) {
        if !self.shut {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.pulse.read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pulse.wrote(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pulse.wrote(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => self.pulse.flushed(),
            Poll::Pending => self.pulse.wrote(false),
        }
        flushed
    }

    /// hyper calls this once everything is written. Closing a socket on which unread bytes wait or arrive makes
    /// the kernel reset the connection, and the client may lose the answer that it got: a 413 for instance,
    /// which is sent while the client is still busy sending. So we end our side, and read and drop what comes
    /// until the client has ended its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.pulse.closing();
        if !this.shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.shut = true;
        }
        let mut room = [MaybeUninit::uninit(); DROP_AT_ONCE];
        loop {
            let mut buf = ReadBuf::uninit(&mut room);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => return Poll::Ready(Ok(())),
                Ok(()) if this.pulse.dropped(buf.filled().len()) => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
