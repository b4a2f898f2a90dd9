//! Files of variables, in the format of systemd's `EnvironmentFile=`, so that a file means
//! the same whoever reads it.
//!
//! A value is taken as it is: nothing in it is expanded, `$` and `` ` `` are ordinary
//! characters. It may be quoted, in whole or in parts; a backslash takes the character after
//! it literally, and at the end of a line goes on with the next one.

use std::{
    fs::File,
    io::{self, Read},
    iter::Peekable,
    path::Path,
    str::CharIndices,
};

/// Far more than anybody writes.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// Names and values, each name once.
    pub(crate) variables: Vec<(String, String)>,
    /// What is most likely not meant, one sentence each, without any value.
    pub(crate) doubts: Vec<String>,
}

impl EnvFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is something else.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than a file of variables can be, 1 MiB"));
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(Self::parse(&text)),
            _ => Err(io::Error::other("it is no UTF-8 text")),
        }
    }

    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut reader = Reader { text, chars: text.char_indices().peekable(), file: Self::default() };
        while reader.entry() {}
        reader.file
    }

    fn set(&mut self, name: String, value: String) {
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => {
                self.doubts.push(format!("{name} is there twice, the last one counts"));
                *old = value;
            }
            None => self.variables.push((name, value)),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    file: EnvFile,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.chars.next_if(|(_, c)| is_skipped(*c)).is_some() {}
    }

    /// An entry, a comment, or what is neither; returns whether there was something.
    fn entry(&mut self) -> bool {
        self.skip(is_space);
        let Some((start, first)) = self.chars.peek().copied() else { return false };
        let line = self.text[..start].matches('\n').count() + 1;
        if matches!(first, '#' | ';') {
            self.skip(|c| !is_break(c));
            if self.text[start..self.position()].ends_with('\\') {
                self.file.doubts.push(format!(
                    "the comment in line {line} ends with a backslash: to systemd before 254 the next line is a \
                     comment, too"
                ));
            }
            return true;
        }
        // Also if that is a `=`.
        self.next();
        self.skip(|c| c != '=' && !is_break(c));
        let name = self.text[start..self.position()].trim_end_matches(is_space).to_owned();
        let has_value = self.next() == Some('=');
        let value = if has_value { self.value(line) } else { String::new() };
        // What stands there instead of a name may be a part of a secret.
        match has_value && is_name(&name) {
            true => self.file.set(name, value),
            false => self
                .file
                .doubts
                .push(format!("line {line} means nothing: it takes NAME=VALUE, or a # before a comment")),
        }
        true
    }

    /// Where in the text the next character stands.
    fn position(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(position, _)| *position)
    }

    /// Quoted parts, and then what is not.
    fn value(&mut self, line: usize) -> String {
        let mut value = String::new();
        loop {
            self.skip(|c| is_space(c) && !is_break(c));
            let is_closed = match self.chars.next_if(|(_, c)| matches!(c, '\'' | '"')) {
                Some((_, '"')) => self.double_quoted(&mut value),
                Some(_) => self.single_quoted(&mut value),
                None => {
                    self.unquoted(&mut value);
                    return value;
                }
            };
            if !is_closed {
                self.file.doubts.push(format!("the quote in line {line} doesn't end"));
            }
        }
    }

    fn single_quoted(&mut self, value: &mut String) -> bool {
        while let Some(c) = self.next() {
            match c {
                '\'' => return true,
                c => value.push(c),
            }
        }
        false
    }

    fn double_quoted(&mut self, value: &mut String) -> bool {
        while let Some(c) = self.next() {
            match c {
                '"' => return true,
                '\\' => match self.next() {
                    Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                    Some('\n') | None => {}
                    Some(c) => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
        false
    }

    /// To the end of the line. Quotes are ordinary characters here, and space at the end
    /// counts only with a backslash.
    fn unquoted(&mut self, value: &mut String) {
        let mut kept = value.len();
        while let Some(c) = self.next() {
            match c {
                c if is_break(c) => break,
                '\\' => {
                    value.extend(self.next().filter(|c| !is_break(*c)));
                    kept = value.len();
                }
                c => {
                    value.push(c);
                    if !is_space(c) {
                        kept = value.len();
                    }
                }
            }
        }
        value.truncate(kept);
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn variables(text: &str) -> Vec<(String, String)> {
        EnvFile::parse(text).variables
    }

    #[test]
    fn values() {
        for (written, value) in [
            ("", ""),
            ("  ", ""),
            ("plain", "plain"),
            (" two words \t", "two words"),
            ("pa$$w0rd${HOME}`id`$(id)", "pa$$w0rd${HOME}`id`$(id)"),
            ("a#b;c", "a#b;c"),
            ("a=b", "a=b"),
            ("it's", "it's"),
            ("say \"hi\"", "say \"hi\""),
            (r"a\b", "ab"),
            (r"a\\b", r"a\b"),
            (r"\ a\ ", " a "),
            ("a \\\n b", "a  b"),
            ("a \\\n", "a "),
            ("a\\", "a"),
            ("'a b '", "a b "),
            (r"'a\'", r"a\"),
            ("'$x`y`\\n'", "$x`y`\\n"),
            ("'two\nlines'", "two\nlines"),
            ("\"a 'b' \"", "a 'b' "),
            (r#""\"\\\`\$""#, r#""\`$"#),
            (r#""\a\'""#, r"\a\'"),
            ("\"a\\\nb\"", "ab"),
            ("\"# no comment\"", "# no comment"),
            ("\"a\"'b'", "ab"),
            ("\"a \" 'b '", "a b "),
            ("\"a \" b ", "a b"),
            ("'a' b\"c\"", "ab\"c\""),
            ("\"\"", ""),
        ] {
            let text = format!("X={written}");
            for ending in ["", "\n", "\nY=1\n"] {
                if written.ends_with('\\') && !ending.is_empty() {
                    continue;
                }
                let text = format!("{text}{ending}");
                let expected = [("X", value), ("Y", "1")].map(|(name, value)| (name.into(), value.into()));
                let count = if ending.contains('Y') { 2 } else { 1 };
                if written.ends_with("\\\n") && count == 2 {
                    continue;
                }
                assert_eq!(variables(&text), expected[..count], "{text:?}");
            }
        }
    }

    #[test]
    fn lines() {
        let text = "\u{20}\n# comment\n; X=0\n\tX = 1 \r\nY=2\r\nX_FILE=a\\\nb\n\n  # Z=3";
        let expected = [("X", "1"), ("Y", "2"), ("X_FILE", "ab")];
        assert_eq!(variables(text), expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(EnvFile::parse(text).doubts, [""; 0]);
    }

    #[test]
    fn what_is_doubtful_is_told_without_its_content() {
        for (text, variable, doubt) in [
            ("hush\nX=1", Some("1"), "line 1 means nothing"),
            ("\n\nexport X=hush", None, "line 3 means nothing"),
            ("X Y=hush", None, "line 1 means nothing"),
            ("1X=hush", None, "line 1 means nothing"),
            ("=hush\nX=1", Some("1"), "line 1 means nothing"),
            ("='hush\nX=1", Some("1"), "line 1 means nothing"),
            ("\u{feff}X=hush", None, "line 1 means nothing"),
            ("X=1\nX=2", Some("2"), "X is there twice"),
            ("\nX='hu\nsh", Some("hu\nsh"), "the quote in line 2 doesn't end"),
            ("X=\"hush\\", Some("hush"), "the quote in line 1 doesn't end"),
            ("# hush\\\nX=1", Some("1"), "the comment in line 1 ends with a backslash"),
        ] {
            let file = EnvFile::parse(text);
            assert_eq!(file.variables.first().map(|(_, value)| value.as_str()), variable, "{text:?}");
            let [told] = &file.doubts[..] else { panic!("{text:?}: {:?}", file.doubts) };
            assert!(told.starts_with(doubt) && !told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        for content in [&b"X=\xff"[..], b"X=\0", &b"#".repeat((1 << 20) + 1)] {
            std::fs::write(&path, content).unwrap();
            EnvFile::read(&path).unwrap_err();
        }
        std::fs::write(&path, b"#".repeat(1 << 20)).unwrap();
        assert_eq!(EnvFile::read(&path).unwrap(), EnvFile::default());
        assert!(EnvFile::read(directory.path()).is_err());
    }
}
