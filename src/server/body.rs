//! Request bodies: read within a limit, a time and the memory there is.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::{
    Buf,
    http::{HeaderMap, header},
};

/// How long a body may take, from its head to its end.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Memory is taken in portions of this many bytes while a body of unknown length comes in.
const PORTION: usize = 16 << 10;

/// A whole body, and its share of the memory budget.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

/// Why there is no whole body.
pub(super) enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// All memory for payloads is in use.
    NoMemory,
    /// It took too long, or broke off.
    Incomplete,
}

/// The length that the head tells.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<Body, BodyError> {
    let announced = match announced_length(headers) {
        Some(length) if length > limit as u64 => return Err(BodyError::TooLarge),
        Some(length) => length as usize,
        None => 0,
    };
    let mut memory = Memory { budget, taken: None };
    memory.take(announced)?;
    let mut bytes = Vec::with_capacity(announced);
    let reading = async {
        let mut stream = pin!(stream);
        while let Some(part) = stream.next().await {
            let mut part = part.map_err(|_| BodyError::Incomplete)?;
            if bytes.len() + part.remaining() > limit {
                return Err(BodyError::TooLarge);
            }
            let taken = memory.take(bytes.len() + part.remaining())?;
            // A vector that grows by itself would take twice as much.
            bytes.reserve_exact(taken - bytes.len());
            while part.has_remaining() {
                bytes.extend_from_slice(part.chunk());
                part.advance(part.chunk().len());
            }
        }
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, reading).await.map_err(|_| BodyError::Incomplete)??;
    Ok(Body { bytes, memory: memory.taken })
}

/// What a body takes of the budget.
struct Memory<'a> {
    budget: &'a Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Memory<'_> {
    /// Sees to it that at least so many bytes are taken; returns how many are.
    fn take(&mut self, bytes: usize) -> Result<usize, BodyError> {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= taken {
            return Ok(taken);
        }
        let more = if taken == 0 { bytes } else { (bytes - taken).next_multiple_of(PORTION) };
        let more = u32::try_from(more).map_err(|_| BodyError::NoMemory)?;
        let more = self.budget.clone().try_acquire_many_owned(more).map_err(|_| BodyError::NoMemory)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits))
    }
}
