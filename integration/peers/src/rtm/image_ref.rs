//! Image references: `[host[:port]/]path[:tag][@sha256:digest]`, as far as a start job needs them.

/// Longest reference taken.
pub const MAX_IMAGE_REF_BYTES: usize = 512;

/// Whether `text` is an image reference.
pub fn is_image_ref(text: &str) -> bool {
    if text.len() > MAX_IMAGE_REF_BYTES {
        return false;
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if !digest.is_none_or(is_digest) {
        return false;
    }
    // A colon after the last slash starts a tag; one before it belongs to the host's port.
    let path_at = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[path_at..].find(':') {
        Some(colon) => (&name[..path_at + colon], Some(&name[path_at + colon + 1..])),
        None => (name, None),
    };
    if !tag.is_none_or(is_tag) {
        return false;
    }
    match name.split_once('/') {
        Some((first, rest)) if is_host(first) => rest.split('/').all(is_component),
        Some(_) | None => name.split('/').all(is_component),
    }
}

/// What makes a first component a host: a dot, a port, or being `localhost`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    is_name && is_port && (port.is_some() || host.contains('.') || host == "localhost")
}

/// Lower-case words joined by single separators.
fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || b"._-".contains(byte))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_references_from_other_text() {
        let digest = format!("galaxy/game@sha256:{}", "a".repeat(64));
        for good in [
            "engine",
            "galaxy/game:1.2.3",
            "registry.example.com:5000/galaxy/game:1.2.3-rc1",
            "localhost/game",
            "localhost:5000/game",
            digest.as_str(),
        ] {
            assert!(is_image_ref(good), "{good}");
        }
        for bad in [
            "",
            "Galaxy/game",
            "galaxy//game",
            "galaxy/game:",
            "galaxy/game: 1",
            "/game",
            "game/",
            "a b",
            "host:port/game",
            "game@sha256:abc",
            "game@md5:00",
            "-game",
        ] {
            assert!(!is_image_ref(bad), "{bad}");
        }
        assert!(!is_image_ref(&"a".repeat(MAX_IMAGE_REF_BYTES + 1)));
    }
}
