//! Lists: all pages of them, as one.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::Client;
use super::output::{self, Format, note};
use super::{EXIT_FAILURE, Failure};

/// The most items that are asked for at once.
const LARGEST_PAGE: usize = 200;
/// The most pages that are followed, whatever they hold.
const MAX_PAGES: usize = 1_000;
/// The most items that are read where nothing is said: what fits a memory and a screen.
pub(super) const MAX_ITEMS: u32 = 10_000;

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// The items of a list, as they came.
pub(super) struct Items {
    items: Vec<Box<RawValue>>,
}

/// Reads up to `limit` items.
pub(super) async fn read_all(
    client: &Client,
    path: &[&str],
    filter: &[(&str, &str)],
    limit: usize,
) -> Result<Items, Failure> {
    let mut items: Vec<Box<RawValue>> = vec![];
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let size = limit.saturating_sub(items.len()).min(LARGEST_PAGE).to_string();
        let mut query = filter.to_vec();
        query.push(("limit", &size));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Page = client.read(path, &query).await?.parse()?;
        items.extend(page.items);
        let more = page.next_cursor.is_some();
        if items.len() >= limit || !more {
            let cut = items.len() > limit || more;
            items.truncate(limit);
            if cut {
                note(&format_args!("there are more than these {limit}; see --limit"));
            }
            return Ok(Items { items });
        }
        if page.next_cursor == cursor {
            return Err(Failure::new(EXIT_FAILURE, "the list goes round in a circle".into()));
        }
        cursor = page.next_cursor;
    }
    Err(Failure::new(EXIT_FAILURE, format!("the list has more than {MAX_PAGES} pages")))
}

impl Items {
    /// One JSON array, or what `table` makes of the items.
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        format: Format,
        table: impl FnOnce(Vec<T>) -> String,
    ) -> Result<String, Failure> {
        if format == Format::Json {
            return output::json(&self.items);
        }
        let parsed: Result<Vec<T>, _> =
            self.items.iter().map(|item| serde_json::from_str(item.get())).collect();
        let items = parsed.map_err(|error| {
            let why = output::plain(&error.to_string());
            Failure::new(EXIT_FAILURE, format!("Game Master's answer cannot be read: {why}"))
        })?;
        Ok(table(items))
    }
}
