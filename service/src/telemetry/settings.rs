//! What a deployment says of logs and traces.

use clap::{Args, ValueEnum};
use machine::EngineEndpoint;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// The collector; without one nothing is recorded.
    pub otlp_endpoint: Option<EngineEndpoint>,
    /// What the service is called there.
    pub service_name: String,
    /// Which share of the traces that begin here is recorded.
    pub sample_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { otlp_endpoint: None, service_name: "gamemaster".into(), sample_ratio: 1.0 }
    }
}

/// The groups LOGGING and TELEMETRY.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// How logs are written.
    #[command(flatten)]
    pub logging: LoggingArgs,

    /// The collector that traces are sent to, `http://host:port`, as OTLP (protobuf over HTTP);
    /// no traces are recorded where it is not set.
    #[arg(long, env = "GAMEMASTER_TELEMETRY_OTLP_ENDPOINT", value_name = "URL",
          value_parser = endpoint)]
    pub otlp_endpoint: Option<EngineEndpoint>,

    /// The name of the service in traces.
    #[arg(long = "telemetry-service-name", env = "GAMEMASTER_TELEMETRY_SERVICE_NAME",
          value_name = "NAME", default_value = "gamemaster", value_parser = service_name)]
    pub service_name: String,

    /// The share of traces begun here that is recorded, from 0 to 1; a caller that traces a request
    /// decides for itself.
    #[arg(long = "telemetry-sample-ratio", env = "GAMEMASTER_TELEMETRY_SAMPLE_RATIO",
          value_name = "SHARE", default_value = "1", value_parser = share)]
    pub sample_ratio: f64,
}

impl TelemetryArgs {
    /// Where traces go.
    pub fn settings(&self) -> TelemetrySettings {
        TelemetrySettings {
            otlp_endpoint: self.otlp_endpoint.clone(),
            service_name: self.service_name.clone(),
            sample_ratio: self.sample_ratio,
        }
    }
}

/// The group LOGGING.
#[derive(Args, Clone, Debug)]
pub struct LoggingArgs {
    /// How lines on standard error look; `auto`: for people on a terminal, JSON anywhere else.
    #[arg(long = "logging-format", env = "GAMEMASTER_LOGGING_FORMAT", default_value = "auto")]
    pub format: LogFormat,

    /// What is logged: a level, or levels by module, as in `info,service::workers=debug`.
    #[arg(long = "logging-filter", env = "GAMEMASTER_LOGGING_FILTER", value_name = "FILTER",
          default_value = "info", value_parser = filter)]
    pub filter: String,
}

impl LoggingArgs {
    /// What the variables say, for commands that have no such flags; what they say wrong counts as
    /// not said.
    pub fn from_environment(default_filter: &str) -> Self {
        let variable = |name| std::env::var(name).ok();
        let said = variable("GAMEMASTER_LOGGING_FORMAT");
        let format = said.and_then(|text| LogFormat::from_str(&text, false).ok());
        let said = variable("GAMEMASTER_LOGGING_FILTER");
        let said = said.filter(|text| filter(text).is_ok());
        Self {
            format: format.unwrap_or(LogFormat::Auto),
            filter: said.unwrap_or_else(|| default_filter.into()),
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON anywhere else.
    Auto,
    /// An object a line.
    Json,
    /// For people.
    Pretty,
}

fn endpoint(text: &str) -> Result<EngineEndpoint, String> {
    if cfg!(not(feature = "otlp")) {
        return Err("this program was built without the feature `otlp`".into());
    }
    text.trim_end_matches('/').parse().map_err(|_| "must be http://host:port".to_owned())
}

fn service_name(text: &str) -> Result<String, String> {
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_name { Ok(text.into()) } else { Err("must be 1 to 64 visible ASCII characters".into()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".into())
}

fn filter(text: &str) -> Result<String, String> {
    // The parser takes nothing at all, and any text without a sign for the name of a module.
    let is_said = !text.is_empty() && !text.contains(char::is_whitespace);
    let parsed = tracing_subscriber::EnvFilter::builder().parse(text);
    let parsed = parsed.ok().filter(|_| is_said);
    parsed.map(|_| text.to_owned()).ok_or_else(|| "must be a level, or levels by module".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(endpoint("http://127.0.0.1:4318/").is_ok());
        for bad in ["https://x:1", "x:1", "http://u:p@x:1", "http://x:1/v1/traces"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        assert_eq!(share("0.25"), Ok(0.25));
        for bad in ["-0.1", "1.1", "NaN", "inf", "much"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert!(filter("info,service::workers=debug").is_ok());
        for bad in ["service=loud", "", "no such thing"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
        assert!(service_name("a b").is_err());
    }
}
