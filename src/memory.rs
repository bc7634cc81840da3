//! Host memory for what is as large as a tensor. Too little of it is an error, and does not end the process.

use crate::error::Error;

/// An empty list with room for `count` elements of what `operation` makes.
pub(crate) fn with_room<T>(count: u64, operation: &str) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    match usize::try_from(count).map(|count| list.try_reserve_exact(count)) {
        Ok(Ok(())) => Ok(list),
        _ => {
            let bytes = count.saturating_mul(size_of::<T>() as u64);
            Err(Error::OutOfMemory { operation: format!("{operation} of {bytes} bytes") })
        }
    }
}

/// Makes room for so many bytes more, of what `operation` makes.
#[cfg(feature = "export")]
pub(crate) fn grow(list: &mut Vec<u8>, more: u64, operation: &str) -> Result<(), Error> {
    match usize::try_from(more).map(|more| list.try_reserve(more)) {
        Ok(Ok(())) => Ok(()),
        _ => Err(Error::OutOfMemory { operation: format!("{operation} of {more} bytes") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_or_an_error() {
        assert!(with_room::<u32>(1000, "reading").unwrap().capacity() >= 1000);
        for (count, bytes) in [(1 << 60, 1 << 62), (u64::MAX, u64::MAX)] {
            let error = with_room::<u32>(count, "reading").unwrap_err();
            assert_eq!(error.to_string(), format!("reading of {bytes} bytes failed: out of memory"));
        }
    }
}
