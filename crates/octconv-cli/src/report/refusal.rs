//! What a device has no room or no features for, which is no fault.

use std::fmt;

use octconv::Error;

/// A step that has no room, by the limits of the command.
#[derive(Debug)]
pub struct NoRoom(pub String);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRoom {}

/// Whether an error says that the device has no room or no features for something.
pub fn is_one(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<NoRoom>() || cause.downcast_ref().is_some_and(of_library))
}

/// The same for an error of the library.
pub fn of_library(error: &Error) -> bool {
    matches!(
        error.cause(),
        Error::Limit { .. } | Error::Feature { .. } | Error::Variant { .. } | Error::OutOfMemory { .. }
    )
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn faults_are_no_refusals() {
        let (operation, message) = (String::from("creating a buffer"), String::from("it is wrong"));
        let room = || Error::OutOfMemory { operation: operation.clone() };
        let node = Error::Node { node: "a".into(), error: Box::new(room()) };
        for refusal in [anyhow::Error::from(room()), node.into(), NoRoom("it is large".into()).into()] {
            assert!(is_one(&refusal), "{refusal}");
            assert!(is_one(&Err::<(), _>(refusal).context("layer a").unwrap_err()));
        }
        let lost = Error::DeviceLost { operation: operation.clone(), message: message.clone() };
        for fault in [lost.into(), Error::Gpu { operation, message }.into(), anyhow::anyhow!("out of memory")] {
            assert!(!is_one(&fault), "{fault}");
        }
    }
}
