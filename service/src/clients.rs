//! The neighbours over HTTP: adapters of the peer ports.

mod engine;
mod guard;
mod json;
mod lobby;
mod rtm;

pub use engine::{EngineLimits, HttpEngine};
pub use guard::EngineNetworks;
pub use lobby::HttpLobby;
pub use rtm::HttpRtm;
