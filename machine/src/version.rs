//! Engine versions and image references.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::InvalidValue;

/// A released engine version: `major.minor.patch`, with an optional pre-release tag.
///
/// Build metadata is refused: semver gives it no precedence, so two versions that differ in it alone
/// could not be told apart (Semantic Versioning 2.0.0, item 10).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineVersion(semver::Version);

/// Longest version text, in bytes.
pub const MAX_VERSION_BYTES: usize = 64;

impl EngineVersion {
    /// Whether a running game may be moved from this version to `other` in place: the same
    /// `major.minor`. A lower patch is a rollback and allowed.
    pub fn can_be_patched_to(&self, other: &Self) -> bool {
        self.0.major == other.0.major && self.0.minor == other.0.minor
    }
}

impl FromStr for EngineVersion {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem| InvalidValue { what: "engine version", problem };
        if text.len() > MAX_VERSION_BYTES {
            return Err(invalid("must be 64 bytes at most"));
        }
        let version = semver::Version::parse(text)
            .map_err(|_| invalid("must be a semantic version such as 1.4.2"))?;
        if !version.build.is_empty() {
            return Err(invalid("must not carry build metadata"));
        }
        Ok(Self(version))
    }
}

impl TryFrom<String> for EngineVersion {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<EngineVersion> for String {
    fn from(version: EngineVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A container image reference with an explicit tag or digest, such as
/// `registry.example/galaxy/engine:1.4.2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef(String);

/// Longest image reference, in bytes: a repository name of 255 with a tag of 128 and a digest.
pub const MAX_IMAGE_REF_BYTES: usize = 512;

impl ImageRef {
    /// The reference as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |problem| InvalidValue { what: "image_ref", problem };
        if text.len() > MAX_IMAGE_REF_BYTES {
            return Err(invalid("must be 512 bytes at most"));
        }
        let reference = text
            .parse::<oci_spec::distribution::Reference>()
            .map_err(|_| invalid("must be a container image reference"))?;
        // The library lower-cases nothing and lets `UPPER/x` pass; registries refuse it.
        if reference.repository().chars().any(|c| c.is_ascii_uppercase()) {
            return Err(invalid("must have a lower-case repository path"));
        }
        // The library supplies `latest` where the text names nothing: a version must not float.
        let name_end = text.rsplit('/').next().unwrap_or(text);
        if !name_end.contains(':') && !text.contains('@') {
            return Err(invalid("must name a tag or a digest"));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for ImageRef {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_patch_number_may_change_in_place() {
        let v = |t: &str| t.parse::<EngineVersion>().expect("valid");
        for (from, to, allowed) in [
            ("1.2.3", "1.2.4", true),
            ("1.2.3", "1.2.0", true),
            ("1.2.3", "1.2.3", true),
            ("1.2.3", "1.2.4-rc.1", true),
            ("1.2.3", "1.3.3", false),
            ("1.2.3", "2.2.3", false),
            ("1.2.3", "0.2.3", false),
        ] {
            assert_eq!(v(from).can_be_patched_to(&v(to)), allowed, "{from} to {to}");
        }
    }

    #[test]
    fn versions_are_strict() {
        for bad in ["", "v1.2.3", "1.2", "01.2.3", " 1.2.3", "1.2.3+b", "1.2.99999999999999999999"]
        {
            assert!(bad.parse::<EngineVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn image_references_name_what_they_mean() {
        let digest = format!("galaxy/engine@sha256:{}", "a".repeat(64));
        for good in ["engine:1.0.0", "registry.example:5000/galaxy/engine:1.4.2-rc1", &digest] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        let long_tag = format!("x:{}", "t".repeat(129));
        for bad in [
            "",
            "x:",
            "../x:1",
            "http://x/y:1",
            "a b:1",
            "x:1\n",
            "galaxy/ENGINE:1",
            "UPPER/x:1",
            &long_tag,
            "x@sha256:abc",
            "engine",
            "registry.example:5000/galaxy/engine",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }
}
