//! `octconv evaluate`: runs a network over pictures whose labels are known.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use image::DynamicImage;
use image::imageops::crop_imm;
use octconv::network::Graph;
use serde::Serialize;

use crate::network_source::{Answers, Trained, TrainedArgs, digits};
use crate::output::{print, print_json, progress, shown, shown_path, tell};
use crate::picture;
use crate::predictor::{Predictor, RunArgs, check_finite, picture_size, top};

/// Compare a network with labels, and with the answers of the implementation that trained it.
///
/// Without arguments: the built-in trained network over 2,000 held-out digits. The exit code is 1 if an answer is not
/// that of the implementation that trained it. An answer with a NaN or an infinity is told in a line, and counts as wrong.
#[derive(clap::Args)]
pub struct Args {
    /// A JSON file that names sheets of pictures, their labels and the expected answers, like octconv-cli's
    /// assets/digits/answers.json
    #[arg(value_name = "ANSWERS.json")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Pictures that run together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    network: String,
    on: String,
    dtype: String,
    sums: String,
    pictures: usize,
    correct: usize,
    accuracy: f64,
    /// Accuracy of the implementation that trained the network.
    expected_accuracy: f64,
    /// Pictures for which that implementation has another answer.
    different: Vec<usize>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let answers = load(args)?;
    let Trained { graph, checkpoint, picture: rule, .. } = args.trained.load()?;
    check(&answers, &graph)?;
    let size = picture_size(&rule, args.batch);
    let predictor = Predictor::new(&graph, checkpoint, size, &args.run, Vec::new())?;

    let bar = progress(answers.labels.len() as u64, "{bar:30} {pos}/{len} pictures")?;
    let mut found = Vec::with_capacity(answers.labels.len());
    let mut inputs = Vec::new();
    let mut answer = |inputs: &mut Vec<_>| -> Result<()> {
        bar.inc(inputs.len() as u64);
        found.extend(predictor.answer(inputs)?.iter().map(|values| best(values)));
        inputs.clear();
        Ok(())
    };
    let mut rest = answers.labels.len();
    for (i, name) in answers.sheets.iter().enumerate() {
        for cell in cut(sheet(args, i, name)?, name, &answers)?.take(rest) {
            rest -= 1;
            inputs.push(picture::to_input(cell, &rule));
            if inputs.len() == args.batch as usize {
                answer(&mut inputs)?;
            }
        }
    }
    let labels = answers.labels.len();
    ensure!(rest == 0, "there are {labels} labels, but only {} pictures", labels - rest);
    if !inputs.is_empty() {
        answer(&mut inputs)?;
    }
    bar.finish_and_clear();

    let report = Report::new(args, &graph, &predictor, &answers, &found);
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.text(args, &predictor))?;
    }
    let not_finite = found.iter().enumerate().filter_map(|(i, found)| Some((i, found.as_ref().err()?)));
    for (i, error) in not_finite {
        tell(&format!("error: picture {i}: {error}"));
    }
    Ok(if report.different.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The class of the largest value.
fn best(values: &[f32]) -> Result<usize> {
    check_finite(values, 1)?;
    Ok(top(values, 1).first().map_or(usize::MAX, |&(class, _)| class))
}

impl Report {
    fn new(args: &Args, graph: &Graph, predictor: &Predictor, answers: &Answers, found: &[Result<usize>]) -> Self {
        let is = |found: &Result<usize>, class: usize| found.as_ref().is_ok_and(|&found| found == class);
        let correct = found.iter().zip(&answers.labels).filter(|&(found, &label)| is(found, label)).count();
        Self {
            network: graph.network().name.clone(),
            on: predictor.describe(),
            dtype: args.run.types.dtype.to_string(),
            sums: args.run.types.sums.to_string(),
            pictures: found.len(),
            correct,
            accuracy: correct as f64 / found.len() as f64,
            expected_accuracy: answers.accuracy,
            different: (0..found.len()).filter(|&i| !is(&found[i], answers.answers[i])).collect(),
        }
    }

    fn text(&self, args: &Args, predictor: &Predictor) -> String {
        format!(
            "{} on {}, {}\n{}{} of {} right: {:.2}% (expected {:.2}%)\n{} answers differ from those expected\n",
            shown(&self.network),
            self.on,
            args.run.types,
            predictor.tuned(),
            self.correct,
            self.pictures,
            100.0 * self.accuracy,
            100.0 * self.expected_accuracy,
            self.different.len(),
        )
    }
}

fn load(args: &Args) -> Result<Answers> {
    let Some(path) = &args.answers else { return digits::answers() };
    let text = args.trained.limits.read_text(path)?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", shown_path(path)))
}

/// One of the sheets that the answers name. They are read one by one, because each can be large.
fn sheet(args: &Args, i: usize, name: &str) -> Result<DynamicImage> {
    let limits = args.trained.limits;
    match &args.answers {
        Some(path) => picture::read(&path.parent().unwrap_or(Path::new(".")).join(name), limits),
        None => picture::decode(digits::SHEETS[i], limits).with_context(|| name.to_owned()),
    }
}

/// The pictures of a sheet, row by row.
fn cut(sheet: DynamicImage, name: &str, answers: &Answers) -> Result<impl Iterator<Item = DynamicImage>> {
    let (columns, rows) = (answers.columns, answers.rows);
    let (w, h) = (sheet.width(), sheet.height());
    ensure!(
        columns > 0 && rows > 0 && w % columns == 0 && h % rows == 0,
        "{name} is {w}x{h}, which is not {columns} columns by {rows} rows of pictures"
    );
    let (w, h) = (w / columns, h / rows);
    let places = (0..rows).flat_map(move |y| (0..columns).map(move |x| (x * w, y * h)));
    let sheet = sheet.into_rgb8();
    Ok(places.map(move |(x, y)| DynamicImage::from(crop_imm(&sheet, x, y, w, h).to_image())))
}

fn check(answers: &Answers, graph: &Graph) -> Result<()> {
    let (labels, expected) = (answers.labels.len(), answers.answers.len());
    ensure!(labels > 0, "there are no labels: nothing can be compared");
    ensure!(labels == expected, "there are {labels} labels, but {expected} answers");
    let classes = graph.classes().context("the network answers with a map, and not with classes")? as usize;
    let most = answers.labels.iter().chain(&answers.answers).max().copied().unwrap_or(0);
    ensure!(most < classes, "label {most} is too large: the network has {classes} classes, counted from 0");
    Ok(())
}
