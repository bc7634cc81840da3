//! A folder with a network: its description and its weights.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use octconv::Dtype;
use octconv::network::{Checkpoint, HostTensor, Network};

use crate::output::shown_path;
use crate::target::{Kind, Target, write_together};
use crate::tensor_file::{self, Named};

/// The files of a folder that a network will be written to.
pub struct NetworkFolder {
    description: Target,
    weights: Target,
}

impl NetworkFolder {
    /// Makes the folder if it is not there. Refuses one whose files are of another kind, or are `read` by the command.
    pub fn new(folder: &Path, read: &[PathBuf]) -> Result<Self> {
        ensure!(!folder.is_file(), "{} is a file: name another folder", shown_path(folder));
        if !folder.exists() {
            fs::create_dir(folder).with_context(|| format!("making the folder {}", shown_path(folder)))?;
        }
        let own = |name, kind| {
            let target = Target::new(&folder.join(name), kind)?;
            ensure!(!target.is_one_of(read), "{} is read too: name another folder", shown_path(target.path()));
            Ok(target)
        };
        Ok(Self {
            description: own("network.json", Kind::Network)?,
            weights: own("weights.safetensors", Kind::Tensors)?,
        })
    }

    /// Writes the network. Returns a line for each file.
    pub fn write(&self, network: &Network, checkpoint: Option<Checkpoint>) -> Result<String> {
        let weights = match checkpoint {
            Some(checkpoint) => Some(serialized(checkpoint)?),
            None => {
                let path = self.weights.path();
                ensure!(
                    fs::metadata(path).map_or(0, |file| file.len()) == 0,
                    "{} would stay beside another network: give --weights, or name another folder",
                    shown_path(path)
                );
                None
            }
        };
        let description = format!("{}\n", serde_json::to_string_pretty(network)?);
        let mut files: Vec<(&Target, &[u8])> = Vec::new();
        files.extend(weights.as_ref().map(|bytes| (&self.weights, &bytes[..])));
        files.push((&self.description, description.as_bytes()));
        write_together(&files)?;
        Ok(files.iter().map(|(target, _)| format!("wrote {}\n", shown_path(target.path()))).collect())
    }
}

fn serialized(checkpoint: Checkpoint) -> Result<Vec<u8>> {
    let named = |(name, HostTensor { shape, data }): (String, HostTensor)| Named { name, shape, values: data };
    let tensors: Vec<Named> = checkpoint.tensors.into_iter().map(named).collect();
    tensor_file::serialize(&tensors, Dtype::F32)
}
