//! Pictures whose classes are known: a folder for each class, a list in CSV, or sheets of many pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use image::DynamicImage;
use image::imageops::crop_imm;
use octconv::Split;
use octconv::network::{Network, Op, Picture};
use serde::Deserialize;

use crate::limits::Limits;
use crate::network_source::{Trained, digits};
use crate::output::{shown, shown_path};
use crate::picture;

/// Pictures, and what is known about them.
pub struct Labelled {
    /// What each picture is called in reports.
    pub names: Vec<String>,
    /// The class of each.
    pub labels: Vec<usize>,
    /// The names of all classes.
    pub classes: Vec<String>,
    /// What another implementation answers.
    pub expected: Option<Expected>,
    source: Source,
}

/// The answers of another implementation.
pub struct Expected {
    pub answers: Vec<usize>,
    pub accuracy: Option<f64>,
}

enum Source {
    Files(Vec<PathBuf>),
    /// The folder of the sheets; `None` for those that the program contains.
    Sheets(Option<PathBuf>, Box<Sheets>),
}

impl Labelled {
    /// The pictures that a path names, or those that the program contains.
    pub fn read(path: Option<&Path>, trained: &Trained, limits: Limits) -> Result<Self> {
        let count = trained.classes()?;
        let Some(path) = path else {
            return sheets(None, digits::ANSWERS, trained, count).context("the shipped digits");
        };
        let extension = path.extension().map(|end| end.to_string_lossy().to_lowercase());
        let read = match extension.as_deref() {
            _ if path.is_dir() => folders(path, &trained.labels, count),
            Some("csv") => Self::of_list(path, &limits.read_text(path)?, trained),
            Some("json") => Self::of_sheets(path, &limits.read_text(path)?, trained),
            _ => bail!(
                "{} is neither a folder with a folder for each class, nor a .csv with the columns file and label, nor a .json about sheets",
                shown_path(path)
            ),
        };
        read.with_context(|| shown_path(path))
    }

    /// The pictures in the text of a list in CSV.
    pub fn of_list(path: &Path, text: &str, trained: &Trained) -> Result<Self> {
        list(path, text, &trained.labels, trained.classes()?)
    }

    /// The pictures in the text of a JSON about sheets.
    pub fn of_sheets(path: &Path, text: &str, trained: &Trained) -> Result<Self> {
        sheets(path.parent(), text, trained, trained.classes()?)
    }

    /// The files that are read.
    pub fn files(&self) -> &[PathBuf] {
        match &self.source {
            Source::Files(files) => files,
            Source::Sheets(..) => &[],
        }
    }

    /// Gives each picture with its number to `visit`. One that cannot be read is an error there.
    pub fn each(&self, limits: Limits, visit: &mut dyn FnMut(usize, Result<DynamicImage>) -> Result<()>) -> Result<()> {
        match &self.source {
            Source::Files(files) => {
                files.iter().enumerate().try_for_each(|(i, file)| visit(i, picture::read(file, limits)))
            }
            Source::Sheets(folder, sheets) => {
                let mut numbers = 0..self.labels.len();
                for (i, name) in sheets.sheets.iter().enumerate() {
                    let cells = sheets.cut(sheet(folder.as_deref(), i, name, limits)?, name)?;
                    // In this order a sheet that ends takes no number.
                    cells.zip(numbers.by_ref()).try_for_each(|(cell, i)| visit(i, Ok(cell)))?;
                }
                Ok(())
            }
        }
    }
}

/// A folder with a folder for each class. Their sorted names are the classes, unless labels name them.
fn folders(folder: &Path, labels: &[String], count: usize) -> Result<Labelled> {
    let folders: Vec<PathBuf> = picture::entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    ensure!(
        !folders.is_empty(),
        "it has no folders: must have one for each class, or name a .csv with the columns file and label"
    );
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let classes: Vec<String> = match labels {
        [] => folders.iter().map(name).collect(),
        labels => labels.to_vec(),
    };
    let found = classes.len();
    ensure!(
        found == count,
        "it has {found} folders, and the network {count} classes: must have one for each, or --labels must name all classes"
    );
    let (mut files, mut of_files) = (Vec::new(), Vec::new());
    for folder in &folders {
        let class = named(&name(folder), &classes)?;
        let class = class.with_context(|| format!("the folder {} is not in the labels", shown(&name(folder))))?;
        let inside = picture::in_folder(folder)?;
        of_files.extend(inside.iter().map(|_| class));
        files.extend(inside);
    }
    Ok(Labelled::of_files(files, of_files, classes))
}

/// The class of a name.
fn named(name: &str, classes: &[String]) -> Result<Option<usize>> {
    let mut found = classes.iter().enumerate().filter(|(_, class)| *class == name).map(|(class, _)| class);
    let (first, second) = (found.next(), found.next());
    ensure!(second.is_none(), "{} is the label of two classes", shown(name));
    Ok(first)
}

/// A row of a list.
#[derive(Deserialize)]
struct Row {
    file: PathBuf,
    label: String,
}

/// A list in CSV. Labels are names of classes, or their numbers.
fn list(path: &Path, text: &str, labels: &[String], count: usize) -> Result<Labelled> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let (mut files, mut of_files) = (Vec::new(), Vec::new());
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    for row in reader.deserialize() {
        let Row { file, label } = row.context("must have the columns file and label")?;
        let class = match named(&label, labels)? {
            Some(class) => class,
            None => label.parse().ok().with_context(|| {
                format!("label {} of {} is no number, and --labels does not name it", shown(&label), shown_path(&file))
            })?,
        };
        files.push(folder.join(file));
        of_files.push(class);
    }
    ensure!(!of_files.is_empty(), "there are no labels: nothing can be compared");
    check(&of_files, count)?;
    let classes = if labels.is_empty() { numbers(count) } else { labels.to_vec() };
    Ok(Labelled::of_files(files, of_files, classes))
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

fn check(classes: &[usize], count: usize) -> Result<()> {
    let most = classes.iter().max().copied().unwrap_or(0);
    ensure!(most < count, "label {most} is too large: the network has {count} classes, counted from 0");
    Ok(())
}

impl Labelled {
    fn of_files(files: Vec<PathBuf>, labels: Vec<usize>, classes: Vec<String>) -> Self {
        let names = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        Self { names, labels, classes, expected: None, source: Source::Files(files) }
    }
}

/// Sheets of pictures. docs/networks.md has every field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheets {
    /// What the network must be.
    network: Option<String>,
    alpha: Option<f64>,
    picture: Option<Picture>,
    /// Names of files in the same folder.
    sheets: Vec<String>,
    /// Pictures per row and per column of a sheet.
    columns: u32,
    rows: u32,
    labels: Vec<usize>,
    answers: Option<Vec<usize>>,
    accuracy: Option<f64>,
}

fn sheets(folder: Option<&Path>, text: &str, trained: &Trained, count: usize) -> Result<Labelled> {
    let sheets: Sheets = serde_json::from_str(text)?;
    sheets.check(trained, count)?;
    let labels = sheets.labels.clone();
    let expected = sheets.answers.clone().map(|answers| Expected { answers, accuracy: sheets.accuracy });
    let names = (0..labels.len()).map(|i| format!("picture {i}")).collect();
    let classes = if trained.labels.is_empty() { numbers(count) } else { trained.labels.clone() };
    let source = Source::Sheets(folder.map(Path::to_path_buf), Box::new(sheets));
    Ok(Labelled { names, labels, classes, expected, source })
}

impl Sheets {
    /// Refuses what disagrees with the network, or with itself.
    fn check(&self, trained: &Trained, count: usize) -> Result<()> {
        let network = trained.graph.network();
        if let Some(name) = &self.network {
            let (asked, given) = (shown(name), shown(&network.name));
            ensure!(*name == network.name, "network is {asked}: must be that which is evaluated, {given}");
        }
        if let Some(alpha) = self.alpha {
            let refusal = || format!("alpha is {alpha}: must be that of the network which is evaluated");
            ensure!(has_alpha(network, alpha)?, refusal());
        }
        if let Some(picture) = self.picture.as_ref().filter(|picture| **picture != trained.picture) {
            let [asked, given] = [picture, &trained.picture].map(serde_json::to_string);
            bail!("picture is {}: must be that of the network, {}", asked?, given?);
        }
        let labels = self.labels.len();
        let pictures = (u64::from(self.columns) * u64::from(self.rows)).saturating_mul(self.sheets.len() as u64);
        ensure!(labels > 0, "there are no labels: nothing can be compared");
        ensure!(labels as u64 <= pictures, "there are {labels} labels, but only {pictures} pictures");
        check(&self.labels, count)?;
        if let Some(answers) = &self.answers {
            ensure!(labels == answers.len(), "there are {labels} labels, but {} answers", answers.len());
            check(answers, count)?;
        }
        ensure!(self.accuracy.is_none() || self.answers.is_some(), "accuracy is that of answers, which are missing");
        Ok(())
    }

    /// The pictures of a sheet, row by row.
    fn cut(&self, sheet: DynamicImage, name: &str) -> Result<impl Iterator<Item = DynamicImage> + use<>> {
        let (columns, rows) = (self.columns, self.rows);
        let (w, h) = (sheet.width(), sheet.height());
        ensure!(
            w % columns == 0 && h % rows == 0,
            "{} is {w}x{h}, which is not {columns} columns by {rows} rows of pictures",
            shown(name)
        );
        let (w, h) = (w / columns, h / rows);
        let places = (0..rows).flat_map(move |y| (0..columns).map(move |x| (x * w, y * h)));
        let sheet = sheet.into_rgb8();
        Ok(places.map(move |(x, y)| DynamicImage::from(crop_imm(&sheet, x, y, w, h).to_image())))
    }
}

/// Whether the convolutions of a network make the low channels of this alpha, or none; and some do.
fn has_alpha(network: &Network, alpha: f64) -> Result<bool> {
    let (mut any, mut any_wanted) = (false, false);
    for node in &network.nodes {
        let Op::Conv(conv) = &node.op else { continue };
        let wanted = Split::from_alpha(conv.channels, alpha)?.low;
        let low = match conv.split {
            Some([_, low]) => low,
            None => Split::from_alpha(conv.channels, conv.alpha)?.low,
        };
        if low != 0 && low != wanted {
            return Ok(false);
        }
        any |= low != 0;
        any_wanted |= wanted != 0;
    }
    Ok(any == any_wanted)
}

/// One of the sheets. They are read one by one, because each can be large.
fn sheet(folder: Option<&Path>, i: usize, name: &str, limits: Limits) -> Result<DynamicImage> {
    match folder {
        Some(folder) => picture::read(&folder.join(name), limits),
        None => picture::decode(digits::SHEETS[i], limits).with_context(|| name.to_owned()),
    }
}
