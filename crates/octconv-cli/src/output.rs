//! What is printed: results on standard output, errors and progress on standard error. Files are in `target.rs`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// The most characters of a name that are printed, and of an error.
const NAME: usize = 200;
const LINE: usize = 8000;

/// A name from outside, such as that of a file, as it may be printed: short, and without control characters.
pub fn shown(name: &str) -> String {
    let name = escaped(name, in_text);
    let count = name.chars().count();
    if count <= NAME {
        return name;
    }
    // The end of a path tells more than its middle.
    let (start, end) = (NAME / 2, NAME - 3 - NAME / 2);
    name.chars().take(start).chain("...".chars()).chain(name.chars().skip(count - end)).collect()
}

/// As [`shown`], for the path of a file.
pub fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// `text` as one line that may be printed.
pub fn one_line(text: &str) -> String {
    // Words become shorter, so more is looked at than is printed, but not all of a text without end.
    let end = text.char_indices().nth(8 * LINE).map_or(text.len(), |(end, _)| end);
    let (text, rest) = text.split_at(end);
    short(text.split_whitespace().map(shown).collect::<Vec<_>>().join(" "), rest.len())
}

/// `text` as lines that may be printed, with their spaces.
fn lines(text: &str) -> String {
    let line = |line: &str| line.split(' ').map(shown).collect::<Vec<_>>().join(" ");
    short(text.trim_end().split('\n').map(line).collect::<Vec<_>>().join("\n"), 0)
}

/// The start of a text that has so many bytes more.
fn short(text: String, more: usize) -> String {
    let end = text.char_indices().nth(LINE).map_or(text.len(), |(end, _)| end);
    match text.len() - end + more {
        0 => text,
        more => format!("{} ... and {more} bytes more", &text[..end]),
    }
}

/// `text` with other signs for the characters that a terminal obeys: control characters, and those that turn the
/// direction of writing round.
fn escaped(text: &str, escape: fn(char) -> String) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            escaped.push_str(&escape(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// As Rust writes it.
fn in_text(c: char) -> String {
    c.escape_default().to_string()
}

/// As JSON writes it. Ends of lines stand between values only.
fn in_json(c: char) -> String {
    if c == '\n' { c.into() } else { format!("\\u{:04x}", u32::from(c)) }
}

/// An error with its causes, in one line. A cause that the text before it states already is left out.
pub fn reason(error: &anyhow::Error) -> String {
    let mut reason = String::new();
    for cause in error.chain().map(|cause| one_line(&cause.to_string())) {
        if reason.is_empty() {
            reason = cause;
        } else if !reason.ends_with(&cause) {
            reason = format!("{reason}: {cause}");
        }
    }
    reason
}

/// Whether the error is that the reader of standard output has closed it.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(broken)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}

/// Writes to standard output. Control characters other than ends of lines are escaped.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let text = escaped(text, |c| if c == '\n' { c.into() } else { in_text(c) });
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("writing to standard output")
}

/// Writes one line to standard error. If that is closed, there is nobody to tell.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(text));
}

/// Writes lines to standard error, as [`tell`] does.
pub fn tell_lines(text: &str) {
    let _ = writeln!(io::stderr(), "{}", lines(text));
}

/// A bar on standard error.
pub fn progress(length: u64, template: &str) -> Result<ProgressBar> {
    let bar = ProgressBar::new(length);
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

/// One JSON value per line.
pub fn json_lines(rows: &[impl Serialize]) -> Result<String> {
    let mut lines = String::new();
    for row in rows {
        lines.push_str(&escaped(&serde_json::to_string(row)?, in_json));
        lines.push('\n');
    }
    Ok(lines)
}

/// Prints one JSON value.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&format!("{}\n", escaped(&serde_json::to_string_pretty(value)?, in_json)))
}

/// A number of things: "1 kernel", "2 kernels", "2 dispatches".
pub fn several(count: usize, thing: &str) -> String {
    let end = match (count, thing.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {thing}{end}")
}

/// 1234567 as 1,234,567.
pub fn thousands(value: u128) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0, 12, 123, 1234, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("a\nb\t\u{1b}[1m  c\r\n"), r"a b \u{1b}[1m c");
        let long = one_line(&"word ".repeat(9999));
        assert!(long.len() < LINE + 100 && long.ends_with(" ... and 41994 bytes more"), "{long}");
        // A word is made shorter, but what is behind it counts.
        let long = one_line(&"x".repeat(1_000_000));
        assert!(long.len() < 250 && long.ends_with("xxx ... and 936000 bytes more"), "{long}");
    }

    #[test]
    fn lines_keep_their_spaces() {
        assert_eq!(lines("error: a\r\u{1b}[1m\n\n  tip: b  c\n"), "error: a\\r\\u{1b}[1m\n\n  tip: b  c");
        let long = lines(&format!("error: '{}'\n\nUsage", "x".repeat(100_000)));
        assert!(long.len() < 250 && long.ends_with("xx'\n\nUsage"), "{long}");
        assert!(lines(&"word\n".repeat(9999)).len() < LINE + 100);
    }

    #[test]
    fn names_are_short_and_obeyed_by_no_terminal() {
        assert_eq!(shown("über/été.png"), "über/été.png");
        assert_eq!(shown("\u{1b}]0;x\u{7}\n\u{9b}2J\u{202e}"), r"\u{1b}]0;x\u{7}\n\u{9b}2J\u{202e}");
        let long = shown(&format!("start{}end", "é".repeat(100_000)));
        assert_eq!(long.chars().count(), NAME);
        assert!(long.starts_with("starté") && long.contains("é...é") && long.ends_with("éend"), "{long}");
        assert_eq!(json_lines(&["a\u{1b}\u{9b}\n"]).unwrap(), "\"a\\u001b\\u009b\\n\"\n");
    }

    #[test]
    fn a_cause_is_stated_once() {
        let cause = || anyhow::anyhow!("it is short");
        assert_eq!(
            reason(&cause().context("decoding: it is short").context("reading a")),
            "reading a: decoding: it is short"
        );
        assert_eq!(reason(&cause().context("reading a")), "reading a: it is short");
    }
}
