//! A disk in memory that loses power, fails and fills up on demand.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::conformance::Rng;

/// What a disk writes at once, or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a loss of power leaves for certain.
    durable: Vec<u8>,
    /// What is read back.
    current: Vec<u8>,
    /// What was done since the last sync: on a loss of power, any part of it may be kept.
    pending: Vec<Access>,
    /// How many writes were confirmed to the caller of the store.
    confirmed: usize,
    /// How many accesses from now the power goes, and the seed of what is kept.
    power: Option<(u64, u64)>,
    /// What the loss of power left, and how much was confirmed then.
    image: Option<(Vec<u8>, usize)>,
    /// How many accesses from now one fails, and all after it.
    fails_in: Option<u64>,
    full: bool,
    syncs: usize,
    syncs_fail: bool,
}

#[derive(Clone, Debug)]
enum Access {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn lose_power_at(&self, access: u64, seed: u64) {
        self.state().power = Some((access, seed));
    }

    pub(super) fn confirm(&self) {
        self.state().confirmed += 1;
    }

    /// The disk after the loss of power, where there was one.
    pub(super) fn image(&self) -> Option<(Self, usize)> {
        let (bytes, confirmed) = self.state().image.take()?;
        let state = State { durable: bytes.clone(), current: bytes, ..State::default() };
        Some((Self(Arc::new(Mutex::new(state))), confirmed))
    }

    pub(super) fn fail_access(&self, access: u64) {
        self.state().fails_in = Some(access);
    }

    pub(super) fn fail_syncs(&self) {
        self.state().syncs_fail = true;
    }

    pub(super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(super) fn fill_up(&self) {
        self.state().full = true;
    }

    pub(super) fn repair(&self) {
        let mut state = self.state();
        state.fails_in = None;
        state.syncs_fail = false;
        state.full = false;
    }
}

impl State {
    /// Before every access that changes something.
    fn access(&mut self) -> io::Result<()> {
        if let Some((left, seed)) = self.power {
            self.power = left.checked_sub(1).map(|left| (left, seed));
            if left == 0 {
                self.image = Some((self.after_power_loss(&mut Rng::new(seed)), self.confirmed));
            }
        }
        if let Some(left) = self.fails_in {
            self.fails_in = Some(left.saturating_sub(1));
            if left <= 1 {
                return Err(io::Error::other("injected"));
            }
        }
        Ok(())
    }

    /// Any of what was not synced is kept, whole or up to some sector, in no order.
    fn after_power_loss(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let whole_percent = rng.pick(&[0, 50, 90, 100]).copied().unwrap_or(100);
        for access in &self.pending {
            match access {
                Access::SetLen(_) => apply(&mut bytes, access),
                Access::Write(offset, data) => {
                    let sectors = data.len() / SECTOR_BYTES;
                    let kept = if rng.percent(whole_percent) {
                        data.len()
                    } else {
                        rng.below_usize(sectors + 1) * SECTOR_BYTES
                    };
                    let kept = data.get(..kept).unwrap_or_default().to_vec();
                    apply(&mut bytes, &Access::Write(*offset, kept));
                }
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, access: &Access) {
    match access {
        Access::SetLen(len) => bytes.resize(*len, 0),
        Access::Write(offset, data) => {
            if let Some(place) = bytes.get_mut(*offset..*offset + data.len()) {
                place.copy_from_slice(data);
            }
        }
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.state().current.len()).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, offset) = (self.state(), place(offset)?);
        let found = state.current.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.access()?;
        let access = Access::SetLen(place(len)?);
        if state.full && place(len)? > state.current.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        apply(&mut state.current, &access);
        state.pending.push(access);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.access()?;
        if state.syncs_fail {
            return Err(io::Error::other("injected"));
        }
        state.syncs += 1;
        let pending = std::mem::take(&mut state.pending);
        for access in &pending {
            apply(&mut state.durable, access);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.access()?;
        let access = Access::Write(place(offset)?, data.to_vec());
        apply(&mut state.current, &access);
        state.pending.push(access);
        Ok(())
    }
}
