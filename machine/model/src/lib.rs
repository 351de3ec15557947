//! The lifecycle in every interleaving.
//!
//! A [`system::System`] is a `stateright` model of processes, store, engine, Runtime Manager,
//! streams, an administrator and a clock. It has no rules of its own: every decision is the
//! production `machine::step`, every commit is checked by the production `machine::check_commit`.
//! [`configs`] bound what may go wrong, [`properties`] say what must hold, [`variants`] do one rule
//! wrong at a time and must be found out, [`report`] tells how.

pub mod act;
pub mod action;
pub mod bag;
pub mod canonical;
pub mod catalog;
pub mod check;
pub mod configs;
pub mod decide;
pub mod event;
pub mod mix;
mod neighbours;
pub mod observe;
mod possible;
mod process;
pub mod properties;
pub mod record;
mod relay;
pub mod report;
pub mod resolve;
pub mod rule;
pub mod state;
pub mod system;
pub mod table;
pub mod variants;
