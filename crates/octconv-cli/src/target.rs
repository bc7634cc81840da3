//! Files that commands write: whole or not at all, and never over a file of another kind.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use tempfile::NamedTempFile;

use crate::output::shown_path;

/// What a file holds that a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A safetensors file.
    Tensors,
    /// A NumPy array.
    Array,
    /// The description of a network.
    Network,
    Png,
    /// An SVG.
    Plot,
    /// Rows of "octconv bench --json".
    Rows,
    /// What "octconv roofline --json" writes.
    Roofline,
    /// What "octconv tune --out" writes.
    Tuned,
    /// What "octconv evaluate --out" writes.
    Answers,
    /// What "octconv evaluate --confusion" writes.
    Confusion,
    /// The report.json of "octconv report".
    Report,
    /// A page of "octconv report".
    Page,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensors => "a safetensors file",
            Self::Array => "a NumPy array",
            Self::Network => "a description of a network",
            Self::Png => "a PNG",
            Self::Plot => "an SVG",
            Self::Rows => "a file of \"octconv bench --json\"",
            Self::Roofline => "a file of \"octconv roofline --json\"",
            Self::Tuned => "a file of \"octconv tune --out\"",
            Self::Answers => "a file of \"octconv evaluate --out\"",
            Self::Confusion => "a file of \"octconv evaluate --confusion\"",
            Self::Report => "a report.json of \"octconv report\"",
            Self::Page => "a page of \"octconv report\"",
        })
    }
}

impl Kind {
    /// Bytes that tell the kind.
    const START: u64 = 4096;

    /// Whether a file that starts so is of this kind. `length`: that of the whole file.
    fn is_start(self, start: &[u8], length: u64) -> bool {
        match self {
            Self::Tensors => match start.split_first_chunk() {
                Some((header, rest)) => rest.starts_with(b"{") && u64::from_le_bytes(*header) < length,
                None => false,
            },
            Self::Array => start.starts_with(b"\x93NUMPY"),
            Self::Network => start.starts_with(b"{") && String::from_utf8_lossy(start).contains(r#""nodes": ["#),
            Self::Png => start.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Plot => start.starts_with(b"<svg "),
            Self::Rows => start.starts_with(br#"{"peer":"octconv""#),
            Self::Roofline => start.starts_with(b"{") && String::from_utf8_lossy(start).contains(r#""arithmetic": ["#),
            Self::Tuned => start.starts_with(b"octconv tuned "),
            Self::Answers => start.starts_with(b"file,label,answer,"),
            Self::Confusion => start.starts_with(b"label/answer,"),
            Self::Report => start.starts_with(b"{\n  \"octconv_report\": "),
            Self::Page => start.starts_with(PAGE.as_bytes()),
        }
    }
}

/// How a page of "octconv report" begins.
pub const PAGE: &str = "<!DOCTYPE html><!--octconv report-->";

/// A file that a command will write.
#[derive(Clone, Debug)]
pub struct Target {
    path: PathBuf,
    kind: Kind,
}

impl Target {
    /// Refuses a file that cannot be written, before anything is computed for it.
    pub fn new(path: &Path, kind: Kind) -> Result<Self> {
        let target = Self { path: path.to_path_buf(), kind };
        target.check()?;
        Ok(target)
    }

    /// Refuses a file that the command reads.
    pub fn apart_from(self, inputs: &[PathBuf]) -> Result<Self> {
        ensure!(!self.is_one_of(inputs), "{}: it is read too: name another file", self.writing());
        Ok(self)
    }

    /// Whether it is one of these files, by whatever path.
    pub fn is_one_of(&self, inputs: &[PathBuf]) -> bool {
        let file = fs::canonicalize(&self.path).ok();
        file.is_some() && inputs.iter().any(|input| fs::canonicalize(input).ok() == file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file under another name in its folder, and renames it when it is whole.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        write_together(&[(self, bytes)])
    }

    /// Whether it is a device or a pipe, which holds nothing and takes bytes as they are.
    fn is_device(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file())
    }

    fn check(&self) -> Result<()> {
        self.refusal().with_context(|| self.writing())
    }

    fn writing(&self) -> String {
        format!("writing {}", shown_path(&self.path))
    }

    fn refusal(&self) -> Result<()> {
        if self.path.is_dir() {
            bail!("it is a folder");
        }
        let folder = folder_of(&followed(&self.path)?);
        if !folder.is_dir() {
            bail!("there is no folder {}", shown_path(&folder));
        }
        if self.is_device() {
            return Ok(());
        }
        // The folder must take a new file. This one has no name, or none for long.
        tempfile::tempfile_in(&folder)?;
        let metadata = fs::metadata(&self.path).ok().filter(|metadata| metadata.len() > 0);
        let Some(metadata) = metadata else { return Ok(()) };
        let mut start = Vec::new();
        fs::File::open(&self.path)?.take(Kind::START).read_to_end(&mut start)?;
        if !self.kind.is_start(&start, metadata.len()) {
            bail!("it exists and is not {}: name another file, or remove it", self.kind);
        }
        Ok(())
    }
}

/// Writes files that belong together: each under another name in its folder, and when all are whole, they are renamed.
pub fn write_together(files: &[(&Target, &[u8])]) -> Result<()> {
    // Something else may have taken a name since.
    files.iter().try_for_each(|(target, _)| target.check())?;
    let (devices, files): (Vec<_>, Vec<_>) = files.iter().partition(|(target, _)| target.is_device());
    for (target, bytes) in devices {
        let write = || fs::OpenOptions::new().write(true).open(&target.path)?.write_all(bytes);
        write().with_context(|| target.writing())?;
    }
    without_interruption(|| {
        let beside = |(target, bytes): &(&Target, &[u8])| beside(&target.path, bytes).with_context(|| target.writing());
        let whole = files.iter().map(beside).collect::<Result<Vec<_>>>()?;
        for ((target, _), (file, path)) in files.iter().zip(whole) {
            file.persist(path).map_err(|error| error.error).with_context(|| target.writing())?;
        }
        Ok(())
    })
}

/// A file with these bytes in the folder of another one, and the path for which it takes the place of that.
fn beside(path: &Path, bytes: &[u8]) -> io::Result<(NamedTempFile, PathBuf)> {
    let target = followed(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".octconv-");
    if let Some(permissions) = new_file_permissions() {
        builder.permissions(permissions);
    }
    let mut file = builder.tempfile_in(folder_of(&target))?;
    // The error then has no path: it would be the temporary one.
    file.as_file_mut().write_all(bytes)?;
    if let Ok(existing) = fs::metadata(path) {
        file.as_file().set_permissions(existing.permissions())?;
    }
    Ok((file, target))
}

/// The file that a link names, which need not exist. The link stays when that file is replaced.
fn followed(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut target = path.to_path_buf();
    for _ in 0..LINKS {
        if !fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(target);
        }
        target = folder_of(&target).join(fs::read_link(&target)?);
    }
    Err(io::Error::other("it is a link to a link, and so on without an end"))
}

/// The permissions of any new file, before the umask. Temporary files would otherwise be for their owner only.
#[cfg(unix)]
fn new_file_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn new_file_permissions() -> Option<Permissions> {
    None
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Runs `write`, which makes a temporary file. Ctrl-C and SIGTERM end the program when it has returned, so that the file
/// does not stay.
pub fn without_interruption<T>(write: impl FnOnce() -> T) -> T {
    let signals = Signals::get();
    // Within [`with_last_act`], that ends the program.
    let end = signals.end.swap(false, Ordering::SeqCst);
    let result = write();
    signals.end.store(end, Ordering::SeqCst);
    if end {
        signals.obey();
    }
    result
}

/// Does `work`. If Ctrl-C or SIGTERM come meanwhile, `last` runs beside it, and then they end the program.
pub fn with_last_act<T>(last: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    const PATIENCE: Duration = Duration::from_millis(20);
    let signals = Signals::get();
    let over = AtomicBool::new(false);
    let watch = || {
        while !over.load(Ordering::SeqCst) {
            if signals.pending.load(Ordering::SeqCst) != 0 {
                last();
                return signals.obey();
            }
            thread::park_timeout(PATIENCE);
        }
    };
    signals.end.store(false, Ordering::SeqCst);
    let result = thread::scope(|scope| {
        let watcher = scope.spawn(watch);
        // Also if the work panics: the scope waits for the watcher.
        let _end = OnDrop(|| {
            over.store(true, Ordering::SeqCst);
            watcher.thread().unpark();
        });
        work()
    });
    signals.end.store(true, Ordering::SeqCst);
    signals.obey();
    result
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Makes it an error to write beyond the most bytes that a file may have (`ulimit -f`), as it is on a full disk. Without
/// this, a signal ends the program, and temporary files stay.
pub fn outlive_full_files() {
    #[cfg(unix)]
    // If the signal cannot be caught, it ends the program, as before.
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// What signals do that end the program.
struct Signals {
    /// Whether they end it at once.
    end: Arc<AtomicBool>,
    /// The last one.
    pending: Arc<AtomicUsize>,
}

impl Signals {
    fn get() -> &'static Self {
        static SIGNALS: OnceLock<Signals> = OnceLock::new();
        SIGNALS.get_or_init(Self::new)
    }

    /// Does what the last signal asks for, if there was one.
    fn obey(&self) {
        let signal = self.pending.load(Ordering::SeqCst);
        if signal != 0 {
            // It ends the program. If it cannot, the program goes on as if there had been no signal.
            let _ = low_level::emulate_default_handler(signal as i32);
        }
    }

    fn new() -> Self {
        let signals = Self { end: Arc::new(AtomicBool::new(true)), pending: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // If a signal cannot be caught, it ends the program at once, as before.
            let _ = flag::register_usize(signal, signals.pending.clone(), signal as usize);
            let _ = flag::register_conditional_default(signal, signals.end.clone());
        }
        signals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_by_its_like_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let starts: [(Kind, &[u8]); 12] = [
            (Kind::Array, b"\x93NUMPY\x01\0"),
            (Kind::Network, b"{\n  \"name\": \"n\",\n  \"nodes\": ["),
            (Kind::Tensors, b"\x02\0\0\0\0\0\0\0{}"),
            (Kind::Png, b"\x89PNG\r\n\x1a\n..."),
            (Kind::Plot, b"<svg width=\"1\">"),
            (Kind::Rows, b"{\"peer\":\"octconv\",\"ms\":1}\n"),
            (Kind::Roofline, b"{\n  \"arithmetic\": [],"),
            (Kind::Tuned, b"octconv tuned 1 0.2.0"),
            (Kind::Answers, b"file,label,answer,score,rank\n"),
            (Kind::Confusion, b"label/answer,cat,not finite\n"),
            (Kind::Report, b"{\n  \"octconv_report\": 1,\n"),
            (Kind::Page, b"<!DOCTYPE html><!--octconv report--><html>"),
        ];
        for (kind, bytes) in starts {
            for (other, start) in starts {
                fs::write(&path, start).unwrap();
                let target = Target::new(&path, kind);
                assert_eq!(target.is_ok(), kind == other, "{kind} over {other}");
                if let Ok(target) = target {
                    target.write(bytes).unwrap();
                    target.write(bytes).unwrap();
                    // Another file may come to be there.
                    fs::write(&path, "notes").unwrap();
                    let refusal = format!("{:#}", target.write(bytes).unwrap_err());
                    assert!(refusal.ends_with("name another file, or remove it"), "{refusal}");
                    assert_eq!(fs::read(&path).unwrap(), b"notes");
                }
            }
            // A header that is longer than the file, an object that is no row, and what is shorter than any start.
            for start in [&b"\xff\0\0\0\0\0\0\0{}"[..], b"{\"name\": \"peer\"}", b"[]", b"x", b"\xff", b"file,label\n"]
            {
                fs::write(&path, start).unwrap();
                assert!(Target::new(&path, kind).is_err(), "{kind} over {start:?}");
            }
            fs::write(&path, "").unwrap();
            Target::new(&path, kind).unwrap().write(bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    #[cfg(unix)]
    fn links_stay() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("inside")).unwrap();
        symlink("second", path("first")).unwrap();
        symlink("inside/file", path("second")).unwrap();
        // First the file that the links name is not there, then it is.
        for bytes in [b"<svg 1>", b"<svg 2>"] {
            Target::new(&path("first"), Kind::Plot).unwrap().write(bytes).unwrap();
            assert_eq!(fs::read_link(path("first")).unwrap(), Path::new("second"));
            assert_eq!(fs::read_link(path("second")).unwrap(), Path::new("inside/file"));
            assert_eq!(fs::read(path("inside/file")).unwrap(), bytes);
        }
        symlink("round", path("round")).unwrap();
        symlink("nowhere/file", path("lost")).unwrap();
        for (name, wanted) in [("round", "without an end"), ("lost", "there is no folder ")] {
            let refusal = format!("{:#}", Target::new(&path(name), Kind::Plot).unwrap_err());
            assert!(refusal.contains(wanted), "{refusal}");
        }
    }
}
