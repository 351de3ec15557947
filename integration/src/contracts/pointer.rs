//! Places in a document.

use std::fmt;

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(String);

impl Pointer {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes a pointer as written, such as `/components/schemas/GameId`.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The member or element below this place.
    #[must_use]
    pub fn child(&self, name: impl fmt::Display) -> Self {
        let name = name.to_string().replace('~', "~0").replace('/', "~1");
        Self(format!("{}/{name}", self.0))
    }

    /// The place that a local reference such as `#/components/schemas/GameId` names.
    pub fn of_reference(reference: &str) -> Option<Self> {
        reference.strip_prefix('#').filter(|rest| rest.starts_with('/')).map(Self::new)
    }

    /// This place as a local reference.
    pub fn to_reference(&self) -> String {
        // Braces are legal in a pointer (path templates) and not in a URI's fragment.
        format!("#{}", self.0.replace('{', "%7B").replace('}', "%7D"))
    }

    /// The pointer's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name on the way, as written in the pointer.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
