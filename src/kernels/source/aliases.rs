//! Sources without aliases, for HLSL.

use std::collections::HashMap;

/// The same program with each alias's type in place of its name. If two aliases name one type, naga's writer of HLSL makes a
/// function for the zero value of each, and gives both the same name, which Direct3D's compilers refuse.
pub(crate) fn without_aliases(source: &str) -> String {
    const START: &str = "alias ";
    let mut aliases = HashMap::new();
    let mut rest = String::new();
    let mut lines = source.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let Some(declared) = line.strip_prefix(START) else {
            rest.push_str(line);
            continue;
        };
        let mut declared = declared.to_owned();
        while !declared.contains(';') {
            match lines.next() {
                Some(more) => declared.push_str(more),
                None => break,
            }
        }
        if let Some((name, ty)) = declared.split_once('=') {
            let ty = ty.split(';').next().unwrap_or_default().trim();
            // What it names stands before it.
            let ty = expanded(ty, &aliases);
            aliases.insert(name.trim().to_owned(), ty);
        }
    }
    expanded(&rest, &aliases)
}

/// The text with the value of each word that has one.
fn expanded(text: &str, values: &HashMap<String, String>) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (between, from_word) = rest.split_at(start);
        let (word, behind) = from_word.split_at(from_word.find(|c| !is_word(c)).unwrap_or(from_word.len()));
        out.push_str(between);
        out.push_str(values.get(word).map_or(word, String::as_str));
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::without_aliases;

    #[test]
    fn names_become_their_types() {
        let source = "\
enable f16;
const N: u32 = 4u;
alias Element = f16;
alias Row = array<Element, N>;
alias Rows =
    array<Row, 2>;
var<private> rows: Rows;
fn f(row: Row, Rowing: u32) -> Element {
    var zero = Row();
    return zero[0] + row[Rowing];
}
";
        let wanted = "\
enable f16;
const N: u32 = 4u;
var<private> rows: array<array<f16, N>, 2>;
fn f(row: array<f16, N>, Rowing: u32) -> f16 {
    var zero = array<f16, N>();
    return zero[0] + row[Rowing];
}
";
        assert_eq!(without_aliases(source), wanted);
        assert_eq!(without_aliases(wanted), wanted);
    }
}
