//! The running service against its contract: every operation, with success and with each status and
//! each error code that is documented, every answer held against its schema; and every message on
//! the streams held against its own.
//!
//! It fails when an answer does not fit, when an answer comes that is not documented, and when
//! something documented is never reached: what nobody can reach is not documented, or is named in
//! [`OUT_OF_REACH`] with the reason.

#![expect(clippy::expect_used, clippy::panic, reason = "failed expectations of a test")]

mod broken;
mod call;
mod neighbour;
mod streams;
mod walk;
mod world;

use std::collections::BTreeSet;

use integration::contracts;

use self::world::World;

/// An operation, a status, and the error code where it is an error.
type Case = (String, u16, String);

/// What no caller can bring about.
const OUT_OF_REACH: [(&str, u16, &str, &str); 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_as_documented() {
    let world = World::start().await;
    walk::everything(&world).await;
    let (seen, told) = world.end().await;

    let documented = documented();
    let undocumented: Vec<_> = seen.difference(&documented).collect();
    assert!(undocumented.is_empty(), "answered, but not documented: {undocumented:#?}");
    let never: Vec<_> = documented.difference(&seen).filter(|case| !out_of_reach(case)).collect();
    assert!(never.is_empty(), "documented, but never reached ({}): {never:#?}", never.len());
    for (id, status, code, why) in OUT_OF_REACH {
        let case = (id.to_owned(), status, code.to_owned());
        assert!(documented.contains(&case), "{case:?} is not documented ({why})");
    }
    streams::all_fit(&told);
    println!("{} cases of {} documented were reached", seen.len(), documented.len());
}

fn out_of_reach(case: &Case) -> bool {
    OUT_OF_REACH
        .iter()
        .any(|(id, status, code, _)| *case == ((*id).into(), *status, (*code).into()))
}

/// Every case in the contract.
fn documented() -> BTreeSet<Case> {
    let contract = contracts::openapi().expect("the contract");
    let mut cases = BTreeSet::new();
    for operation in contract.operations().expect("operations") {
        for (status, response) in operation.responses {
            if response.codes.is_empty() {
                cases.insert((operation.id.clone(), status, String::new()));
            }
            let codes = response.codes.into_iter();
            cases.extend(codes.map(|code| (operation.id.clone(), status, code)));
        }
    }
    cases
}
