//! A PostgreSQL for the simulation: a server that speaks to the production adapter over the network
//! seam, and answers what the real one with our schema would.
//!
//! ```text
//!   service::postgres ──▶ tokio-postgres ──▶ Net ──▶ wire ──▶ statement, request ──▶ session
//!                                                    codec    by its exact text       locks, faults
//!                                                                                        │
//!                                                     tables ◀── commit, versions,        ┘
//!                                                                outbox, attendance
//! ```
//!
//! It is no database. It knows the statements that the adapter sends, by every letter of them;
//! whatever else it is sent it refuses (42601) and quotes, so that an adapter that changed shows at
//! once. What the functions of the schema do is written down a second time, in Rust, close to the
//! SQL; a test sends the same to a real server and compares every row.
//!
//! Its faults are data: a [`Conduct`] says how it behaves, a [`Strike`] happens once. Everything by
//! lot is drawn from the seed of the [`Database`]; there is no clock but tokio's. tokio-postgres
//! names its statements from a counter of the process, so that two lives are the same to the byte in
//! two processes, not in one.
//!
//! What is as in PostgreSQL: a statement is a transaction, all of it or nothing; locks on rows and
//! on keys about to be inserted, kept to the end, granted in the order of the line, bounded by
//! `lock_timeout` and `statement_timeout`, with a look for deadlocks after a second; numbers drawn
//! from sequences are used up by what is rolled back; a claim is looked at before it is waited for;
//! a client that goes away does not stop its statement.
//!
//! What is not modelled:
//!
//! - a transaction of more than one statement: the adapter has none. A statement commits when it is
//!   executed, not with the `Sync` after it;
//! - snapshots: a statement reads and writes the tables at one instant, that of its commit. Two that
//!   would meet in rows of the outbox (other than those of the channels) come one after the other
//!   there instead of waiting for each other;
//! - constraints one by one: a record that its rules refuse is refused as one that breaks a check
//!   (23514); names, keys and payloads are refused by their types when they are read;
//! - the loss of anything committed, such as by a replica that takes over without its last
//!   transactions; a full disk; replication itself;
//! - authentication, TLS, cancelling, text format, cursors, and the migrations: a database is born
//!   migrated;
//! - the digest of the roster in the document of a record, which nobody reads.

mod attendance;
mod commit;
mod document;
mod faults;
mod locks;
mod outbox;
mod refusal;
mod request;
mod server;
mod session;
mod statement;
mod tables;
mod value;
mod versions;
mod wire;

pub use self::commit::Answer;
pub use self::document::{Asked, Member};
pub use self::faults::{Conduct, Held, Refuses, Span, Strike};
pub use self::server::{Database, Server};
pub use self::statement::texts as statements;
pub use self::tables::Message;
