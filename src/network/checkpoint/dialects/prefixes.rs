//! What programs put in front of the names of a whole network.

/// What stands in front of names, and means nothing.
const PREFIXES: [&str; 6] = [
    // torch.compile
    "_orig_mod.",
    // DataParallel and DistributedDataParallel
    "module.",
    // Lightning, and others whose network is a field of theirs
    "model.",
    "backbone.",
    // Snapshots of Chainer's trainer, and its classifiers
    "updater/model:main/",
    "predictor/",
];

/// `name` without the prefix that it starts with.
pub(crate) fn without_prefix(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

/// The prefix that all names start with.
pub(crate) fn common_prefix<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let all = |prefix: &&&str| names.clone().all(|name| name.starts_with(**prefix));
    PREFIXES.iter().filter(|_| names.clone().next().is_some()).find(all).copied()
}
