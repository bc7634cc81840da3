//! How much a command takes from one file. Every file is read here, so that its limit is checked before memory is taken.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use octconv_import::tensors;

use crate::output::{progress, shown_path, thousands};

/// An argument of every command that reads files.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The most bytes of a file, of a picture when it is decoded, of random numbers, and of an output of "apply", such as
    /// 500M or 2G (default: 4M for JSON, labels and headers of safetensors, 256M for pictures, 1G for tensors, also as f32,
    /// and models)
    #[arg(long, value_name = "N")]
    max_bytes: Option<Bytes>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Text to be parsed, which takes many times its bytes.
    Text,
    Picture,
    /// A safetensors file.
    Tensors,
}

impl Limits {
    /// At most this many bytes, whatever a file holds.
    pub fn of(most: u64) -> Self {
        Self { max_bytes: Some(Bytes(most)) }
    }

    /// The bytes of a file.
    pub fn read(self, path: &Path, holds: Holds) -> Result<Vec<u8>> {
        self.take(path, holds).with_context(|| format!("reading {}", shown_path(path)))
    }

    /// The text of a file.
    pub fn read_text(self, path: &Path) -> Result<String> {
        let text = String::from_utf8(self.read(path, Holds::Text)?).context("it is not UTF-8");
        text.with_context(|| format!("reading {}", shown_path(path)))
    }

    /// Refuses what has more `bytes` than are allowed. `what` is the subject of the error.
    pub fn check(self, what: &str, bytes: u64, holds: Holds) -> Result<()> {
        let most = self.most(holds);
        let [has, allowed] = [bytes, most].map(|bytes| thousands(bytes.into()));
        ensure!(bytes <= most, "{what} {has} bytes, and {allowed} are allowed; --max-bytes allows more");
        Ok(())
    }

    pub fn most(self, holds: Holds) -> u64 {
        let default = match holds {
            Holds::Text => 4 << 20,
            Holds::Picture => 256 << 20,
            Holds::Tensors => 1 << 30,
        };
        self.max_bytes.map_or(default, |Bytes(most)| most)
    }

    /// The same for the tensors in a file.
    pub fn of_tensors(self) -> tensors::Limits {
        tensors::Limits { bytes: self.most(Holds::Tensors), ..tensors::Limits::default() }
    }

    fn take(self, path: &Path, holds: Holds) -> Result<Vec<u8>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        self.check("the file has", length, holds)?;
        let bar = match holds {
            Holds::Tensors => progress(length, "loading {bar:30} {bytes}/{total_bytes}")?,
            Holds::Text | Holds::Picture => ProgressBar::hidden(),
        };
        let most = self.most(holds);
        // Devices and pipes do not say how much they have: one byte more than allowed tells.
        let mut file = bar.wrap_read(file).take(most.saturating_add(1));
        let mut bytes = Vec::new();
        if holds == Holds::Tensors {
            file.by_ref().take(9).read_to_end(&mut bytes)?;
            self.check_header(&bytes)?;
        }
        file.read_to_end(&mut bytes)?;
        bar.finish_and_clear();
        ensure!(
            bytes.len() as u64 <= most,
            "it has more than {} bytes; --max-bytes allows more",
            thousands(most.into())
        );
        Ok(bytes)
    }

    /// Checks the first number of a safetensors file: the length of its header, which is JSON. `start`: the first bytes of
    /// any file. A header that does not begin with `{` is refused before it is parsed.
    fn check_header(self, start: &[u8]) -> Result<()> {
        let Some((&length, b"{")) = start.split_first_chunk() else { return Ok(()) };
        let length = u64::from_le_bytes(length);
        self.check("not a usable safetensors file: its header has", length, Holds::Text)
    }
}

/// A number of bytes, with the suffix K, M or G for 1024, its square and its cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = match s.split_at_checked(s.len().saturating_sub(1)) {
            Some((digits, "K")) => (digits, 1 << 10),
            Some((digits, "M")) => (digits, 1 << 20),
            Some((digits, "G")) => (digits, 1 << 30),
            _ => (s, 1),
        };
        let bytes = digits.parse().ok().and_then(|count: u64| count.checked_mul(unit));
        bytes.map(Self).ok_or("must be a number of bytes, such as 1000000, 500M or 2G")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        let texts = ["0", "1000", "3K", "500M", "2G"];
        assert_eq!(
            texts.map(|text| text.parse()),
            [0, 1000, 3 << 10, 500 << 20, 2 << 30].map(|bytes| Ok(Bytes(bytes)))
        );
        for text in ["", "M", "-1", "1.5G", "1T", "1 M", "99999999999G", "1é"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let file = File::create(&path).unwrap();
        let refusal = |limits: Limits, holds| format!("{:#}", limits.read(&path, holds).unwrap_err());
        // Nobody has this much memory.
        file.set_len(1 << 42).unwrap();
        for holds in [Holds::Text, Holds::Picture, Holds::Tensors] {
            let refusal = refusal(Limits::default(), holds);
            assert!(refusal.contains("sparse: the file has 4,398,046,511,104 bytes, and "), "{refusal}");
        }
        let few = Limits::of(9);
        file.set_len(10).unwrap();
        assert!(
            refusal(few, Holds::Tensors).ends_with("the file has 10 bytes, and 9 are allowed; --max-bytes allows more")
        );
        file.set_len(9).unwrap();
        assert_eq!(few.read(&path, Holds::Tensors).unwrap(), [0; 9]);
    }

    #[test]
    #[cfg(unix)]
    fn what_does_not_end_is_refused() {
        let few = Limits::of(1000);
        let refusal = format!("{:#}", few.read(Path::new("/dev/zero"), Holds::Text).unwrap_err());
        assert_eq!(refusal, "reading /dev/zero: it has more than 1,000 bytes; --max-bytes allows more");
    }
}
