//! Keeps docs/bundle.schema.json, and the tables of docs/bundle.md, as the types of the manifest say.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Manifest;

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

fn schema() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Manifest)).unwrap();
    schema["title"] = "manifest.json of a bundle of octconv".into();
    schema
}

/// The text of a comment in one line of a table.
fn description(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// Every object with its fields, and every list of choices, as docs/bundle.md has them.
fn tables() -> String {
    let schema = schema();
    let mut text = String::new();
    let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, object)| (name.as_str(), object));
    for (name, object) in std::iter::once(("Manifest", &schema)).chain(definitions) {
        assert!(object["description"].is_string(), "{name} has no comment");
        write!(text, "\n### {name}\n\n{}\n\n", description(object)).unwrap();
        if let Some(choices) = object["oneOf"].as_array() {
            text += "| value | |\n|---|---|\n";
            for choice in choices {
                let value = match (&choice["const"], choice["properties"].as_object()) {
                    (Value::String(name), _) => format!("`\"{name}\"`"),
                    (_, Some(fields)) => format!("`{{\"{}\": n}}`", fields.keys().next().unwrap()),
                    other => panic!("{other:?} in {name}"),
                };
                writeln!(text, "| {value} | {} |", description(choice)).unwrap();
            }
            continue;
        }
        text += "| field | type | |\n|---|---|---|\n";
        for (field, value) in object["properties"].as_object().unwrap() {
            writeln!(text, "| `{field}` | {} | {} |", kind(value), description(value)).unwrap();
        }
    }
    text
}

/// The type of a field, with a link if it is an object or a choice.
fn kind(value: &Value) -> String {
    if let Some(path) = value["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(any) = value["anyOf"].as_array() {
        let kinds: Vec<_> = any.iter().filter(|kind| kind["type"] != "null").map(kind).collect();
        return kinds.join(" or ");
    }
    if let Some(items) = value.get("items") {
        return format!("list of {}", kind(items));
    }
    match &value["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap().into(),
        other => panic!("{other} in {value}"),
    }
}

#[test]
fn the_schema_and_the_documentation_are_those_of_the_types() {
    const MARK: &str = "<!-- fields -->\n";
    let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    let page = std::fs::read_to_string(docs("bundle.md")).unwrap();
    let (before, listed) = page.split_once(MARK).unwrap();
    let tables = tables();
    if std::env::var_os("OCTCONV_WRITE_DOCS").is_some() {
        std::fs::write(docs("bundle.schema.json"), schema).unwrap();
        std::fs::write(docs("bundle.md"), format!("{before}{MARK}{tables}")).unwrap();
        return;
    }
    let advice = "run this test with OCTCONV_WRITE_DOCS=1, and it writes them";
    assert_eq!(std::fs::read_to_string(docs("bundle.schema.json")).unwrap(), schema, "{advice}");
    assert_eq!(listed, tables, "{advice}");
}
