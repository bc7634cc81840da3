//! What a tensor's name in another dialect stands for.

/// What a tensor's name in another dialect stands for.
#[derive(Clone, Debug)]
pub(crate) enum Alias {
    /// The tensor of this name.
    Of(String),
    /// One of the biases whose sum is the tensor of this name.
    Summand(String),
}
