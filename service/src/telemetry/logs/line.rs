//! An event as one line. What comes from outside can say what it likes in it, but can neither end
//! it nor talk to the terminal.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::sink::Sink;
use crate::ports::Clock;

/// Longest text of a field, in characters; the rest is cut off.
const MAX_FIELD_CHARS: usize = 2048;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// An object.
    Json,
    /// For people.
    Pretty {
        /// Whether levels are coloured.
        colours: bool,
    },
}

/// Turns events into lines: the fields of the spans around them, the outermost first, and their
/// own. Where two have the same name, the innermost counts.
pub struct Lines {
    style: Style,
    sink: Sink,
    clock: Arc<dyn Clock>,
}

impl Lines {
    /// Lines of a style into a sink.
    pub fn new(style: Style, sink: Sink, clock: Arc<dyn Clock>) -> Self {
        Self { style, sink, clock }
    }

    fn line(&self, level: Level, target: &str, message: &str, fields: &Fields) -> String {
        let at = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        match self.style {
            Style::Json => json(&at, level, target, message, fields),
            Style::Pretty { colours } => pretty(&at, level, target, message, fields, colours),
        }
    }

    fn notice(&self, dropped: u64) -> String {
        let mut fields = Fields::default();
        fields.set("lines", dropped.into());
        self.line(Level::WARN, module_path!(), "log lines were dropped", &fields)
    }
}

/// What an event or a span says.
#[derive(Clone, Debug, Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
    }

    fn extend(&mut self, other: &Self) {
        for (name, value) in &other.fields {
            self.set(name, value.clone());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut all = Fields::default();
        for span in cx.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                all.extend(fields);
            }
        }
        event.record(&mut all);
        let message = std::mem::take(&mut all.message);
        let metadata = event.metadata();
        let line = self.line(*metadata.level(), metadata.target(), &message, &all);
        self.sink.write(line, |dropped| self.notice(dropped));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), cut(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = Limited::text(value);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.set(field.name(), text.into());
        }
    }
}

fn cut(text: &str) -> String {
    // No text has more characters than bytes.
    if text.len() <= MAX_FIELD_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_FIELD_CHARS).collect()
}

/// The beginning of what something says of itself, without ever holding the rest.
struct Limited {
    text: String,
    left: usize,
}

impl Limited {
    fn text(value: &dyn fmt::Debug) -> String {
        let mut limited = Self { text: String::new(), left: MAX_FIELD_CHARS };
        // An error says that it is full.
        let _ = write!(limited, "{value:?}");
        limited.text
    }
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // No text has more characters than bytes.
        if text.len() <= self.left {
            self.left -= text.chars().count();
            self.text.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

fn json(at: &str, level: Level, target: &str, message: &str, fields: &Fields) -> String {
    let mut object = Map::new();
    for (name, value) in &fields.fields {
        object.insert((*name).into(), value.clone());
    }
    // Last, so that no field can take their place.
    for (name, value) in
        [("timestamp", at), ("level", level.as_str()), ("target", target), ("message", message)]
    {
        object.insert(name.into(), value.into());
    }
    let mut line = Value::Object(object).to_string();
    line.push('\n');
    line
}

fn pretty(
    at: &str,
    level: Level,
    target: &str,
    message: &str,
    fields: &Fields,
    colours: bool,
) -> String {
    let colour = match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    };
    let (on, off) = match colours {
        true => (format!("\x1b[{colour}m"), "\x1b[0m"),
        false => (String::new(), ""),
    };
    let mut line = format!("{at} {on}{level:>5}{off} {target}: ");
    escape(&mut line, message);
    for (name, value) in &fields.fields {
        // Writing to a string does not fail.
        let _ = write!(line, " {name}=");
        match value {
            Value::String(text) if is_plain(text) => line.push_str(text),
            Value::String(text) => {
                let _ = write!(line, "{text:?}");
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let _ = write!(line, "{value}");
            }
        }
    }
    line.push('\n');
    line
}

/// Whether a text needs no quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

/// Quotes stay, whatever a terminal would not show as itself does not.
fn escape(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\'' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
    }
}
