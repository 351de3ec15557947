//! The wire form: requests are lists of texts, replies what they are.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest text of a request.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// The most texts of a request: a batch of the relay has two for each message.
const MAX_TEXTS: usize = 2_048;

/// An answer.
pub(super) enum Reply {
    Simple(&'static str),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    NilList,
    List(Vec<Reply>),
}

impl Reply {
    pub(super) fn bulk(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => out.extend(format!("+{text}\r\n").bytes()),
            Self::Error(text) => out.extend(format!("-{text}\r\n").bytes()),
            Self::Int(number) => out.extend(format!(":{number}\r\n").bytes()),
            Self::Bulk(bytes) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Self::Nil => out.extend(b"$-1\r\n"),
            Self::NilList => out.extend(b"*-1\r\n"),
            Self::List(replies) => {
                out.extend(format!("*{}\r\n", replies.len()).bytes());
                replies.iter().for_each(|reply| reply.encode(out));
            }
        }
    }
}

/// The next request; `None` where the other side is done.
pub(super) async fn read_request(
    reader: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = read_header(reader, b'*', MAX_TEXTS).await? else { return Ok(None) };
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(length) = read_header(reader, b'$', MAX_TEXT_BYTES).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut text = vec![0; length + 2];
        reader.read_exact(&mut text).await?;
        text.truncate(length);
        texts.push(text);
    }
    Ok(Some(texts))
}

async fn read_header(
    reader: &mut (impl AsyncBufRead + Unpin),
    kind: u8,
    max: usize,
) -> io::Result<Option<usize>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let digits = line.strip_prefix(&[kind]).and_then(|rest| rest.strip_suffix(b"\r\n"));
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let number = number.and_then(|digits| digits.parse().ok()).filter(|number| *number <= max);
    number.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
