//! `octconv report` as its users run it: what it writes, goes on with, refuses, and puts side by side.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use html5ever::tendril::TendrilSink;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::RcDom;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::{NO_ADAPTER, Outcome, octconv};

/// A report that was made by hand.
const EXAMPLE: &str = include_str!("../report/example.json");
const PAGE: &str = "<!DOCTYPE html><!--octconv report-->";
const CARDS: &str = "<ul class=\"cards\">";

/// A folder with a small layer and a small network, whose name is hostile.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let conv = json!({"name": "a", "op": "conv", "input": "input", "channels": 8, "alpha": 0.5, "kernel": [3, 3], "padding": "same"});
        let nodes = json!([conv, {"name": "b", "op": "global_pool", "input": "a"}]);
        let picture =
            json!({"height": 8, "width": 8, "channels": 3, "resize": "fit", "mean": [0, 0, 0], "std": [1, 1, 1]});
        let network = json!({"name": "<script>n</script>", "input": {"channels": 3}, "nodes": nodes, "output": "b", "picture": picture});
        folder.write("network.json", &network.to_string());
        let (size, input) = (json!({"h": 8, "w": 8}), json!({"channels": 8, "alpha": 0.5}));
        let layer = json!([{"name": "small & <b>", "size": size, "input": input, "channels": 8, "alpha": 0.5}]);
        folder.write("layers.json", &layer.to_string());
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The arguments of a report about the small layer and network.
    fn report(&self, minutes: &str, flags: &[&str]) -> Vec<String> {
        let (out, layers, network) = (self.path("out"), self.path("layers.json"), self.path("network.json"));
        let arguments = ["report", "--out", &out, "--layers", &layers, "--network", &network, "--minutes", minutes];
        arguments.iter().chain(flags).map(|argument| (*argument).to_owned()).collect()
    }

    fn data(&self) -> Value {
        serde_json::from_str(&self.read("out/report.json")).unwrap()
    }
}

/// The names of the steps of a report.
fn steps(report: &Value) -> Vec<&str> {
    report["done"].as_array().unwrap().iter().map(|done| done["step"].as_str().unwrap()).collect()
}

/// Fails unless a page is right HTML, needs nothing but itself, and has the verdict.
#[track_caller]
fn assert_page(text: &str, verdict: &str) {
    assert!(text.starts_with(PAGE) && text.trim_end().ends_with("</html>"), "{text}");
    let tokenizer = TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() };
    let page = parse_document(RcDom::default(), ParseOpts { tokenizer, ..ParseOpts::default() }).one(text);
    assert_eq!(*page.errors.borrow(), Vec::<String>::new());
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!text.contains(outside), "{outside} in {text}");
    }
    assert!(text.contains(verdict), "{verdict} is not in {text}");
}

#[test]
fn a_report_is_made_and_goes_on() {
    let folder = Folder::new();
    let first = Outcome::with(&folder.report("0.3", &["--dtype", "f32"]));
    assert_eq!(first.code, 0, "{}", first.stderr);
    let report = folder.data();
    assert_eq!(report["octconv_report"], 2);
    assert!(!steps(&report).is_empty() && report["problems"] == json!([]), "{report}");
    assert!(report["verify"].as_array().unwrap().iter().all(|row| row["wrong"] == 0), "{report}");
    assert!(first.stdout.contains("right on ") && first.stdout.contains("report.html"), "{}", first.stdout);
    let page = folder.read("out/report.html");
    assert_page(&page, "right on ");
    assert!(!page.contains("<script>n") && !page.contains("& <b>"));
    let secret =
        [folder.0.path().to_str().unwrap().to_owned(), env!("CARGO_MANIFEST_DIR").into(), "layers.json".into()];
    for name in secret.into_iter().chain(std::env::var("HOME").ok().filter(|home| home.len() > 1)) {
        assert!(!page.contains(&name) && !folder.read("out/report.json").contains(&name), "{name}");
    }

    // The same command goes on, and so does the page alone, when it is merged.
    let second = Outcome::with(&folder.report("0.3", &["--dtype", "f32"]));
    assert_eq!(second.code, 0, "{}", second.stderr);
    let after = folder.data();
    assert!(steps(&after).starts_with(&steps(&report)) && after["started"] == report["started"], "{after}");
    assert!(steps(&after).len() > steps(&report).len(), "{after}");
    let merged =
        Outcome::with(&["report", "--merge", &folder.path("out/report.json"), &folder.path("out/report.html")])
            .succeeded();
    assert!(merged.starts_with("A: ") && merged.contains("\nB: "), "{merged}");

    // Other options are another report, and so is another layer of the same name.
    let before = folder.read("out/report.json");
    let other = "other networks, layers, types or accuracy: name another folder with --out, or remove it";
    Outcome::with(&folder.report("0.1", &["--dtype", "f32", "--fast"])).assert_refused(other);
    folder.write("layers.json", &folder.read("layers.json").replace("\"h\":8", "\"h\":10"));
    Outcome::with(&folder.report("0.1", &["--dtype", "f32"])).assert_refused(other);
    assert_eq!(folder.read("out/report.json"), before);
}

/// Starts a report, waits until report.json is as `wanted`, and ends the program with `stop`.
fn stop_when(folder: &Folder, wanted: impl Fn(&Value) -> bool, stop: impl Fn(&mut Child)) {
    let mut command = octconv();
    let mut program =
        command.args(folder.report("5", &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let found = loop {
        let text = fs::read(folder.path("out/report.json")).unwrap_or_default();
        match serde_json::from_slice::<Value>(&text) {
            // A report that ends early tells what is left.
            Ok(report) if report["left"].as_u64() == Some(0) => break false,
            Ok(report) if wanted(&report) => break true,
            _ if start.elapsed() > Duration::from_secs(300) => break false,
            _ => sleep(Duration::from_millis(5)),
        }
    };
    stop(&mut program);
    assert!(!program.wait().unwrap().success());
    assert!(found, "it does not come");
}

#[test]
fn a_report_that_is_killed_is_whole_and_skips_the_step() {
    let folder = Folder::new();
    stop_when(&folder, |report| report["done"] != json!([]), |program| program.kill().unwrap());
    let report = folder.data();
    assert_page(&folder.read("out/report.html"), CARDS);
    // Wherever it was killed: as if it had been in a step that crashes.
    let crash = "verify networks --seed 8";
    let line = |line: &str| match line.trim_start().starts_with("\"begun\":") {
        true => format!("  \"begun\": \"{crash}\","),
        false => line.to_owned(),
    };
    let text: Vec<_> = folder.read("out/report.json").lines().map(line).collect();
    folder.write("out/report.json", &(text.join("\n") + "\n"));
    for _ in 0..2 {
        let outcome = Outcome::with(&folder.report("0.01", &[]));
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        assert!(
            outcome.stdout.contains(&format!("1 step failed {crash}: the process ended in it\n")),
            "{}",
            outcome.stdout
        );
        let after = folder.data();
        assert!(steps(&after).starts_with(&steps(&report)) && !steps(&after).contains(&crash));
        assert_eq!(after["problems"], json!([{"step": crash, "problem": "the process ended in it"}]));
        assert_eq!(after["begun"], Value::Null);
    }
    assert_page(&folder.read("out/report.html"), "the process ended in it");
}

/// Who stops the command does not say that a step is at fault.
#[test]
#[cfg(unix)]
fn a_step_that_is_stopped_is_done_again() {
    let folder = Folder::new();
    let interrupt = |program: &mut Child| {
        let stopped = Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap();
        assert!(stopped.success());
    };
    stop_when(&folder, |report| report["begun"] != Value::Null, interrupt);
    let report = folder.data();
    assert_eq!((&report["begun"], &report["problems"]), (&Value::Null, &json!([])));
    let outcome = Outcome::with(&folder.report("0.01", &[]));
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_device_that_cannot_plan_the_network_gets_a_report_of_layers() {
    let folder = Folder::new();
    // Terabytes.
    let network = folder.read("network.json").replace("\"channels\":8", "\"channels\":1048576");
    folder.write(
        "network.json",
        &network.replace("\"height\":8", "\"height\":4096").replace("\"width\":8", "\"width\":4096"),
    );
    let outcome = Outcome::with(&folder.report("0.01", &["--dtype", "f32"]));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let report = folder.data();
    assert_eq!(report["refused"][0]["step"], "network <script>n</script>");
    assert!(outcome.stdout.contains("1 step refused network <script>n</script>: "), "{}", outcome.stdout);
    assert_page(&folder.read("out/report.html"), "Steps that the device has no room or no features for");
}

#[test]
fn reports_side_by_side_say_what_got_slower() {
    let folder = Folder::new();
    let a = folder.write("a.json", EXAMPLE);
    let mut other: Value = serde_json::from_str(EXAMPLE).unwrap();
    other["adapter"]["name"] = json!("<script>alert(1)</script>");
    // Twice as slow, twice as fast, and within noise.
    for (pointer, factor) in [("/layers/0/octave", 2.0), ("/layers/1/octave", 0.5), ("/networks/0/octave", 1.02)] {
        for time in ["lower", "median", "upper"] {
            let time = other.pointer_mut(&format!("{pointer}/ms/{time}")).unwrap();
            *time = json!(time.as_f64().unwrap() * factor);
        }
    }
    let inside = other.to_string().replace('<', "\\u003c");
    let b = format!("{PAGE}<script type=\"application/json\" id=\"octconv-report\">{inside}</script></html>");
    let b = folder.write("b.html", &b);
    let out = folder.path("merged");
    let text = Outcome::with(&["report", "--merge", &a, &b, "--out", &out]).succeeded();
    assert!(text.contains("1 slower, 1 faster, 8 the same within noise"), "{text}");
    let (slower, faster) = ("res2.3x3, f32, batch 1, 56×56", "res3.1x1, f32, batch 1, 56×56");
    assert!(text.contains(&format!("\n  slower   2.00×  {slower}\n  faster   0.50×  {faster}\n")), "{text}");
    // It replaces its like, but nothing that it reads.
    Outcome::with(&["report", "--merge", &a, &b, "--out", &out]).succeeded();
    fs::copy(&b, folder.path("merge.html")).unwrap();
    let into = folder.0.path().to_str().unwrap();
    Outcome::with(&["report", "--merge", &a, &folder.path("merge.html"), "--out", into])
        .assert_refused("it is read too");
    let page = folder.read("merged/merge.html");
    assert_page(&page, "1 slower");
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(1)"), "{page}");

    // Three are as good as two, and the first is the measure.
    let text = Outcome::with(&["report", "--merge", &b, &a, &a]).succeeded();
    assert_eq!(text.matches("1 slower, 1 faster").count(), 2, "{text}");
}

#[test]
fn what_is_no_report_is_refused_in_a_line() {
    let folder = Folder::new();
    let a = folder.write("a.json", EXAMPLE);
    let merge = |text: &str| Outcome::with(&["report", "--merge", &a, &folder.write("other", text)]);
    merge(&EXAMPLE.replace("\"octconv_report\": 2", "\"octconv_report\": 1"))
        .assert_refused("it is a report of version 1, and this program reads version 2");
    for (text, wanted) in
        [("", "it is no report"), ("{}", "it is no report"), ("[1", "it is no report"), (PAGE, "it is no report")]
    {
        merge(text).assert_refused(wanted);
    }
    merge("{\"octconv_report\": 2}").assert_refused("missing field");
    Outcome::with(&["report", "--merge", &a, &folder.path("nowhere"), "--out", &folder.path("merged")])
        .assert_refused("nowhere");
    assert!(!Path::new(&folder.path("merged")).exists());
    Outcome::with(&["report", "--merge", &a, &a, "--out", &folder.path("no/where")])
        .assert_refused("making the folder ");

    for wrong in
        [&["--minutes", "0"][..], &["--minutes", "NaN"], &["--minutes", "x"], &["--dtype", "f8"], &["--merge", &a]]
    {
        assert_eq!(Outcome::with(&[&["report"][..], wrong].concat()).code, 2, "{wrong:?}");
    }
    assert_eq!(Outcome::with(&["report", "--merge", &a, &a, "--minutes", "1"]).code, 2);
    Outcome::of(octconv().args(folder.report("1", &[])).env(NO_ADAPTER.0, NO_ADAPTER.1))
        .assert_refused("no GPU adapter");
    Outcome::with(&["report", "--network", "nothing", "--out", &folder.path("out")])
        .assert_refused("network is nothing: ");
    assert!(!Path::new(&folder.path("out")).exists());
    // Files of another kind stay.
    fs::create_dir(folder.path("out")).unwrap();
    folder.write("out/report.html", "notes");
    Outcome::with(&folder.report("1", &[])).assert_refused("it exists and is not a page of \"octconv report\"");
    assert_eq!(folder.read("out/report.html"), "notes");
    let page = format!("{PAGE}<script type=\"application/json\" id=\"octconv-report\">{EXAMPLE}</script></html>");
    folder.write("out/report.html", &page);
    Outcome::with(&folder.report("1", &[]))
        .assert_refused("report.html has no report.json beside it: name another folder");
    assert_eq!(folder.read("out/report.html"), page);
    folder.write("out/report.html", "");
    folder.write("out/report.json", EXAMPLE);
    Outcome::with(&folder.report("1", &[]))
        .assert_refused("is a report of another device, Some GPU (some 1.2.3): name another folder");
}
