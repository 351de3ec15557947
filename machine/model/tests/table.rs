//! The transition table of the documentation is what `step` does.

use model::table;

#[test]
fn the_table_of_the_documentation_is_fresh() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let there = std::fs::read_to_string(format!("{root}{}", table::PATH)).expect("the table");
    let fresh = table::document().expect("the constants are valid");
    assert!(there == fresh, "{} is stale: run `cargo run -p model -- table`", table::PATH);
}
