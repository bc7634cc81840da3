//! A folder with a network: its description and its weights.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use octconv::Dtype;
use octconv::network::{Checkpoint, Network};

use crate::output::shown_path;
use crate::target::{Kind, Target};
use crate::tensor_file::{self, Named};

/// The files of a folder that a network will be written to.
pub struct NetworkFolder {
    description: Target,
    weights: Target,
}

impl NetworkFolder {
    /// Makes the folder if it is not there. Refuses one whose files are of another kind.
    pub fn new(folder: &Path) -> Result<Self> {
        ensure!(!folder.is_file(), "{} is a file: name another folder", shown_path(folder));
        if !folder.exists() {
            fs::create_dir(folder).with_context(|| format!("making the folder {}", shown_path(folder)))?;
        }
        Ok(Self {
            description: Target::new(&folder.join("network.json"), Kind::Network)?,
            weights: Target::new(&folder.join("weights.safetensors"), Kind::Tensors)?,
        })
    }

    /// Writes the network. Returns a line for each file.
    pub fn write(&self, network: &Network, checkpoint: Option<Checkpoint>) -> Result<String> {
        let mut written = String::new();
        if let Some(checkpoint) = checkpoint {
            let named = |(name, tensor): (String, octconv::network::HostTensor)| Named {
                name,
                shape: tensor.shape,
                values: tensor.data,
            };
            let tensors: Vec<Named> = checkpoint.tensors.into_iter().map(named).collect();
            self.weights.write(&tensor_file::serialize(&tensors, Dtype::F32)?)?;
            written.push_str(&format!("wrote {}\n", shown_path(self.weights.path())));
        }
        self.description.write(format!("{}\n", serde_json::to_string_pretty(network)?).as_bytes())?;
        written.push_str(&format!("wrote {}\n", shown_path(self.description.path())));
        Ok(written)
    }
}
