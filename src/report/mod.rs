//! Tables and texts for people, from the results port.

mod standing;
mod text;

pub use standing::{Standing, table};
pub use text::text;
