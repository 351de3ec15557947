//! The documented rules are the rules.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

const PAGE: &str = "docs/checking-neighbours.md";
const BEGIN: &str = "<!-- rules: written by the test `kit` with UPDATE_DOCS=1 -->\n";
const END: &str = "<!-- end of rules -->\n";

#[test]
fn the_documented_rules_are_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the mark where the rules begin");
    let (documented, after) = rest.split_once(END).expect("the mark where the rules end");
    let mut rules = String::new();
    for (whose, table) in service::kit::rules() {
        write!(rules, "\n### {whose}\n\n{}", service::kit::markdown(table))
            .expect("a string grows");
    }
    rules.push('\n');
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{before}{BEGIN}{rules}{END}{after}");
        std::fs::write(&path, page).expect("the page is written");
    } else {
        assert_eq!(documented, rules, "{PAGE} is out of date: run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn every_rule_has_a_name_of_its_own_and_whole_sentences() {
    let mut names = BTreeSet::new();
    for rule in service::kit::rules().iter().flat_map(|(_, rules)| *rules) {
        assert!(names.insert(rule.id), "{} is there twice", rule.id);
        let letters = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_');
        assert!(rule.id.chars().all(letters), "{}", rule.id);
        for sentence in [rule.holds, rule.why] {
            assert!(sentence.ends_with(['.', ')']) && !sentence.contains('|'), "{sentence}");
        }
    }
    assert!(names.len() > 60);
}
