//! The client of the Mesos v1 scheduler HTTP API.
//!
//! [`Client::subscribe`] opens the stream of [`Events`] and gives the [`Connection`] that calls are made with. This
//! room knows HTTP, RecordIO framing, leaders and credentials; it does not know what events mean, and it does not
//! subscribe again by itself: whoever drives it (`runtime`) decides that, with [`Client::connect`] and [`Backoff`].
//! The messages are in `wire`. Bodies are never logged, since they can carry secrets.
//!
//! The rules are those of `docs/scheduler-http-api.md` of Apache Mesos, checked against a real master: the content
//! type must be exactly `application/json`, an accepted call says nothing about its outcome, and refusals that come
//! after the answer's head (a framework that was removed) arrive as an ERROR event on a 200 stream.

mod address;
mod backoff;
mod client;
mod credentials;
mod events;
pub mod recordio;

pub use address::{AddressError, Masters};
pub use backoff::Backoff;
pub use client::{Attempt, CallError, Client, Connection, SubscribeError};
pub use credentials::{Credentials, CredentialsError};
pub use events::{Events, StreamEnd};

#[cfg(test)]
mod tests;
