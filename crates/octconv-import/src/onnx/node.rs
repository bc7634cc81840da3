//! A node of the file, with its attributes by name.

use super::proto::{AttributeProto, NodeProto, TensorProto, attribute_type};

/// The longest name of a node, and of an operator.
pub(super) const MOST_NAME: usize = 1000;

/// A node as the file has it.
pub(super) struct FileNode {
    /// Its name, or what it makes if it has none. Long ones are cut.
    pub(super) name: String,
    pub(super) operator: String,
    /// Names of values. An input that is left out is empty.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: Vec<AttributeProto>,
}

impl FileNode {
    pub(super) fn new(node: NodeProto) -> Self {
        let NodeProto { domain, name, input, output, op_type, attribute } = node;
        let operator = op_type.unwrap_or_default();
        let operator = match domain.as_deref() {
            None | Some("" | "ai.onnx") => operator,
            Some(domain) => format!("{domain}.{operator}"),
        };
        let name = name.filter(|name| !name.is_empty());
        let mut name = name.or_else(|| output.first().cloned()).unwrap_or_default();
        // All values that the node makes have it. Values are known by their own names.
        let end = (0..=MOST_NAME.min(name.len())).rev().find(|&at| name.is_char_boundary(at));
        name.truncate(end.unwrap_or(0));
        Self { name, operator, inputs: input, outputs: output, attributes: attribute }
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        let attribute = self.attribute(name)?;
        // Many writers leave out a number that is 0.
        attribute.i.or((attribute.r#type == Some(attribute_type::INT)).then_some(0))
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        let attribute = self.attribute(name)?;
        attribute.f.or((attribute.r#type == Some(attribute_type::FLOAT)).then_some(0.0))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.attribute(name)?.s.as_deref()?).ok()
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name)?.t.as_deref()
    }

    /// Whether it holds graphs of its own, as branches and loops do.
    pub(super) fn has_graphs(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.g.is_some())
    }
}
