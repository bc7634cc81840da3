//! ONNX files. They are parsed (`file`), what is constant is computed (`fold`), and each operator becomes a value of a
//! graph of plain maps (`read`).

mod constant;
mod file;
mod fold;
mod node;
mod operators;
mod proto;
mod read;
mod resize;

pub(crate) use read::read;
