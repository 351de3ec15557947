//! Carrying out effects: a call to a neighbour in, its outcome as an event out.

use std::sync::Arc;

use machine::{Call, Effect, Event};

use crate::ports::{EngineApi, RtmApi};

/// The neighbours that effects go to.
pub struct Effects {
    /// The engines.
    pub engine: Arc<dyn EngineApi>,
    /// Runtime Manager.
    pub rtm: Arc<dyn RtmApi>,
}

impl Effects {
    /// Makes the call. Every adapter bounds its calls in time, so that this ends.
    pub async fn carry_out(&self, effect: &Effect) -> Event {
        let ticket = effect.ticket;
        match &effect.call {
            Call::Init { endpoint, races } => {
                Event::InitDone(ticket, self.engine.init(endpoint, races).await)
            }
            Call::Turn { endpoint, expected_turn } => {
                Event::TurnDone(ticket, self.engine.turn(endpoint, *expected_turn).await)
            }
            Call::Probe { endpoint } => {
                Event::ProbeDone(ticket, self.engine.status(endpoint).await)
            }
            Call::Stop { reason } => {
                Event::StopDone(ticket, self.rtm.stop(&effect.game_id, reason).await)
            }
            Call::Patch { image_ref } => {
                Event::PatchDone(ticket, self.rtm.patch(&effect.game_id, image_ref).await)
            }
        }
    }
}
