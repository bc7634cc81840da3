//! `octconv evaluate`: runs a network over pictures whose labels are known.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use image::DynamicImage;
use image::imageops::crop_imm;
use octconv::network::Graph;
use serde::Serialize;

use crate::network_source::{Answers, Trained, TrainedArgs, digits};
use crate::output::{print, print_json, progress, shown};
use crate::picture;
use crate::predictor::{Predictor, RunArgs, picture_size, top};

/// Compare a network with labels, and with the answers of the implementation that trained it.
///
/// Without arguments: the built-in trained network over 2,000 held-out digits. The exit code is 1 if an answer is not
/// that of the implementation that trained it.
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
    let (answers, sheets) = load(args.answers.as_deref())?;
    let Trained { graph, checkpoint, picture: rule, .. } = args.trained.load()?;
    let pictures = cut(&answers, &sheets)?;
    let size = picture_size(&rule, args.batch);
    check_classes(&graph, &answers)?;
    let predictor = Predictor::new(&graph, checkpoint, size, &args.run, Vec::new())?;

    let bar = progress(pictures.len() as u64, "{bar:30} {pos}/{len} pictures")?;
    let mut found = Vec::with_capacity(pictures.len());
    for batch in pictures.chunks(args.batch as usize) {
        let inputs: Vec<_> = batch.iter().map(|cell| picture::to_input(cell, &rule)).collect();
        for values in predictor.answer(&inputs)? {
            found.push(top(&values, 1).first().map_or(usize::MAX, |&(class, _)| class));
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();

    let correct = found.iter().zip(&answers.labels).filter(|(a, b)| a == b).count();
    let different: Vec<_> = (0..found.len()).filter(|&i| found[i] != answers.answers[i]).collect();
    let report = Report {
        network: graph.network().name.clone(),
        on: predictor.describe(),
        dtype: args.run.types.dtype.to_string(),
        sums: args.run.types.sums.to_string(),
        pictures: found.len(),
        correct,
        accuracy: correct as f64 / found.len() as f64,
        expected_accuracy: answers.accuracy,
        different,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&format!(
            "{} on {}, {}\n{}{} of {} right: {:.2}% (expected {:.2}%)\n{} answers differ from those expected\n",
            shown(&report.network),
            report.on,
            args.run.types,
            predictor.tuned(),
            report.correct,
            report.pictures,
            100.0 * report.accuracy,
            100.0 * report.expected_accuracy,
            report.different.len(),
        ))?;
    }
    Ok(if report.different.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The answers, and the sheets that they name.
fn load(path: Option<&Path>) -> Result<(Answers, Vec<DynamicImage>)> {
    let Some(path) = path else {
        let decode = |(name, bytes): (&str, &[u8])| image::load_from_memory(bytes).with_context(|| name.to_string());
        return Ok((digits::answers()?, digits::SHEETS.into_iter().map(decode).collect::<Result<_>>()?));
    };
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let answers: Answers = serde_json::from_str(&text).with_context(reading)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let sheets = answers.sheets.iter().map(|sheet| picture::read(&folder.join(sheet))).collect::<Result<_>>()?;
    Ok((answers, sheets))
}

/// The pictures of all sheets, row by row.
fn cut(answers: &Answers, sheets: &[DynamicImage]) -> Result<Vec<DynamicImage>> {
    let (columns, rows) = (answers.columns, answers.rows);
    let mut cells = Vec::new();
    for (sheet, name) in sheets.iter().zip(&answers.sheets) {
        let (w, h) = (sheet.width(), sheet.height());
        ensure!(
            columns > 0 && rows > 0 && w % columns == 0 && h % rows == 0,
            "{name} is {w}x{h}, which is not {columns} columns by {rows} rows of pictures"
        );
        let (w, h) = (w / columns, h / rows);
        let places = (0..rows).flat_map(|y| (0..columns).map(move |x| (x * w, y * h)));
        let sheet = sheet.to_rgb8();
        cells.extend(places.map(|(x, y)| DynamicImage::from(crop_imm(&sheet, x, y, w, h).to_image())));
    }
    let (labels, expected) = (answers.labels.len(), answers.answers.len());
    ensure!(!cells.is_empty() && labels == expected, "there are {labels} labels, but {expected} answers");
    ensure!(labels <= cells.len(), "there are {labels} labels, but only {} pictures", cells.len());
    cells.truncate(labels);
    Ok(cells)
}

fn check_classes(graph: &Graph, answers: &Answers) -> Result<()> {
    let classes = graph.classes().context("the network answers with a map, and not with classes")? as usize;
    let most = answers.labels.iter().chain(&answers.answers).max().copied().unwrap_or(0);
    ensure!(most < classes, "label {most} is too large: the network has {classes} classes, counted from 0");
    Ok(())
}
