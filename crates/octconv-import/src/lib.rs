//! Reads what other frameworks write: files of tensors, and whole networks.

pub mod tensors;
