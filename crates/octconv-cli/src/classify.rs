//! `octconv classify`: says what pictures show.

use std::fmt::{self, Display, Formatter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::network::Graph;
use serde::Serialize;

use crate::class_map::ClassMap;
use crate::network_source::{DEFAULT_BATCH, Trained, TrainedArgs};
use crate::output::{self, shown, shown_path};
use crate::predictor::{Predictor, RunArgs, check_finite, picture_size, top};
use crate::target::{Kind, Target};
use crate::{features, hint, picture};

/// Say what pictures show.
///
/// Takes PNG and JPEG of any size, and folders of them, with the folders inside. Without --network, the built-in trained network reads handwritten
/// digits. Answers are probabilities if the network ends with a softmax, and else scores. If the network answers with a map
/// that has a channel per class, they are the classes of its positions, with the share of positions that each has. If a
/// picture cannot be read, or its answer has a NaN or an infinity, it is reported after the others, in one line, and the
/// exit code is 1.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures, or folders of pictures
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Answers to show per picture
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Pictures that run together. On a GPU many are faster than one; tune them with the same --batch
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Print JSON: one object per picture, each on its own line
    #[arg(long)]
    json: bool,
    /// Also draw the high- and low-frequency maps of a node for the first picture, side by side
    #[arg(long, value_name = "OUT.png")]
    features: Option<PathBuf>,
    /// Also draw the class of each position for the first picture, if the network answers with a map: a PNG whose pixels
    /// are numbers of classes, with a colour for each
    #[arg(long, value_name = "OUT.png")]
    map: Option<PathBuf>,
    /// The node to draw (default: the first node that ends a stage and has both frequencies)
    #[arg(long, value_name = "NODE", requires = "features")]
    node: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    label: String,
    class: usize,
    #[serde(flatten)]
    value: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Probability(f32),
    /// What a network without a softmax gives.
    Score(f32),
    /// The share of positions of a class.
    Share(f32),
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probability(share) | Self::Share(share) => write!(f, "{:.2}%", 100.0 * share),
            Self::Score(score) => write!(f, "{score:.4}"),
        }
    }
}

#[derive(Serialize)]
struct Answered {
    picture: String,
    answers: Vec<Answer>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let files = picture::expand(&args.pictures)?;
    let target =
        |path: &Option<PathBuf>| path.as_ref().map(|path| Target::new(path, Kind::Png)?.apart_from(&files)).transpose();
    let (drawing, map_drawing) = (target(&args.features)?, target(&args.map)?);
    if let (Some(features), Some(map)) = (&drawing, &map_drawing) {
        ensure!(features.path() != map.path(), "--features and --map name one file: name another for one of them");
    }
    let trained = args.trained.load()?;
    let has_probabilities = trained.has_probabilities();
    let Trained { graph, labels, picture: rule } = trained;
    let name = graph.network().name.clone();
    let size = picture_size(&rule, args.batch);
    let map = ClassMap::of_answer(&graph, size)?;
    if args.map.is_some() {
        map.with_context(|| format!("{name} answers with one vector, which --map cannot draw"))?.check_drawable()?;
    }
    if let Some(classes) = map.map(|map| map.class_count()).or(graph.classes().map(|classes| classes as usize)) {
        args.trained.check_labels(&labels, classes)?;
    }
    let value = match map {
        Some(_) => Value::Share,
        None if has_probabilities => Value::Probability,
        None => Value::Score,
    };
    let node = match (&args.features, &args.node) {
        (None, _) => None,
        (Some(_), Some(node)) => Some(known(node, &graph)?),
        (Some(_), None) => Some(features::default_node(&graph, size)?),
    };
    let checkpoint = args.trained.checkpoint(&graph)?;
    let predictor = Predictor::new(&graph, checkpoint, size, &args.run, node.iter().cloned().collect())?;

    let mut answered = Vec::new();
    let mut broken = Vec::new();
    let mut first = None;
    let mut first_classes = None;
    let bar = output::progress(files.len() as u64, "{bar:30} {pos}/{len} pictures")?;
    for files in files.chunks(size.n as usize) {
        let mut names = Vec::new();
        let mut inputs = Vec::new();
        for file in files {
            let input = |picture| picture::to_input(picture, &rule).with_context(|| shown_path(file));
            match picture::read(file, args.trained.limits).and_then(input) {
                Ok(input) => {
                    names.push(file.to_string_lossy().into_owned());
                    inputs.push(input);
                }
                Err(error) => broken.push(error),
            }
        }
        if inputs.is_empty() {
            continue;
        }
        for (picture, values) in names.into_iter().zip(predictor.answer(&inputs)?) {
            if let Err(error) = check_finite(&values, map.map_or(1, |map| map.positions())) {
                broken.push(error.context(shown(&picture)));
                continue;
            }
            let mut numbers = values;
            if let Some(map) = map {
                let classes = map.classes(&numbers);
                numbers = map.shares(&classes);
                first_classes.get_or_insert(classes);
            }
            let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
            let answer = |(class, number)| Answer { label: label(class), class, value: value(number) };
            // A map need not have every class.
            let is_there = |&(_, number): &(usize, f32)| map.is_none() || number > 0.0;
            let answers = top(&numbers, args.top as usize).into_iter().filter(is_there).map(answer).collect();
            answered.push(Answered { picture, answers });
        }
        first.get_or_insert_with(|| inputs.swap_remove(0));
        bar.inc(files.len() as u64);
    }
    bar.finish_and_clear();

    if args.json {
        output::print(&output::json_lines(&answered)?)?;
    } else if !answered.is_empty() {
        let heading = format!("{}, {}x{}, on {}\n", shown(&name), rule.height, rule.width, predictor.describe());
        output::print(
            &(heading
                + &predictor.tuned(&hint::network(args.trained.name(), &args.trained.settings, size, args.run.types))
                + &table(&answered)),
        )?;
    }
    if let (Some(file), Some(node), Some(input)) = (&drawing, &node, &first) {
        let maps = predictor.features(input, node)?;
        file.write(&features::draw(&maps).with_context(|| format!("drawing {node}"))?)?;
        if !args.json {
            output::print(&format!("{} of the first picture is drawn in {}\n", shown(node), shown_path(file.path())))?;
        }
    }
    if let (Some(file), Some(map), Some(classes)) = (&map_drawing, map, &first_classes) {
        file.write(&map.draw(classes)?)?;
        if !args.json {
            output::print(&format!("classes of the first picture are drawn in {}\n", shown_path(file.path())))?;
        }
    }
    let Some(last) = broken.pop() else { return Ok(ExitCode::SUCCESS) };
    for error in broken {
        output::tell(&format!("error: {}", output::reason(&error)));
    }
    bail!(last)
}

/// The node that --node names.
fn known(node: &str, graph: &Graph) -> Result<String> {
    let name = &graph.network().name;
    let is_node = graph.network().nodes.iter().any(|other| other.name == node);
    ensure!(is_node, "--node is {}: must be the name of a node of {}", shown(node), shown(name));
    Ok(node.to_owned())
}

fn table(rows: &[Answered]) -> String {
    let width = rows.iter().map(|row| shown(&row.picture).chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for Answered { picture, answers } in rows {
        let _ = write!(out, "{:<width$}", shown(picture));
        for Answer { label, value, .. } in answers {
            let _ = write!(out, "   {} {value}", shown(label));
        }
        out.push('\n');
    }
    out
}
