//! Where Redis is.

use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;

/// The highest number of a database that is taken.
const MAX_DB: u32 = 65_535;

/// `redis://[[user]:password@]host:port[/db]`. Shown without the password.
///
/// In the user and the password everything but letters, digits and `-._~!$&'()*+,;=` is written
/// as `%XX`.
#[derive(Clone)]
pub struct RedisUrl {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<SecretString>,
    db: u32,
}

/// Not the URL of a Redis. Says what is wrong, and repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRedisUrl(&'static str);

impl RedisUrl {
    /// A name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user, where it is not the default one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password.
    pub fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// The number of the database.
    pub fn db(&self) -> u32 {
        self.db
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, db, .. } = self;
        if host.contains(':') {
            write!(f, "redis://[{host}]:{port}/{db}")
        } else {
            write!(f, "redis://{host}:{port}/{db}")
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl FromStr for RedisUrl {
    type Err = BadRedisUrl;

    fn from_str(text: &str) -> Result<Self, BadRedisUrl> {
        if text.starts_with("rediss://") {
            return Err(BadRedisUrl("TLS is not spoken: must be redis://host:port"));
        }
        let rest = text.strip_prefix("redis://").ok_or(BadRedisUrl(
            "must be redis://host:port, with [user]:password@ before the host if need be",
        ))?;
        let (authority, db) = match rest.split_once('/') {
            Some((authority, "")) => (authority, 0),
            Some((authority, db)) => (authority, database(db)?),
            None => (rest, 0),
        };
        let (credentials, server) = match authority.split_once('@') {
            Some((credentials, server)) => (Some(credentials), server),
            None => (None, authority),
        };
        let (user, password) = match credentials {
            None => (None, None),
            Some(credentials) => {
                let (user, password) = credentials
                    .split_once(':')
                    .ok_or(BadRedisUrl("a colon stands before the password"))?;
                let (user, password) = (decoded(user)?, decoded(password)?);
                if password.is_empty() {
                    return Err(BadRedisUrl("the password is empty"));
                }
                (Some(user).filter(|user| !user.is_empty()), Some(password.into()))
            }
        };
        let (host, port) = server.rsplit_once(':').ok_or(BadRedisUrl("the port is missing"))?;
        Ok(Self { host: checked_host(host)?, port: checked_port(port)?, user, password, db })
    }
}

fn database(text: &str) -> Result<u32, BadRedisUrl> {
    let db = digits(text).filter(|db| *db <= MAX_DB);
    db.ok_or(BadRedisUrl("what follows the port must be the number of a database"))
}

fn checked_port(text: &str) -> Result<u16, BadRedisUrl> {
    let port = digits(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or(BadRedisUrl("the port must be a number from 1 to 65535"))
}

/// Digits only: `parse` would also take a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn checked_host(text: &str) -> Result<String, BadRedisUrl> {
    let bad = BadRedisUrl("the host must be a name, an IPv4 address or an IPv6 one in brackets");
    if let Some(address) = text.strip_prefix('[') {
        let address: std::net::Ipv6Addr =
            address.strip_suffix(']').and_then(|address| address.parse().ok()).ok_or(bad)?;
        return Ok(address.to_string());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        return Err(bad);
    }
    Ok(text.to_owned())
}

fn decoded(text: &str) -> Result<String, BadRedisUrl> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = pair else {
                    return Err(BadRedisUrl("after % in user and password come two hex digits"));
                };
                plain.push(high * 16 + low);
            }
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) => {
                plain.push(byte);
            }
            _ => return Err(BadRedisUrl("some characters of user and password must be %XX")),
        }
    }
    String::from_utf8(plain).map_err(|_| BadRedisUrl("user and password must be UTF-8"))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn reads_what_it_should() {
        let read = |text: &str| {
            let url: RedisUrl = text.parse().expect("a URL");
            let password = url.password().map(|p| p.expose_secret().to_owned());
            (url.to_string(), url.user().map(str::to_owned), password)
        };
        let plain = |shown: &str| (shown.to_owned(), None, None);
        assert_eq!(read("redis://redis:6379"), plain("redis://redis:6379/0"));
        assert_eq!(read("redis://127.0.0.1:1/"), plain("redis://127.0.0.1:1/0"));
        assert_eq!(read("redis://[::1]:65535/15"), plain("redis://[::1]:65535/15"));
        let shown = "redis://a.b:6379/2".to_owned();
        let secret = read("redis://:s%40%2F%c3%bc+;@a.b:6379/2");
        assert_eq!(secret, (shown.clone(), None, Some("s@/ü+;".into())));
        let secret = read("redis://gm:geheim@a.b:6379/2");
        assert_eq!(secret, (shown, Some("gm".into()), Some("geheim".into())));
    }

    #[test]
    fn refuses_everything_else_without_repeating_it() {
        for text in [
            "",
            "redis:6379",
            "http://redis:6379",
            "rediss://:geheim@redis:6379",
            "redis://:geheim@redis",
            "redis://:geheim@redis:",
            "redis://:geheim@redis:0",
            "redis://:geheim@redis:+1",
            "redis://:geheim@redis:65536",
            "redis://:geheim@:6379",
            "redis://:geheim@re dis:6379",
            "redis://:geheim@redis:6379/one",
            "redis://:geheim@redis:6379/-1",
            "redis://:geheim@redis:6379/99999",
            "redis://:geheim@redis:6379/0/0",
            "redis://:geheim@redis:6379/0?a=b",
            "redis://:geheim@redis:6379#a",
            "redis://:geheim@[::1:6379",
            "redis://:geheim@::1:6379",
            "redis://geheim@redis:6379",
            "redis://:@redis:6379",
            "redis://@redis:6379",
            "redis://:geheim@geheim@redis:6379",
            "redis://:geheim:geheim@redis:6379",
            "redis://:geheim%4@redis:6379",
            "redis://:geheim%+1@redis:6379",
            "redis://:geheim%ff@redis:6379",
            "redis://:geheim\r\n@redis:6379",
        ] {
            let error = text.parse::<RedisUrl>().expect_err(text);
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }

    #[test]
    fn never_shows_the_password() {
        let url: RedisUrl = "redis://gm:geheim@redis:6379/1".parse().expect("a URL");
        let shown = format!("{url} {url:?} {url:#?}");
        assert!(!shown.contains("geheim") && shown.contains("redis:6379"), "{shown}");
    }
}
