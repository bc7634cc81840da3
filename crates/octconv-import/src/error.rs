//! Why a file cannot be imported.

use std::fmt;

/// Why a file cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read as a network.
    #[error("{reason}")]
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
        write!(f, "{} ({}): {}", self.node, self.operator, self.reason)
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let nodes = if lines.len() == 1 { "node" } else { "nodes" };
    format!("{} {nodes} cannot be expressed:{}", lines.len(), lines.concat())
}
