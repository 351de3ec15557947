//! Taking a race out of a game: no column of the table, for the record does not change.

use machine::{BanishCall, Rejection, Runtime, Status, banish};

use crate::common::parse;
use crate::common::records::{
    But, failed, failed_for_good, failed_probing, finished, force_probing, recovering, running,
    starting, stopped, turn, unreachable, unreachable_probing, verifying,
};

fn asks_the_engine(rt: &Runtime) {
    let asked = BanishCall { endpoint: parse("http://engine-1:8080"), race: parse("Martians") };
    assert_eq!(banish(Some(rt), &parse("Martians")), Ok(asked), "{:?}", rt.life);
    assert_eq!(
        banish(Some(rt), &parse("Venusians")),
        Err(Rejection::RaceNotFound),
        "nobody plays that race: {:?}",
        rt.life
    );
}

fn refused(rt: &Runtime, status: Status) {
    for race in ["Martians", "Venusians"] {
        let expected = Err(Rejection::NotRunning(status));
        assert_eq!(banish(Some(rt), &parse(race)), expected, "{:?}", rt.life);
    }
}

#[test]
fn the_engine_is_asked_while_one_is_believed_to_be_there() {
    let well = [running(), turn(), recovering(), force_probing()];
    let failed = [failed(), failed_probing(), failed_for_good()];
    for rt in well.into_iter().chain(failed) {
        asks_the_engine(&rt);
        asks_the_engine(&rt.stopping());
    }
    asks_the_engine(&running().patching());
    asks_the_engine(&turn().draining());
}

#[test]
fn without_an_engine_it_is_refused() {
    refused(&starting(), Status::Starting);
    refused(&verifying(), Status::Starting);
    refused(&unreachable(), Status::EngineUnreachable);
    refused(&unreachable_probing(), Status::EngineUnreachable);
    refused(&unreachable().patching(), Status::EngineUnreachable);
    refused(&stopped(), Status::Stopped);
    refused(&finished(), Status::Finished);
}

#[test]
fn without_a_record_there_is_nothing_to_take_a_race_out_of() {
    assert_eq!(banish(None, &parse("Martians")), Err(Rejection::NotFound));
}

#[test]
fn a_race_is_known_by_its_exact_name() {
    for other in ["martians", "MARTIANS", "Martian", "Martians2"] {
        assert_eq!(banish(Some(&running()), &parse(other)), Err(Rejection::RaceNotFound));
    }
}
