//! One secret in one of its disguises.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};

/// Below that many characters of base64 it is no secret that is found but chance.
const MIN_BASE64: usize = 4;

/// A sequence of characters, each of which can be spelled in several ways.
pub(super) struct Pattern {
    characters: Vec<Vec<Spelling>>,
    /// The bytes that a match can begin with.
    first: [bool; 256],
    /// A part of something longer that is encoded as a whole, and unreadable as one.
    is_base64: bool,
}

/// One way to write a character.
struct Spelling {
    bytes: Vec<u8>,
    /// Hexadecimal digits and names may have either case.
    in_any_case: bool,
}

impl Pattern {
    /// All disguises of a secret.
    pub(super) fn all_of(secret: &str) -> Vec<Self> {
        if secret.is_empty() {
            return Vec::new();
        }
        let plain = Self::new(secret.chars().map(spellings).collect(), false);
        let base64 = (0..3)
            .map(|offset| base64_at(secret.as_bytes(), offset))
            .filter(|text| text.len() >= MIN_BASE64)
            .map(|text| Self::new(text.chars().map(base64_spellings).collect(), true));
        std::iter::once(plain).chain(base64).collect()
    }

    fn new(characters: Vec<Vec<Spelling>>, is_base64: bool) -> Self {
        let mut first = [false; 256];
        for spelling in characters.first().into_iter().flatten() {
            let byte = spelling.bytes[0];
            first[usize::from(byte)] = true;
            if spelling.in_any_case {
                first[usize::from(byte.to_ascii_lowercase())] = true;
                first[usize::from(byte.to_ascii_uppercase())] = true;
            }
        }
        Self { characters, first, is_base64 }
    }

    /// Where it stands in a text; also where its first `min_cut` characters or
    /// more stand at the very end.
    pub(super) fn find(&self, text: &[u8], min_cut: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut start = 0;
        while start < text.len() {
            match self.first[usize::from(text[start])].then(|| self.end(text, start, min_cut)).flatten() {
                Some(end) if self.is_base64 => {
                    let (from, to) = whole_run(text, start, end);
                    found.push((from, to));
                    start = to;
                }
                Some(end) => {
                    found.push((start, end));
                    start = end;
                }
                None => start += 1,
            }
        }
        found
    }

    /// Where a match that begins at `start` ends.
    fn end(&self, text: &[u8], start: usize, min_cut: usize) -> Option<usize> {
        // A text may be read in several ways ("%25" is itself, or a "%"): all
        // of them are followed at once.
        let mut ends = vec![start];
        let mut next = Vec::new();
        for (matched, spellings) in self.characters.iter().enumerate() {
            let mut is_cut = false;
            for &end in &ends {
                is_cut |= end == text.len();
                for spelling in spellings {
                    let rest = &text[end..];
                    if spelling.begins(rest) {
                        next.push(end + spelling.bytes.len());
                    } else if spelling.is_cut_off(rest) {
                        is_cut = true;
                    }
                }
            }
            if is_cut && matched >= min_cut {
                return Some(text.len());
            }
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut ends, &mut next);
            next.clear();
            if ends.is_empty() {
                return None;
            }
        }
        ends.last().copied()
    }
}

impl Spelling {
    fn exact(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), in_any_case: false }
    }

    fn in_any_case(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), in_any_case: true }
    }

    fn begins(&self, text: &[u8]) -> bool {
        text.get(..self.bytes.len()).is_some_and(|begin| self.is(&self.bytes, begin))
    }

    /// Whether the text ends within this.
    fn is_cut_off(&self, text: &[u8]) -> bool {
        !text.is_empty()
            && self
                .bytes
                .get(..text.len())
                .is_some_and(|begin| begin.len() < self.bytes.len() && self.is(begin, text))
    }

    fn is(&self, bytes: &[u8], text: &[u8]) -> bool {
        if self.in_any_case { bytes.eq_ignore_ascii_case(text) } else { bytes == text }
    }
}

/// How a character is written by URLs, JSON and HTML.
fn spellings(character: char) -> Vec<Spelling> {
    let literal = character.to_string();
    let percent: String = literal.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut units = [0; 2];
    let json: String =
        character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    let code = u32::from(character);
    let mut spellings = vec![
        Spelling::in_any_case(percent),
        Spelling::in_any_case(json),
        Spelling::in_any_case(format!("&#{code};")),
        Spelling::in_any_case(format!("&#x{code:x};")),
        Spelling::exact(literal),
    ];
    match character {
        ' ' => spellings.push(Spelling::exact("+")),
        '"' => spellings.extend([Spelling::exact("\\\""), Spelling::in_any_case("&quot;")]),
        '\\' => spellings.push(Spelling::exact("\\\\")),
        '/' => spellings.push(Spelling::exact("\\/")),
        '&' => spellings.push(Spelling::in_any_case("&amp;")),
        '<' => spellings.push(Spelling::in_any_case("&lt;")),
        '>' => spellings.push(Spelling::in_any_case("&gt;")),
        '\'' => spellings.push(Spelling::in_any_case("&apos;")),
        _ => {}
    }
    spellings
}

/// How a character of base64 is written, by those that have no `+` and `/` too.
fn base64_spellings(character: char) -> Vec<Spelling> {
    let mut spellings = spellings(character);
    match character {
        '+' => spellings.push(Spelling::exact("-")),
        '/' => spellings.push(Spelling::exact("_")),
        _ => {}
    }
    spellings
}

/// What `bytes` always looks like in base64 if `offset` bytes (modulo three)
/// stand before it: without the characters at either end that depend on its neighbours.
fn base64_at(bytes: &[u8], offset: usize) -> String {
    let text = BASE64_STANDARD_NO_PAD.encode([&vec![0; offset][..], bytes].concat());
    let begin = (offset * 8).div_ceil(6);
    let end = (offset + bytes.len()) * 8 / 6;
    text.get(begin..end).unwrap_or_default().to_owned()
}

/// The base64 around a match: what is left of it would tell some bits of the secret's ends.
fn whole_run(text: &[u8], start: usize, end: usize) -> (usize, usize) {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = text[..start].iter().rev().take_while(|byte| is_base64(byte)).count();
    let after = text[end..].iter().take_while(|byte| is_base64(byte)).count();
    (start - before, end + after)
}
