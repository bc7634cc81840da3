//! `octconv evaluate`: runs a network over pictures whose labels are known.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Error, Result, ensure};
use serde::Serialize;

use crate::confusion::{Cell, Confusion};
use crate::labelled::Labelled;
use crate::network_source::{DEFAULT_BATCH, Trained, TrainedArgs};
use crate::output::{self, print, print_json, progress, shown, tell, thousands};
use crate::predictor::{Predictor, RunArgs, check_finite, picture_size, top};
use crate::target::{Kind, Target};
use crate::{hint, picture};

/// Count how many labelled pictures a network gets right
///
/// PICTURES is a folder with a folder for each class, as torchvision's ImageFolder takes it: the sorted names are the
/// classes, unless --labels names them. Or it is a .csv with the columns "file" and "label": a label is a name of --labels,
/// or the number of a class, counted from 0. Or it is a .json about sheets of pictures (docs/networks.md). Without
/// PICTURES and --network: the built-in trained network over 2,000 held-out digits.
///
/// A picture that cannot be read is told in a line, and not counted. An answer with a NaN or an infinity is told in a line,
/// and counts as wrong. In both cases the exit code is 1, and also if an answer is not that which a .json expects.
#[derive(clap::Args)]
pub struct Args {
    /// A folder with a folder for each class, a .csv with the columns file and label, or a .json about sheets
    #[arg(value_name = "PICTURES")]
    pictures: Option<PathBuf>,
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Also count the labels that are among the first K answers
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Write the answer to each picture: file, label, answer, its probability or score, and the rank of the label
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Write how often each class is taken for each other: a row for each label, and a column for each answer
    #[arg(long, value_name = "FILE.csv")]
    confusion: Option<PathBuf>,
    /// Pictures that run together. On a GPU many are faster than one; tune them with the same --batch
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of a picture.
enum Outcome {
    Unread(Error),
    NotFinite(Error),
    Answered(Answer),
}

struct Answer {
    class: usize,
    value: f32,
    /// The place of the label among the answers, from 1.
    rank: usize,
}

impl Outcome {
    fn of(values: &[f32], label: usize) -> Self {
        if let Err(error) = check_finite(values, 1) {
            return Self::NotFinite(error);
        }
        let sorted = top(values, values.len());
        let rank = 1 + sorted.iter().take_while(|&&(class, _)| class != label).count();
        let (class, value) = sorted[0];
        Self::Answered(Answer { class, value, rank })
    }

    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    fn is_read(&self) -> bool {
        !matches!(self, Self::Unread(_))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    network: String,
    on: String,
    dtype: String,
    sums: String,
    pictures: usize,
    correct: usize,
    accuracy: f64,
    top: usize,
    top_correct: usize,
    top_accuracy: f64,
    /// Accuracy of another implementation.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_accuracy: Option<f64>,
    /// Pictures for which that implementation has another answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    different: Option<Vec<usize>>,
    confusion: Vec<Cell<'a>>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let trained = args.trained.load()?;
    if let Some(classes) = trained.graph.classes() {
        args.trained.check_labels(&trained.labels, classes as usize)?;
    }
    let limits = args.trained.limits;
    let labelled = Labelled::read(args.pictures.as_deref(), &trained, limits)?;
    let target = |path: &Option<PathBuf>, kind| {
        let target = |path: &PathBuf| {
            Target::new(path, kind)?.apart_from(args.pictures.as_slice())?.apart_from(labelled.files())
        };
        path.as_ref().map(target).transpose()
    };
    let (out, table) = (target(&args.out, Kind::Answers)?, target(&args.confusion, Kind::Confusion)?);
    let has_probabilities = trained.has_probabilities();
    let checkpoint = args.trained.checkpoint(&trained.graph)?;
    let size = picture_size(&trained.picture, args.batch);
    let predictor = Predictor::new(&trained.graph, checkpoint, size, &args.run, Vec::new())?;

    let found = answers(args, &trained, &labelled, &predictor)?;
    let read: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_read()).collect();
    let pairs = read.iter().map(|&i| (labelled.labels[i], found[i].answer().map(|answer| answer.class)));
    let confusion = Confusion::new(&labelled.classes, pairs);
    if let Some(file) = &out {
        file.write(&rows(&labelled, &found, if has_probabilities { "probability" } else { "score" })?)?;
    }
    if let Some(file) = &table {
        file.write(&confusion.csv()?)?;
    }
    if !read.is_empty() {
        let report = Report::new(args, &trained, &predictor, &labelled, &found, &confusion);
        if args.json {
            print_json(&report)?;
        } else {
            let command = hint::network(args.trained.name(), &args.trained.settings, size, args.run.types);
            print(&(report.text(args, &predictor.tuned(&command)) + &confusion.text()))?;
        }
    }
    Ok(tell_mistakes(&labelled, &found))
}

/// What comes of each picture.
fn answers(args: &Args, trained: &Trained, labelled: &Labelled, predictor: &Predictor) -> Result<Vec<Outcome>> {
    let count = labelled.labels.len();
    let bar = progress(count as u64, "{bar:30} {pos}/{len} pictures")?;
    let mut found = Vec::with_capacity(count);
    found.resize_with(count, || None);
    let (mut inputs, mut numbers) = (Vec::new(), Vec::new());
    labelled.each(args.trained.limits, &mut |i, picture| {
        match picture.and_then(|picture| picture::to_input(picture, &trained.picture)) {
            Ok(input) => {
                inputs.push(input);
                numbers.push(i);
            }
            Err(error) => found[i] = Some(Outcome::Unread(error)),
        }
        if inputs.len() == args.batch as usize || i + 1 == count {
            if !inputs.is_empty() {
                for (i, values) in numbers.drain(..).zip(predictor.answer(&inputs)?) {
                    found[i] = Some(Outcome::of(&values, labelled.labels[i]));
                }
            }
            inputs.clear();
        }
        bar.set_position(i as u64 + 1);
        Ok(())
    })?;
    bar.finish_and_clear();
    let found: Vec<Outcome> = found.into_iter().flatten().collect();
    ensure!(found.len() == count, "there are {count} labels, but only {} pictures", found.len());
    Ok(found)
}

/// A row for each picture in CSV. `value`: what the value of an answer is.
fn rows(labelled: &Labelled, found: &[Outcome], value: &str) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["file", "label", "answer", value, "rank"])?;
    for (i, outcome) in found.iter().enumerate() {
        let [answer, value, rank] = match outcome.answer() {
            Some(Answer { class, value, rank }) => {
                [labelled.classes[*class].clone(), value.to_string(), rank.to_string()]
            }
            None => Default::default(),
        };
        csv.write_record([&labelled.names[i], &labelled.classes[labelled.labels[i]], &answer, &value, &rank])?;
    }
    Ok(csv.into_inner()?)
}

/// Tells what went wrong, a line for each picture.
fn tell_mistakes(labelled: &Labelled, found: &[Outcome]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, outcome) in labelled.names.iter().zip(found) {
        match outcome {
            Outcome::Unread(error) => tell(&format!("error: {}", output::reason(error))),
            Outcome::NotFinite(error) => tell(&format!("error: {}: {error}", shown(name))),
            Outcome::Answered(_) => continue,
        }
        code = ExitCode::FAILURE;
    }
    let differs = |(i, &answer): (usize, &usize)| found[i].answer().is_none_or(|found| found.class != answer);
    if labelled.expected.iter().any(|expected| expected.answers.iter().enumerate().any(differs)) {
        code = ExitCode::FAILURE;
    }
    code
}

impl<'a> Report<'a> {
    fn new(
        args: &Args,
        trained: &Trained,
        predictor: &Predictor,
        labelled: &Labelled,
        found: &[Outcome],
        confusion: &'a Confusion,
    ) -> Self {
        let pictures = found.iter().filter(|outcome| outcome.is_read()).count();
        let ranked =
            |most: usize| found.iter().filter_map(Outcome::answer).filter(|answer| answer.rank <= most).count();
        let top = (args.top as usize).min(labelled.classes.len());
        let (correct, top_correct) = (ranked(1), ranked(top));
        let differs = |i: &usize, answer: usize| found[*i].answer().is_none_or(|found| found.class != answer);
        let expected = labelled.expected.as_ref();
        Self {
            network: trained.graph.network().name.clone(),
            on: predictor.describe(),
            dtype: args.run.types.dtype.to_string(),
            sums: args.run.types.sums.to_string(),
            pictures,
            correct,
            accuracy: correct as f64 / pictures as f64,
            top,
            top_correct,
            top_accuracy: top_correct as f64 / pictures as f64,
            expected_accuracy: expected.and_then(|expected| expected.accuracy),
            different: expected.map(|expected| (0..found.len()).filter(|i| differs(i, expected.answers[*i])).collect()),
            confusion: confusion.cells(),
        }
    }

    /// `tuned`: a line about the tuning.
    fn text(&self, args: &Args, tuned: &str) -> String {
        let count = |count: usize| thousands(count as u128);
        let network = shown(&self.network);
        let mut text = format!("{network} on {}, {}\n{tuned}", self.on, args.run.types);
        text += &format!("{} of {} right: {:.2}%", count(self.correct), count(self.pictures), 100.0 * self.accuracy);
        if let Some(expected) = self.expected_accuracy {
            text += &format!(" (expected {:.2}%)", 100.0 * expected);
        }
        let (top, top_correct) = (self.top, count(self.top_correct));
        text += &format!("\n{top_correct} among the first {top} answers: {:.2}%\n", 100.0 * self.top_accuracy);
        if let Some(different) = &self.different {
            text += &format!("{} answers differ from those expected\n", count(different.len()));
        }
        text
    }
}
