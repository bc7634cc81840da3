//! `octconv evaluate` on pictures of its users: folders of classes, lists, sheets, and what is counted.

use std::fs;

use serde_json::{Value, json};

use crate::files;
use crate::means::{Means, fitted};
use crate::run::{Outcome, refused};

const RED: [u8; 3] = [255, 51, 0];
const GREEN: [u8; 3] = [0, 255, 51];
const BLUE: [u8; 3] = [0, 51, 255];

/// Folders of three colours. One of the blue pictures is green, with more blue than red.
fn colours() -> Means {
    let means = Means::new(fitted());
    means.picture("data/red/a.png", RED);
    means.picture("data/red/deep/b.png", RED);
    means.picture("data/green/a.png", GREEN);
    means.picture("data/blue/a.png", BLUE);
    means.picture("data/blue/b.png", GREEN);
    fs::write(means.path("labels.txt"), "red\ngreen\nblue\n").unwrap();
    means
}

impl Means {
    fn evaluate(&self, pictures: &str, flags: &[&str]) -> Outcome {
        self.run(&[&["evaluate", &self.path(pictures)], flags].concat())
    }
}

#[test]
fn folders_of_classes_are_counted() {
    let means = colours();
    let (labels, out, table) = (means.path("labels.txt"), means.path("out.csv"), means.path("table.csv"));
    let flags = ["--labels", &labels, "--top", "2", "--out", &out, "--confusion", &table];
    let outcome = means.evaluate("data", &[&flags[..], &["--json", "--batch", "2"]].concat());
    let report: Value = serde_json::from_str(&outcome.succeeded()).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("pictures"), count("correct"), count("top"), count("top_correct")), (5, 4, 2, 5));
    assert_eq!((&report["accuracy"], &report["top_accuracy"]), (&json!(0.8), &json!(1.0)));
    assert!(report.get("different").is_none() && report.get("expected_accuracy").is_none(), "{report}");
    let cell =
        |label: &str, answer: &str, pictures: u32| json!({"label": label, "answer": answer, "pictures": pictures});
    let cells = [cell("red", "red", 2), cell("green", "green", 1), cell("blue", "green", 1), cell("blue", "blue", 1)];
    assert_eq!(report["confusion"], json!(cells));
    let data = means.path("data");
    let rows = format!(
        "file,label,answer,score,rank\n{data}/blue/a.png,blue,blue,1,1\n{data}/blue/b.png,blue,green,1,2\n\
         {data}/green/a.png,green,green,1,1\n{data}/red/a.png,red,red,1,1\n{data}/red/deep/b.png,red,red,1,1\n"
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), rows);
    let wanted = "label/answer,red,green,blue,not finite\nred,2,0,0,0\ngreen,0,1,0,0\nblue,0,1,1,0\n";
    assert_eq!(fs::read_to_string(&table).unwrap(), wanted);
    // What was written is replaced by its like, and is a list that can be read.
    let text = means.evaluate("out.csv", &["--labels", &labels]).succeeded();
    let wanted = "\n4 of 5 right: 80.00%\n5 among the first 3 answers: 100.00%\nlabels in rows, answers in columns:\n      \
                  red green blue\nred     2     .    .\ngreen   .     1    .\nblue    .     1    1\n";
    assert!(text.ends_with(wanted), "{text}");
    assert_eq!(means.evaluate("data", &flags).code, 0);

    // Without labels, the sorted names are the classes: blue, green, red.
    let outcome = means.evaluate("data", &["--json"]);
    let report: Value = serde_json::from_str(&outcome.succeeded()).unwrap();
    assert_eq!(report["correct"], json!(1));
    assert_eq!(report["confusion"][0], json!({"label": "blue", "answer": "green", "pictures": 1}));
    // Names of classes without pictures may be among the labels.
    fs::remove_dir_all(means.path("data/green")).unwrap();
    assert!(means.evaluate("data", &["--labels", &labels]).succeeded().contains("\n3 of 4 right: 75.00%\n"));
}

#[test]
fn lists_name_classes_or_their_numbers() {
    let means = colours();
    let labels = means.path("labels.txt");
    let list = |text: &str| fs::write(means.path("list.csv"), text).unwrap();
    let absolute = means.path("data/green/a.png");
    list(&format!(
        "\u{feff}who,label , file\r\n\"a, b\",blue, data/blue/a.png\r\nc,1,{absolute}\r\nd,red,data/blue/b.png\r\n"
    ));
    let text = means.evaluate("list.csv", &["--labels", &labels]).succeeded();
    assert!(text.contains("\n2 of 3 right: 66.67%\n"), "{text}");
    list("file,label\ndata/blue/a.png,2\nmissing.png,1\ndata/red/a.png,0\n");
    let outcome = means.evaluate("list.csv", &["--json", "--out", &means.path("out.csv")]);
    assert!(outcome.error().starts_with("error: ") && outcome.error().contains("missing.png"), "{}", outcome.stderr);
    let report = outcome.json();
    assert_eq!((outcome.code, &report["pictures"], &report["correct"]), (1, &json!(2), &json!(2)));
    assert!(fs::read_to_string(means.path("out.csv")).unwrap().contains("missing.png,1,,,\n"));

    for (text, wanted) in [
        ("file,label\n", "list.csv: there are no labels"),
        ("file,label\na.png,3\n", "list.csv: label 3 is too large: the network has 3 classes, counted from 0"),
        ("file,label\na.png,cat\n", "label cat of a.png is no number, and --labels does not name it"),
        ("file,class\na.png,1\n", "must have the columns file and label: "),
        ("file,label\na.png\n", "list.csv: must have the columns file and label: "),
    ] {
        list(text);
        means.evaluate("list.csv", &[]).assert_refused(wanted);
    }
    // The list itself is not replaced.
    list("file,label\ndata/red/a.png,0\n");
    for flag in ["--out", "--confusion"] {
        means.evaluate("list.csv", &[flag, &means.path("list.csv")]).assert_refused("name another file");
    }
}

#[test]
fn folders_that_are_not_the_classes_are_refused() {
    let means = colours();
    let labels = means.path("labels.txt");
    let refused = |flags: &[&str], wanted: &str| means.evaluate("data", flags).assert_refused(wanted);
    for (text, wanted) in [
        ("red\ngreen\nturquoise\n", "data: the folder blue is not in the labels"),
        ("red\nblue\nblue\n", "data: blue is the label of two classes"),
        ("red\ngreen\n", "labels.txt has 2 labels, and the network 3 classes: must have one for each"),
    ] {
        fs::write(&labels, text).unwrap();
        refused(&["--labels", &labels], wanted);
    }
    fs::create_dir(means.path("data/black")).unwrap();
    refused(&[], "data: it has 4 folders, and the network 3 classes: must have one for each, or --labels must name");
    fs::remove_dir_all(means.path("data/red")).unwrap();
    refused(&[], "black has no PNG or JPEG");
    means.evaluate("data/blue", &[]).assert_refused("blue: it has no folders: must have one for each class");
    means.evaluate("labels.txt", &[]).assert_refused("labels.txt is neither a folder with a folder for each class");
}

#[test]
fn sheets_that_are_about_another_network_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.json").to_str().unwrap().to_owned();
    image::GrayImage::new(28, 28).save(folder.path().join("sheet.png")).unwrap();
    let rule = json!({
        "height": 28, "width": 28, "channels": 1, "resize": "fit", "mean": [0.1307], "std": [0.3081], "invert": "auto"
    });
    let right = json!({
        "network": "cifar-resnet20", "alpha": 0.25, "picture": rule,
        "sheets": ["sheet.png"], "columns": 1, "rows": 1, "labels": [3],
    });
    let evaluate = |change: &dyn Fn(&mut Value), flags: &[&str]| {
        let mut sheets = right.clone();
        change(&mut sheets);
        fs::write(&path, sheets.to_string()).unwrap();
        Outcome::with(&[&["evaluate", &path, "--reference"], flags].concat())
    };
    // Two sheets of two pictures each, of which three have labels.
    let two = |sheets: &mut Value| {
        sheets["sheets"] = json!(["sheet.png", "sheet.png"]);
        (sheets["columns"], sheets["labels"]) = (json!(2), json!([3, 3, 3]));
    };
    let text = evaluate(&two, &["--batch", "2"]).succeeded();
    assert!(text.contains(" of 3 right: "), "{text}");
    // Only labels are needed: there may be no answers of another implementation.
    let text = evaluate(&|_| {}, &[]).succeeded();
    assert!(text.contains(" of 1 right: ") && !text.contains("expected"), "{text}");
    let refusal = |change: &dyn Fn(&mut Value), wanted: &str| evaluate(change, &[]).assert_refused(wanted);
    refusal(
        &|sheets| sheets["network"] = json!("resnet50"),
        "network is resnet50: must be that which is evaluated, cifar",
    );
    refusal(&|sheets| sheets["alpha"] = json!(0.5), "answers.json: alpha is 0.5: must be that of the network");
    refusal(&|sheets| sheets["alpha"] = json!(0), "answers.json: alpha is 0: must be that of the network");
    refusal(&|sheets| sheets["picture"]["invert"] = json!("never"), "\"invert\":\"auto\"}");
    refusal(&|sheets| sheets["accuracy"] = json!(0.5), "accuracy is that of answers, which are missing");
    refusal(&|sheets| sheets["answers"] = json!([3, 3]), "there are 1 labels, but 2 answers");
    refusal(&|sheets| sheets["anwers"] = json!([3]), "unknown field `anwers`, expected one of `network`, ");
    // Their product is more than 64 bits count.
    let most = |sheets: &mut Value| {
        (sheets["columns"], sheets["rows"]) = (json!(u32::MAX), json!(u32::MAX));
        sheets["sheets"] = json!(["sheet.png", "sheet.png"]);
    };
    refusal(&most, "sheet.png is 28x28, which is not 4294967295 columns by 4294967295 rows of pictures");
    refusal(&|sheets| sheets["columns"] = json!(0), "there are 1 labels, but only 0 pictures");
    refusal(&|sheets| sheets["columns"] = json!(3), "sheet.png is 28x28, which is not 3 columns by 1 rows of pictures");
    evaluate(&|_| {}, &["--size", "32"]).assert_refused("picture is {\"height\":28,");
    refused(&["evaluate", "nowhere.json"], &["nowhere.json"]);
}

/// The drawn pictures of assets/cifar, whose logits are PyTorch's, on one sheet.
#[test]
fn drawn_pictures_are_answered_as_pytorch_answers() {
    const NAME: &str = "oct-500";
    let asset = |name: &str| format!("{}/../../assets/cifar/{name}", env!("CARGO_MANIFEST_DIR"));
    let drawn = files::read(&fs::read(asset("drawn.safetensors")).unwrap());
    let (shape, pictures) = &drawn["pictures"];
    let &[count, 3, side, _] = shape.as_slice() else { panic!("{shape:?}") };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pixel = |x: u32, y: u32| {
        let (x, picture) = (x as usize % side, x as usize / side);
        let value = |channel| pictures[((picture * 3 + channel) * side + y as usize) * side + x] as u8;
        image::Rgb([0, 1, 2].map(value))
    };
    let sheet = image::RgbImage::from_fn((count * side) as u32, side as u32, pixel);
    sheet.save(path("sheet.png")).unwrap();

    let best = |logits: &[f32]| (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let right: Vec<usize> = drawn[NAME].1.chunks(10).map(best).collect();
    let [network, weights, labels] = ["oct-500.json", "oct-500.safetensors", "labels.txt"].map(asset);
    let evaluate = |answers: &[usize]| {
        let sheets = json!({
            "network": format!("cifar-{NAME}"), "alpha": 0.5,
            "sheets": ["sheet.png"], "columns": count, "rows": 1, "labels": right, "answers": answers,
        });
        fs::write(path("drawn.json"), sheets.to_string()).unwrap();
        let files = ["--network", &network, "--weights", &weights, "--labels", &labels];
        let outcome = Outcome::with(&[&["evaluate", &path("drawn.json"), "--json"], &files[..]].concat());
        (outcome.code, outcome.json())
    };
    let (code, report) = evaluate(&right);
    assert_eq!((code, &report["correct"], &report["different"]), (0, &json!(count), &json!([])));
    let mut other = right.clone();
    other[3] = (other[3] + 1) % 10;
    let (code, report) = evaluate(&other);
    assert_eq!((code, &report["different"]), (1, &json!([3])));
}
