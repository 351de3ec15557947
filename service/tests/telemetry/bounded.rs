//! Whatever callers send, the number of series stays what it was.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use service::telemetry::TelemetrySettings;

use crate::world::{Client, World};

const REQUESTS: u64 = 20_000;
const SOCKETS: u64 = 4;

/// The names and labels of all lines that are not comments.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| line.rsplit_once(' ').expect("a name and a value").0.to_owned());
    let all: Vec<String> = names.collect();
    let distinct: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "no series twice");
    distinct
}

/// Numbers that look random and are the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.next() % choices.len() as u64).expect("small")]
    }

    fn word(&mut self) -> String {
        format!("{:x}", self.next())
    }

    fn request(&mut self) -> String {
        let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "BREW", "OPTIONS"];
        let method = match self.next() % 10 {
            0 => format!("M{}", self.word()),
            _ => self.of(&methods).to_owned(),
        };
        let word = self.word();
        let internal = "/api/v1/internal";
        let path = match self.next() % 12 {
            0 => format!("/{word}"),
            1 => format!("{internal}/{word}/{}", self.word()),
            2 => format!("{internal}/runtimes/{word}"),
            3 => format!("{internal}/games/{word}/commands"),
            4 => format!("{internal}/games/{word}/reports/{}", self.next()),
            5 => format!("{internal}/engine-versions/{}.{}.0", self.next() % 99, self.next() % 99),
            6 => format!("{internal}/runtimes?status={word}&cursor={}", self.word()),
            7 => format!("{internal}/games/%{word}/liveness"),
            8 => format!("{internal}/games/{word}/memberships/invalidate"),
            9 => format!("/metrics?{word}={word}"),
            10 => format!("/healthz/{word}"),
            _ => "/healthz".into(),
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {word}\r\n");
        let names = ["X-Request-Id", "X-User-Id", "X-Galaxy-Caller", "traceparent", "User-Agent"];
        for _ in 0..self.next() % 3 {
            let name = self.of(&names);
            // Writing to a string does not fail.
            let _ = write!(request, "{name}: {}\r\n", self.word());
        }
        if self.next().is_multiple_of(3) {
            let _ = write!(request, "X-{}: {word}\r\n", self.word());
        }
        let body =
            if self.next().is_multiple_of(4) { format!("{{\"{word}\":1}}") } else { String::new() };
        let _ = write!(request, "Content-Length: {}\r\n\r\n{body}", body.len());
        request
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_makes_a_series() {
    let world = World::start(TelemetrySettings::default()).await;
    let before = series(&world.metrics().await);
    let senders: Vec<_> = (0..SOCKETS)
        .map(|seed| {
            let addr = world.addr;
            tokio::spawn(async move {
                let mut numbers = Numbers(seed);
                let mut client = Client::connect(addr).await;
                let mut answered = 0;
                for _ in 0..REQUESTS / SOCKETS {
                    match client.ask(&numbers.request()).await {
                        Some(_) => answered += 1,
                        None => client = Client::connect(addr).await,
                    }
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for sender in senders {
        answered += sender.await.expect("no panic");
    }
    assert!(answered > REQUESTS * 9 / 10, "only {answered} answers");
    let after = world.metrics().await;
    assert_eq!(series(&after), before);
    let counted: u64 = after
        .lines()
        .filter(|line| line.starts_with("gamemaster_http_requests_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum();
    assert!(counted >= answered, "{counted} counted of {answered}");
    for (operation, code) in [("none", "404"), ("none", "405")] {
        let name =
            format!("gamemaster_http_requests_total{{operation=\"{operation}\",code=\"{code}\"}} ");
        let line = after.lines().find_map(|line| line.strip_prefix(&*name)).expect("a series");
        assert_ne!(line, "0", "{name}");
    }
    world.stop().await;
}
