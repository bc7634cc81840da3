//! What a name of another naming stands for.

/// What a name of another naming stands for.
#[derive(Clone, Debug)]
pub(crate) enum Alias {
    /// This tensor.
    Of(String),
    /// One of the biases that add up to this tensor.
    Summand(String),
}
