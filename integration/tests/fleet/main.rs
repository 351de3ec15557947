//! Several `gamemaster serve` on one PostgreSQL and one Redis: what one is told the others know, and
//! whoever dies, freezes or is restarted costs no turn and no message, and doubles none.

#![expect(clippy::expect_used, reason = "helpers of tests are tests")]

mod rig;
mod scenarios;
