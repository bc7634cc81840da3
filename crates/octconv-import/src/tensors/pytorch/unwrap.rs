//! Finds the tensors in what `torch.save` was given.

use std::collections::BTreeSet;

use super::super::error::Error;
use super::super::limits::check_name;
use super::value::{Arena, Id, Tensor, Value};

/// The keys under which programs keep the tensors of a network. The first that is there is taken.
const WRAPPERS: [&str; 14] = [
    // Lightning, timm, MMEngine, d-li14
    "state_dict",
    // PyTorch's tutorial
    "model_state_dict",
    // SlowFast
    "model_state",
    "model",
    "net",
    "net_state_dict",
    "network",
    "network_state_dict",
    "module",
    "weights",
    "params",
    // Means over the training: only if there is nothing else.
    "state_dict_ema",
    "model_ema",
    "params_ema",
];

/// How deep such dictionaries are in each other.
const DEEPEST: usize = 4;
/// Keys that an error lists, and of what is left out.
const LISTED: usize = 10;

/// Tensors, and where they were.
pub(super) struct Content<'a> {
    pub(super) within: Vec<String>,
    /// The first of what is no tensor, and how many more there are. Nothing is made for each, because a short pickle may
    /// repeat one value often.
    pub(super) left_out: Vec<String>,
    pub(super) left_out_more: usize,
    /// With their names.
    pub(super) tensors: Vec<(&'a str, &'a Tensor)>,
}

/// The tensors of the innermost dictionary that the known keys lead to.
pub(super) fn unwrap(arena: &Arena, root: Id) -> Result<Content<'_>, Error> {
    let mut within = Vec::new();
    let mut id = root;
    while within.len() < DEEPEST {
        let Value::Dict(pairs) = arena.value(id) else { break };
        let entry = |wrapper: &&str| pairs.iter().find(|(key, _)| arena.text(*key) == Some(*wrapper));
        let holds = |(_, value): &&(Id, Id)| matches!(arena.value(*value), Value::Dict(_)) || is_module(arena, *value);
        let Some((wrapper, &(_, inner))) =
            WRAPPERS.iter().find_map(|wrapper| Some((wrapper, entry(wrapper).filter(holds)?)))
        else {
            break;
        };
        within.push((*wrapper).to_owned());
        id = inner;
    }
    let pairs = match arena.value(id) {
        Value::Dict(pairs) => pairs,
        Value::Object { made_by, .. } if is_module(arena, id) => {
            let made_by = arena.name(*made_by);
            let problem = format!(
                "it holds a whole pickled module, {made_by}, which only its own program can make; a pickle is never \
                 executed here. Save its state_dict() in Python: torch.save(model.state_dict(), \"weights.pth\")"
            );
            return Err(Error::unsupported(arena.kind, problem));
        }
        _ => {
            let problem = format!("it holds {}, not a dictionary of tensors", described(arena, id));
            return Err(Error::unsupported(arena.kind, problem));
        }
    };
    let content = tensors(arena, pairs, within)?;
    if content.tensors.is_empty() {
        return Err(Error::unsupported(arena.kind, nothing(arena, pairs)));
    }
    Ok(content)
}

fn tensors<'a>(arena: &'a Arena, pairs: &[(Id, Id)], within: Vec<String>) -> Result<Content<'a>, Error> {
    let mut content = Content { within, left_out: Vec::new(), left_out_more: 0, tensors: Vec::new() };
    let mut names = BTreeSet::new();
    for &(key, value) in pairs {
        let name = || shown_key(arena, key);
        match (arena.value(value), arena.text(key)) {
            (Value::Tensor(tensor), Some(text)) => {
                check_name(text)?;
                if !names.insert(text) {
                    return Err(Error::damaged(arena.kind, format!("{} is there twice", name())));
                }
                content.tensors.push((text, tensor));
            }
            // Sparse and quantised tensors would be missed.
            (Value::Object { made_by, .. }, _) if arena.name(*made_by).contains("._rebuild_") => {
                let made_by = arena.name(*made_by);
                let problem = format!("{} is made by {made_by}: only dense tensors of plain numbers are read", name());
                return Err(Error::unsupported(arena.kind, problem));
            }
            _ if content.left_out.len() < LISTED => {
                content.left_out.push(format!("{} ({})", name(), described(arena, value)));
            }
            _ => content.left_out_more += 1,
        }
    }
    Ok(content)
}

/// Whether a value is a `torch.nn.Module`.
fn is_module(arena: &Arena, id: Id) -> bool {
    let Value::Object { state: Some(state), .. } = arena.value(id) else { return false };
    let Value::Dict(pairs) = arena.value(*state) else { return false };
    pairs.iter().any(|(key, _)| matches!(arena.text(*key), Some("_modules" | "_parameters")))
}

/// Says that a dictionary has no tensors, and what it has.
fn nothing(arena: &Arena, pairs: &[(Id, Id)]) -> String {
    if pairs.is_empty() {
        return "it holds an empty dictionary".into();
    }
    let shown = |&(key, value): &(Id, Id)| format!("{} ({})", shown_key(arena, key), described(arena, value));
    let mut keys: Vec<String> = pairs.iter().take(LISTED).map(shown).collect();
    if pairs.len() > LISTED {
        keys.push(format!("and {} more", pairs.len() - LISTED));
    }
    let near = pairs.iter().take(LISTED).filter_map(|(key, _)| {
        let key = arena.text(*key).filter(|key| key.len() < 100)?;
        let likeness = |wrapper: &&&str| (strsim::jaro_winkler(key, wrapper) * 1000.0) as u32;
        let nearest = WRAPPERS.iter().filter(|wrapper| likeness(wrapper) > 800).max_by_key(likeness)?;
        Some(format!("; {key} is near {nearest}"))
    });
    let near: String = near.collect();
    format!(
        "there are no tensors under the keys that are known ({}). The keys that are there: {}{near}",
        WRAPPERS.join(", "),
        keys.join(", ")
    )
}

fn shown_key(arena: &Arena, key: Id) -> String {
    match arena.value(key) {
        Value::Text(text) => match text.char_indices().nth(100) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.clone(),
        },
        Value::Int(number) => number.to_string(),
        _ => format!("({})", described(arena, key)),
    }
}

/// What a value is, in words.
fn described(arena: &Arena, id: Id) -> String {
    match arena.value(id) {
        Value::None => "None".into(),
        Value::Bool => "a truth value".into(),
        Value::Int(_) | Value::Long(_) | Value::Float => "a number".into(),
        Value::Text(_) => "a text".into(),
        Value::Bytes => "bytes".into(),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Dict(pairs) => format!("a dictionary of {}", pairs.len()),
        Value::Global(name) => format!("the class or function {name}"),
        Value::Storage(_) => "a storage".into(),
        Value::Tensor(_) => "a tensor".into(),
        Value::Object { made_by, .. } if is_module(arena, id) => {
            format!("a whole pickled module, {}", arena.name(*made_by))
        }
        Value::Object { made_by, .. } => format!("an object that {} makes", arena.name(*made_by)),
    }
}
