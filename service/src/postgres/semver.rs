//! The order of versions as the order of bytes, so that an index can hold it.

use std::fmt::Write;

use machine::EngineVersion;

/// A text that sorts, byte by byte, where the version sorts by its precedence (Semantic Versioning
/// 2.0.0, item 11): numbers by their value, a release above its pre-releases, numeric identifiers
/// below the others, and fewer identifiers below more. Every identifier ends in a blank, which sorts
/// below every character that an identifier may have.
pub(super) fn sort_key(version: &EngineVersion) -> String {
    let text = version.to_string();
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text.as_str(), None),
    };
    let mut key = String::new();
    for number in core.split('.') {
        push_number(&mut key, number);
    }
    match pre {
        None => key.push('~'),
        Some(pre) => {
            for identifier in pre.split('.') {
                if identifier.bytes().all(|b| b.is_ascii_digit()) {
                    key.push('0');
                    push_number(&mut key, identifier);
                } else {
                    key.push('1');
                    key.push_str(identifier);
                    key.push(' ');
                }
            }
        }
    }
    key
}

/// A number without leading zeros: the longer one is the greater.
fn push_number(key: &mut String, digits: &str) {
    let _ = write!(key, "{:02}{digits} ", digits.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = EngineVersion> {
        let text = r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,2})\.(0|[1-9])(-(0|[1-9][0-9]{0,2}|[a-bA-B0-9-]{0,2}[a-z-])(\.(0|[1-9][0-9]?|[a-b0-9-]?[a-b-])){0,2})?";
        proptest::string::string_regex(text)
            .expect("a pattern")
            .prop_filter_map("not every such text is a version", |text| text.parse().ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 4_000, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn keys_sort_as_versions_do(a in version(), b in version()) {
            prop_assert_eq!(sort_key(&a).cmp(&sort_key(&b)), a.cmp(&b), "{} and {}", a, b);
        }
    }

    #[test]
    fn the_example_of_the_standard_is_in_order() {
        let texts = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "1.10.0",
            "18446744073709551615.0.0",
        ];
        let keys: Vec<String> =
            texts.iter().map(|text| sort_key(&text.parse().expect("a version"))).collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }
}
