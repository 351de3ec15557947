//! The messages of the run against their schemas.

use std::collections::{BTreeMap, BTreeSet};

use integration::contracts::Document;
use serde_json::Value;
use service::ports::Entry;

/// Every message fits, and every message that is documented for Game Master was sent.
pub(crate) fn all_fit(told: &BTreeMap<String, Vec<Entry>>) {
    for (document, stream, discriminator) in [
        (Document::RuntimeEvents, "gm:lobby_events", "event_type"),
        (Document::NotificationIntents, "notification:intents", "notification_type"),
    ] {
        let contract = document.load().expect("the contract");
        let messages = contract.messages().expect("messages");
        let mut sent = BTreeSet::new();
        for entry in told.get(stream).expect("a stream") {
            let message: Value = serde_json::from_slice(&entry.payload).expect("JSON");
            let name = message[discriminator].as_str().expect("a name").to_owned();
            let validator = contract.message_validator(&name);
            let validator = validator.unwrap_or_else(|error| panic!("{error}: {message}"));
            let wrong: Vec<String> =
                validator.iter_errors(&message).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{stream}: {message}\n{wrong:#?}");
            sent.insert(name);
        }
        let documented: BTreeSet<String> = messages
            .into_iter()
            .filter(|message| message.address == stream && is_ours(&message.name))
            .map(|message| message.name)
            .collect();
        assert_eq!(sent, documented, "{stream}");
    }
}

/// `notification:intents` has other producers.
fn is_ours(name: &str) -> bool {
    !name.starts_with("lobby.")
}
