//! Images that a file names with variables which nobody has set.

use super::project::ComposeError;
use super::yaml::{Key, Node};
use crate::import::note::Notes;
use crate::import::values::image;
use crate::names::ImageRef;

/// Refuses names that are none of an image, all of them at once.
///
/// # Errors
///
/// [`ComposeError::Images`]
pub(super) fn check(services: &[(&Key, &Node)], notes: &Notes) -> Result<(), ComposeError> {
    let wrong = |(key, node): &(&Key, &Node)| {
        let node = node.get("image")?;
        let text = node.text()?;
        let error = image(text).parse::<ImageRef>().err()?;
        let unset: Vec<&str> = notes.unset(&node.place).collect();
        let why = match unset.as_slice() {
            [] => error.to_string(),
            [one] => format!("{one} is not set, and {text:?} is no image without it"),
            all => format!("{} are not set, and {text:?} is no image without", all.join(" and ")),
        };
        Some(format!("{}: services.{}.image: {why}", node.place, key.text))
    };
    let all: Vec<String> = services.iter().filter_map(wrong).collect();
    if all.is_empty() { Ok(()) } else { Err(ComposeError::Images(all)) }
}
