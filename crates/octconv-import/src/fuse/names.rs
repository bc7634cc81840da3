//! The names of nodes.

use std::collections::HashMap;

use octconv::network::INPUT;

/// The longest name of a node.
const LONGEST: usize = 100;

/// The names that are taken, each with the last number that was tried behind it.
pub(super) struct Names(HashMap<String, usize>);

impl Names {
    pub(super) fn new() -> Self {
        Self(HashMap::from([(INPUT.to_owned(), 1)]))
    }

    /// A name like the first of `wanted` that is of use, and that no other node has.
    pub(super) fn take(&mut self, wanted: &[String], otherwise: &str) -> String {
        let name = wanted.iter().map(|name| tidy(name)).find(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| otherwise.to_owned());
        let mut number = self.0.get(&name).copied().unwrap_or(1);
        let mut free = name.clone();
        while self.0.contains_key(&free) {
            number += 1;
            free = format!("{name}_{number}");
        }
        self.0.insert(free.clone(), 1);
        self.0.insert(name, number);
        free
    }
}

/// A name of the file, such as `/layer1/layer1.0/conv1/Conv`, without what exporters add.
fn tidy(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    // PyTorch repeats the names of modules: /layer1/layer1.0/conv1.
    let mut kept: Vec<&str> = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        let repeated =
            parts.get(i + 1).is_some_and(|next| next.strip_prefix(part).is_some_and(|rest| rest.starts_with('.')));
        let operator = i + 1 == parts.len() && i > 0 && part.starts_with(|c: char| c.is_ascii_uppercase());
        if !repeated && !operator {
            kept.push(part);
        }
    }
    let name = kept.join(".");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).take(LONGEST).collect()
}

/// What the names of an octave layer's paths have in common, such as `layer1.0.conv1` of `layer1.0.conv1.conv_h2h` and
/// `layer1.0.conv1.conv_l2h`.
pub(super) fn common(names: &[&str]) -> String {
    let Some((first, rest)) = names.split_first() else { return String::new() };
    if rest.is_empty() {
        return (*first).to_owned();
    }
    let same = |other: &str| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let length = rest.iter().map(|other| same(other)).min().unwrap_or(0);
    let prefix = first.get(..length).unwrap_or_default();
    let cut = prefix.rfind(['.', '/']).or(prefix.rfind('_')).unwrap_or(0);
    let prefix = &prefix[..cut];
    prefix.strip_suffix(".conv").unwrap_or(prefix).trim_end_matches(['.', '/', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_modules() {
        for (name, wanted) in [
            ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
            ("/layer1/layer1.0/Add_1", "layer1.0"),
            ("node_conv2d_3", "node_conv2d_3"),
            ("Conv_3", "Conv_3"),
            ("a b\u{1b}[1m", "ab1m"),
        ] {
            assert_eq!(tidy(name), wanted);
        }
        assert_eq!(common(&["l.0.conv1.conv.conv_h2h", "l.0.conv1.conv.conv_l2h"]), "l.0.conv1");
        assert_eq!(common(&["l1.h2h", "l1.h2l", "l1.l2l"]), "l1");
        assert_eq!(common(&["only.conv"]), "only.conv");
    }

    #[test]
    fn names_are_taken_once() {
        let mut names = Names::new();
        let wanted = ["/a/Relu".to_owned(), "b".to_owned()];
        assert_eq!([0; 3].map(|_| names.take(&wanted, "x")), ["a", "a_2", "a_3"]);
        assert_eq!(names.take(&["input".to_owned()], "x"), "input_2");
        assert_eq!(names.take(&["".to_owned()], "x"), "x");
        // Numbers go on where they were, past those that are names themselves.
        assert_eq!(names.0["a"], 3);
        assert_eq!(names.take(&["a_4".to_owned()], "x"), "a_4");
        assert_eq!([0; 2].map(|_| names.take(&wanted, "x")), ["a_5", "a_6"]);
        assert_eq!(names.take(&["a_4".to_owned()], "x"), "a_4_2");
    }
}
