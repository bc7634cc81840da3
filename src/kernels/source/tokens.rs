//! Splits WGSL into tokens. Drops comments and blank lines, and takes out `#import` lines.

use super::error::AssembleError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or a keyword.
    Word,
    Number,
    /// One character of punctuation: `>=` is two marks without a space between them.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: &'static str,
    /// Spaces in front of it on its line.
    pub(super) space: &'static str,
    /// Counted from 1.
    pub(super) line: u32,
    /// In characters, counted from 1.
    pub(super) column: u32,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// Where the names of an imported file go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Into the program, as they are.
    Shared,
    /// Into an instance of this name.
    Instance(&'static str),
    /// Into the importing file.
    Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) file: &'static str,
    pub(super) scope: Scope,
}

/// The tokens and imports of a file.
pub(super) fn tokens(file: &'static str, text: &'static str) -> Result<(Vec<Token>, Vec<Import>), AssembleError> {
    let mut tokens = Vec::new();
    let mut imports = Vec::new();
    let mut line = 1;
    let mut line_at = 0; // in bytes, like `at` and `gap`
    let mut at = 0;
    let mut gap = 0; // where the previous token ends, or the line begins
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first == '\n' {
            line += 1;
            at += 1;
            line_at = at;
            gap = at;
        } else if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            let length = block_comment(rest);
            let length = length.ok_or(AssembleError::Syntax { file, line, what: "a comment that does not end" })?;
            line += rest[..length].matches('\n').count() as u32;
            line_at = rest[..length].rfind('\n').map_or(line_at, |end| at + end + 1);
            at += length;
        } else if first == '#' {
            let end = rest.find('\n').unwrap_or(rest.len());
            imports.push(import(&rest[..end]).ok_or(AssembleError::Syntax { file, line, what: "no #import line" })?);
            at += end;
        } else {
            let (kind, length) = token(rest);
            let space = Some(&text[gap..at]).filter(|space| space.trim().is_empty() && !space.contains('\n'));
            let column = text[line_at..at].chars().count() as u32 + 1;
            tokens.push(Token { kind, text: &rest[..length], space: space.unwrap_or(" "), line, column });
            at += length;
            gap = at;
        }
    }
    Ok((tokens, imports))
}

/// Bytes of the block comment at the beginning of `text`. Block comments can be nested.
fn block_comment(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// `#import FILE`, `#import FILE as NAME` or `#import FILE as self`.
fn import(line: &'static str) -> Option<Import> {
    let line = line.split("//").next().unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["#import", file] => Some(Import { file, scope: Scope::Shared }),
        ["#import", file, "as", "self"] => Some(Import { file, scope: Scope::Part }),
        ["#import", file, "as", name] => Some(Import { file, scope: Scope::Instance(name) }),
        _ => None,
    }
}

/// The kind and the bytes of the token at the beginning of `text`.
fn token(text: &str) -> (Kind, usize) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut chars = text.char_indices().peekable();
    let Some((_, first)) = chars.next() else { return (Kind::Mark, 0) };
    let starts_fraction = first == '.' && text[1..].starts_with(|c: char| c.is_ascii_digit());
    if first.is_ascii_digit() || starts_fraction {
        let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
        let mut before = first;
        let part = |(_, c): &(usize, char), before: char| {
            let exponent = matches!(before, 'e' | 'E') && !hexadecimal || matches!(before, 'p' | 'P');
            is_word(*c) || *c == '.' || (matches!(c, '+' | '-') && exponent)
        };
        while let Some((_, c)) = chars.next_if(|next| part(next, before)) {
            before = c;
        }
        return (Kind::Number, chars.peek().map_or(text.len(), |&(at, _)| at));
    }
    if is_word(first) {
        return (Kind::Word, text.find(|c| !is_word(c)).unwrap_or(text.len()));
    }
    (Kind::Mark, first.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &'static str) -> Vec<&'static str> {
        tokens("test", text).unwrap().0.iter().map(|token| token.text).collect()
    }

    #[test]
    fn splits() {
        assert_eq!(texts("let a_1=b.x>>2u;"), ["let", "a_1", "=", "b", ".", "x", ">", ">", "2u", ";"]);
        assert_eq!(
            texts("1.0e-3-x 0xEu-1 .5 1e+2f 0x1p-3 v.x"),
            ["1.0e-3", "-", "x", "0xEu", "-", "1", ".5", "1e+2f", "0x1p-3", "v", ".", "x"]
        );
        assert_eq!(texts("@a fn größe()"), ["@", "a", "fn", "größe", "(", ")"]);
    }

    #[test]
    fn drops_comments() {
        assert_eq!(texts("a // b\nc /* d /* e\n */ f */ g/**/h"), ["a", "c", "g", "h"]);
        let error = tokens("test", "a\n/* b /* c */").unwrap_err();
        assert_eq!(error, AssembleError::Syntax { file: "test", line: 2, what: "a comment that does not end" });
    }

    #[test]
    fn knows_lines_and_spaces() {
        let (tokens, _) = tokens("test", "a /* \n */ b\n\n    c  d").unwrap();
        let places: Vec<_> = tokens.iter().map(|t| (t.text, t.line, t.column, t.space)).collect();
        assert_eq!(places, [("a", 1, 1, ""), ("b", 2, 5, " "), ("c", 4, 5, "    "), ("d", 4, 8, "  ")]);
    }

    #[test]
    fn takes_imports_out() {
        let (tokens, imports) = tokens("test", "#import a/b\n#import c as d // e\n#import f as self\ng").unwrap();
        assert_eq!(tokens.len(), 1);
        let scopes = [Scope::Shared, Scope::Instance("d"), Scope::Part];
        let files = ["a/b", "c", "f"].into_iter().zip(scopes).map(|(file, scope)| Import { file, scope });
        assert!(imports.into_iter().eq(files));
        assert!(matches!(
            super::tokens("test", "\n#include a"),
            Err(AssembleError::Syntax { line: 2, what: "no #import line", .. })
        ));
    }
}
