use std::fmt::{Debug, Display};
use std::str::FromStr;

use octconv::{Dtype, Family, Variant};
use octconv_cli::fuzzing;

/// The text of an argument, and of a name that is printed.
pub fn grammar(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    comes_back::<Variant>(&text);
    comes_back::<Family>(&text);
    comes_back::<Dtype>(&text);
    if let Some([h, w]) = fuzzing::size(&text) {
        assert_eq!(fuzzing::size(&format!("{h}x{w}")), Some([h, w]));
    }
    if let Some(bytes) = fuzzing::bytes(&text) {
        assert_eq!(fuzzing::bytes(&bytes.to_string()), Some(bytes));
    }
    for printed in fuzzing::printed(&text) {
        assert!(!printed.chars().any(char::is_control), "{printed:?}");
        assert!(printed.chars().count() <= 8100, "{printed:?}");
    }
}

/// What a text names is read again from its own name, and its own name is that text.
fn comes_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
