//! Reports of `octconv report`, which others made.

use octconv_cli::fuzzing;

/// The bytes are a report.json, or a page. The page of a report holds it as it is.
pub fn report(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(page) = fuzzing::report(text) {
        assert_eq!(fuzzing::report(&page).as_ref(), Ok(&page));
    }
}
