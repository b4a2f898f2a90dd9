//! What a mail server answers: a code and lines of text.

use std::{
    fmt,
    io::{self, Read},
};

/// Bytes a line may have; RFC 5321 asks for 512.
const MAX_LINE_BYTES: usize = 4096;

/// Bytes a whole reply may have.
const MAX_REPLY_BYTES: usize = 64 * 1024;

/// A reply; [`Display`](fmt::Display) is its text as the server sent it, without the last line break.
#[derive(Debug)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    /// Done.
    pub(super) fn is_positive(&self) -> bool {
        matches!(self.code, 200..300)
    }

    /// Go on.
    pub(super) fn is_intermediate(&self) -> bool {
        matches!(self.code, 300..400)
    }

    /// Never, as it stands.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self.code, 500..600)
    }

    /// What follows the code, line by line.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.get(4..).unwrap_or(""))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// Splits a stream of bytes into replies.
#[derive(Default)]
pub(super) struct ReplyReader {
    /// Read, but not part of a reply yet.
    ahead: Vec<u8>,
}

impl ReplyReader {
    /// Whether nothing was read ahead.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Reads one reply. An end before its end is [`io::ErrorKind::UnexpectedEof`],
    /// what is no reply [`io::ErrorKind::InvalidData`].
    pub(super) fn read(&mut self, stream: &mut impl Read) -> io::Result<Reply> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            let line = self.read_line(stream)?;
            bytes += line.len();
            if bytes > MAX_REPLY_BYTES {
                return Err(invalid("it is too long"));
            }
            let (code, is_last) = parse(&line)
                .ok_or_else(|| invalid(&format!("it is {}", line.replace(char::is_control, " "))))?;
            lines.push(line);
            if is_last {
                return Ok(Reply { code, lines });
            }
        }
    }

    fn read_line(&mut self, stream: &mut impl Read) -> io::Result<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.ahead[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            searched = self.ahead.len();
            if searched > MAX_LINE_BYTES {
                return Err(invalid("a line of it is too long"));
            }
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.ahead.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The code, and whether this is the last line.
fn parse(line: &str) -> Option<(u16, bool)> {
    let code = line.get(..3)?;
    if !matches!(code.as_bytes(), [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
        return None;
    }
    let is_last = match line.as_bytes().get(3) {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    Some((code.parse().ok()?, is_last))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
