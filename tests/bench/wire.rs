//! The little of HTTP/1.1 that the load generator and the sink need.

/// How long the message at the beginning of `bytes` is, head and body, once its head is complete.
pub(crate) fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(b"content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let digits = length.unwrap_or_default().trim_ascii();
    Some(head + digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

/// Whether an answer begins with a 200.
pub(crate) fn is_ok(answer: &[u8]) -> bool {
    answer.get(9..12) == Some(b"200")
}
