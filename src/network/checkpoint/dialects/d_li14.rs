//! The dialect of d-li14/octconv.pytorch.

use std::collections::HashMap;

use super::alias::Alias;
use crate::layer::{Frequency, Path, Spec};
use crate::network::checkpoint::checkpoint::letter;
use crate::network::graph::{Graph, Task};

/// Adds all names that this dialect could give to the tensors of `graph`.
pub(super) fn aliases(graph: &Graph, aliases: &mut HashMap<String, Alias>) {
    const NORM: [(&str, &str); 4] =
        [("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "var")];
    for node in &graph.nodes {
        let name = &node.name;
        for (theirs, ours) in NORM {
            for f in [Frequency::High, Frequency::Low].map(letter) {
                aliases.insert(format!("{name}.bn_{f}.{theirs}"), Alias::Of(format!("{name}.norm_{f}.{ours}")));
            }
        }
        let Task::Conv { spec, .. } = &node.task else { continue };
        let mut conv = |theirs: &str, path: Path| {
            let (weight, bias) = (path.weight_name(), letter(path.output()));
            aliases.insert(format!("{theirs}.weight"), Alias::Of(format!("{name}.{weight}")));
            aliases.insert(format!("{theirs}.bias"), Alias::Summand(format!("{name}.bias_{bias}")));
        };
        for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
            let [from, to] = [path.input(), path.output()].map(letter);
            conv(&format!("{name}.conv.conv_{from}2{to}"), path);
        }
        if is_plain(spec) {
            conv(name, Path::HH);
            conv(&format!("{name}.conv"), Path::HH);
        }
        // A stem is a plain convolution, and its batch norm has a name of its own.
        let stem_norm = match name.as_str() {
            "conv1" => "bn1",
            "features.0" => "features.0.1",
            _ => continue,
        };
        if is_plain(spec) {
            if name == "features.0" {
                conv("features.0.0", Path::HH);
            }
            for (theirs, ours) in NORM {
                aliases.insert(format!("{stem_norm}.{theirs}"), Alias::Of(format!("{name}.norm_h.{ours}")));
            }
        }
    }
}

fn is_plain(spec: &Spec) -> bool {
    Path::ALL.into_iter().filter(|&path| spec.has(path)).eq([Path::HH])
}
