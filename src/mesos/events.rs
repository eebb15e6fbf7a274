//! The stream of events of one subscription.

use super::recordio::{Decoder, RecordIoError};
use crate::http;
use crate::wire::{Event, EventType};
use std::time::Duration;
use tokio::time::Instant;

/// What a master sends when it does not say otherwise.
const DEFAULT_HEARTBEAT_SECONDS: f64 = 15.0;
/// A stream that is silent for so many heartbeats is dead; what Mesos' own library takes.
const MISSED_HEARTBEATS: u32 = 5;

/// The events of one subscription, in order, beginning with SUBSCRIBED. Heartbeats are watched here and not handed
/// out. Dropping this closes the stream, and the master then takes the framework to be disconnected.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    decoder: Decoder,
    /// Read ahead by [`Events::first`].
    peeked: Option<Event>,
    silence: Duration,
    deadline: Instant,
}

/// Why a stream gave its last event. The framework must subscribe again, except after [`StreamEnd::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The master said so: `Framework has been removed`, `Framework failed over` (another process subscribed with
    /// the same id), or a fault in what was subscribed.
    #[error("the master ended the subscription: {0}")]
    Error(String),
    /// The master, or something between, closed the connection.
    #[error("the master closed the event stream")]
    Closed,
    /// The connection broke.
    #[error("the event stream broke: {0}")]
    Broken(String),
    /// No heartbeat for too long.
    #[error("no heartbeat from the master for {} s", .0.as_secs())]
    Silent(Duration),
    /// The other side does not speak the protocol.
    #[error("the event stream cannot be understood: {0}")]
    Malformed(#[from] RecordIoError),
}

impl Events {
    pub(super) fn new(response: reqwest::Response) -> Self {
        let silence = silence_allowed(DEFAULT_HEARTBEAT_SECONDS);
        Self { response, decoder: Decoder::new(), peeked: None, silence, deadline: Instant::now() + silence }
    }

    /// The next event that is not a heartbeat. An event that cannot be read is skipped with a warning: the master
    /// repeats what matters, while ending the stream would lose everything, again and again. Cancel-safe: an
    /// event is either returned or still there for the next call.
    pub async fn next(&mut self) -> Result<Event, StreamEnd> {
        if let Some(event) = self.peeked.take() {
            return Ok(event);
        }
        loop {
            while let Some(record) = self.decoder.next_record()? {
                if let Some(event) = self.accept(&record)? {
                    return Ok(event);
                }
            }
            match tokio::time::timeout_at(self.deadline, self.response.chunk()).await {
                Err(_) => return Err(StreamEnd::Silent(self.silence)),
                Ok(Err(error)) => return Err(StreamEnd::Broken(http::explain(&error))),
                Ok(Ok(None)) => return Err(StreamEnd::Closed),
                Ok(Ok(Some(bytes))) => {
                    self.deadline = Instant::now() + self.silence;
                    self.decoder.push(&bytes);
                }
            }
        }
    }

    /// Waits for the first event without taking it.
    pub(super) async fn first(&mut self) -> Result<&Event, StreamEnd> {
        let event = self.next().await?;
        Ok(self.peeked.insert(event))
    }

    /// One record: an event for the caller, nothing, or the end.
    fn accept(&mut self, record: &[u8]) -> Result<Option<Event>, StreamEnd> {
        let event: Event = match serde_json::from_slice(record) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, bytes = record.len(), "skipped an event that cannot be read");
                return Ok(None);
            }
        };
        match event.r#type {
            EventType::Heartbeat => return Ok(None),
            EventType::Error => {
                let text = event.error.map(|body| body.message).unwrap_or_default();
                return Err(StreamEnd::Error(text));
            }
            EventType::Subscribed => {
                let subscribed = event.subscribed.as_ref();
                if let Some(seconds) = subscribed.and_then(|body| body.heartbeat_interval_seconds) {
                    self.silence = silence_allowed(seconds);
                    self.deadline = Instant::now() + self.silence;
                }
            }
            _ => {}
        }
        tracing::debug!(kind = ?event.r#type, "event");
        Ok(Some(event))
    }
}

/// How long a stream may be silent at this heartbeat interval. Intervals that make no sense count as the default.
fn silence_allowed(interval_seconds: f64) -> Duration {
    Duration::try_from_secs_f64(interval_seconds)
        .ok()
        .filter(|interval| !interval.is_zero() && *interval < Duration::from_hours(1))
        .unwrap_or(Duration::from_secs_f64(DEFAULT_HEARTBEAT_SECONDS))
        * MISSED_HEARTBEATS
}
