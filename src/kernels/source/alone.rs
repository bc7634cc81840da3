//! Assembles single files, so that `examples/shaders.rs` can check them for those who write them.

use super::assemble::{Program, program_alone};
use super::error::AssembleError;
use super::module::Library;

/// An assembled file, with its default constants and all that it imports.
pub struct Alone(Program);

/// A place in a file. Lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, as in `#import FILE`.
    pub file: &'static str,
    /// Line of the file, not of the assembled text.
    pub line: u32,
    /// In characters.
    pub column: u32,
}

/// Why a file cannot be assembled.
#[derive(Debug)]
pub struct Wrong {
    /// Where the error is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

impl Alone {
    /// Assembles `file`. `files` has the names, as in `#import FILE`, and the texts of this and all other files.
    ///
    /// # Errors
    ///
    /// The file, or one that it imports, does not parse or does not exist, or their names clash.
    pub fn new(files: &[(&'static str, &'static str)], file: &'static str) -> Result<Self, Wrong> {
        let program = program_alone(&Library::new(files), file);
        program.map(Self).map_err(|error| wrong(files, file, &error))
    }

    /// The assembled WGSL.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Where a byte of the text comes from: the place of its token, or of the token before it.
    pub fn place(&self, byte: usize) -> Option<Place> {
        let places = &self.0.places;
        let next = places.partition_point(|place| place.at <= byte);
        let place = places[..next].last().or(places.first())?;
        Some(Place { file: place.file, line: place.line, column: place.column })
    }
}

/// Finds the place of an error. An error in finding an import is at the `#import` line. If nothing better is known, it
/// is at the first line of the file.
fn wrong(files: &[(&'static str, &'static str)], file: &'static str, error: &AssembleError) -> Wrong {
    let (file, line, message) = match error {
        AssembleError::Syntax { file, line, what } => (*file, *line, what.to_string()),
        AssembleError::LocalName { file, line, name } => {
            (*file, *line, format!("the local variable or parameter {name} has a module-scope name"))
        }
        AssembleError::NoFile { file: imported, by } => {
            let by = files.iter().find(|(name, _)| name == by);
            let is_import = |line: &str| {
                let mut words = line.split_whitespace();
                words.next() == Some("#import") && words.next() == Some(imported)
            };
            let line = by.and_then(|(_, text)| text.lines().position(is_import)).map_or(1, |line| line as u32 + 1);
            (by.map_or(file, |(name, _)| *name), line, format!("there is no shader file {imported}"))
        }
        AssembleError::Cycle { file } | AssembleError::Clash { second: file, .. } => (*file, 1, error.to_string()),
        _ => (file, 1, error.to_string()),
    };
    Wrong { place: Place { file, line, column: 1 }, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 2] = [
        ("root", "// A comment.\n#import part as hh\n\nfn f() -> u32 {\n    return hh_g(); // 1\n}\n"),
        ("part", "const N = 1u;\nfn g() -> u32 { return N; }\n"),
    ];

    #[test]
    fn knows_where_everything_comes_from() {
        let alone = Alone::new(&FILES, "root").unwrap();
        let place = |text: &str| alone.place(alone.text().find(text).unwrap()).unwrap();
        assert_eq!(place("HH_N ="), Place { file: "part", line: 1, column: 7 });
        assert_eq!(place("HH_N; }"), Place { file: "part", line: 2, column: 24 });
        assert_eq!(place("fn f"), Place { file: "root", line: 4, column: 1 });
        assert_eq!(place("hh_g();"), Place { file: "root", line: 5, column: 12 });
    }

    #[test]
    fn says_where_the_error_is() {
        let wrong = |root: &'static str| {
            let Wrong { place, message } = Alone::new(&[("root", root), FILES[1]], "root").err().unwrap();
            format!("{}:{}:{}: {message}", place.file, place.line, place.column)
        };
        assert_eq!(wrong("\n#import none as a"), "root:2:1: there is no shader file none");
        assert_eq!(wrong("\n\nlet a = 1;"), "root:3:1: no declaration that the assembler knows");
        assert_eq!(
            wrong("fn n() {}\nfn f() {\n let n = 1; }"),
            "root:3:1: the local variable or parameter n has a module-scope name"
        );
        assert_eq!(wrong("#import root"), "root:1:1: root imports itself, directly or through others");
    }
}
