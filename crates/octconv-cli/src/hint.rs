//! The command that tunes what was run.

use std::path::Path;

use octconv::InputSize;

use crate::network_source::Settings;
use crate::output::shown;
use crate::types::TypeArgs;

/// What to do if nothing is tuned: `command`.
pub fn hint(tuned: usize, command: &str) -> String {
    if tuned == 0 { format!(" (\"{command}\" finds the fastest kernels here)") } else { String::new() }
}

/// Tunes a network at this size.
pub fn network(name: &str, settings: &Settings, size: InputSize, types: TypeArgs) -> String {
    let Settings { alpha, width, stem, classes } = settings;
    let InputSize { n, h, w, .. } = size;
    let mut command = format!("octconv tune {}", word(name));
    let mut add = |flag: &str, value: Option<String>| value.iter().for_each(|v| command += &format!(" --{flag} {v}"));
    add("alpha", alpha.map(|alpha| alpha.to_string()));
    add("width", width.map(|width| width.to_string()));
    add("stem", stem.map(|stem| stem.to_string()));
    add("classes", classes.map(|classes| classes.to_string()));
    add("size", Some(format!("{h}x{w}")));
    add("batch", Some(n.to_string()));
    command + &types.flags()
}

/// Tunes the layers of a list, as "--pooled" runs them or not.
pub fn layers(list: &Path, pooled: bool, types: TypeArgs) -> String {
    let pooled = if pooled { " --pooled" } else { "" };
    format!("octconv tune --layers {}{pooled}{}", word(&list.to_string_lossy()), types.flags())
}

/// A name as a shell takes it.
fn word(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%\\".contains(c);
    match shown(name) {
        name if name.chars().all(is_plain) => name,
        name => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        types: TypeArgs,
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn a_command_says_what_was_run() {
        let command = |name: &str, flags: &str| {
            let line = Line::parse_from(format!("x {flags}").split_whitespace());
            network(name, &line.settings, InputSize::image(4, 56, 48), line.types)
        };
        assert_eq!(command("resnet50", ""), "octconv tune resnet50 --size 56x48 --batch 4");
        let flags = "--alpha 0.125 --width 0.5 --classes 7 --size 56x48 --batch 4 --dtype f16 --sums f16 --fast";
        let given = flags.replace("--size 56x48 --batch 4 ", "");
        assert_eq!(command("mobilenet-v1", &given), format!("octconv tune mobilenet-v1 {flags}"));
        assert_eq!(command("my net's.json", ""), r"octconv tune 'my net'\''s.json' --size 56x48 --batch 4");
        let line = Line::parse_from(["x", "--exact"]);
        assert_eq!(layers(Path::new("a/b.json"), false, line.types), "octconv tune --layers a/b.json");
        assert_eq!(layers(Path::new("b"), true, line.types), "octconv tune --layers b --pooled");
        assert_eq!((hint(1, "x").as_str(), hint(0, "x").as_str()), ("", " (\"x\" finds the fastest kernels here)"));
    }
}
