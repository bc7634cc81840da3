//! Why a file cannot be imported.

use std::fmt;

/// Why a file cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read as a network.
    #[error("{}", line(reason))]
    File {
        /// Why.
        reason: String,
    },
    /// Nodes of the file have no counterpart.
    #[error("{}", list(problems))]
    Nodes {
        /// All of them.
        problems: Vec<Problem>,
    },
}

/// A node that has no counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Its name, or what it makes if it has no name.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why it cannot be expressed.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [node, operator, reason] = [&self.node, &self.operator, &self.reason].map(|text| line(text));
        write!(f, "{node} ({operator}): {reason}")
    }
}

/// The most bytes of a text out of a file in an error, and of the list of its nodes.
const MOST_TEXT: usize = 4000;
const MOST_LISTED: usize = 20_000;

/// Text out of a file as a part of an error: one line, which is not long.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= MOST_TEXT {
            return line + " ...";
        }
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

fn list(problems: &[Problem]) -> String {
    let nodes = if problems.len() == 1 { "node" } else { "nodes" };
    let mut list = format!("{} {nodes} cannot be expressed", problems.len());
    for (i, problem) in problems.iter().enumerate() {
        if list.len() >= MOST_LISTED {
            return format!("{list}; and {} more", problems.len() - i);
        }
        list.push_str(if i == 0 { ": " } else { "; " });
        list.push_str(&problem.to_string());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_that_is_not_long() {
        let problem = |reason: &str| Problem { node: "a\nb".into(), operator: "Foo".into(), reason: reason.into() };
        let two = ImportError::Nodes { problems: vec![problem("x"), problem("y")] };
        assert_eq!(two.to_string(), r"2 nodes cannot be expressed: a\nb (Foo): x; a\nb (Foo): y");
        let text = "1, ".repeat(1 << 20);
        let file = ImportError::File { reason: text.clone() }.to_string();
        assert!(file.len() < 2 * MOST_TEXT && file.ends_with(" ..."), "{file}");
        let many = ImportError::Nodes { problems: vec![problem(&text); 100] }.to_string();
        assert!(many.len() < 2 * MOST_LISTED && many.ends_with("; and 95 more"), "{many}");
    }
}
