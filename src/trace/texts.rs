//! The texts that a trace may hold.

use crate::config::TraceContent;

/// Decides which texts a trace holds, and how much of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextRules {
    pub(super) content: TraceContent,
    /// The most bytes of one text.
    pub(super) most: usize,
}

impl TextRules {
    /// A text that was sent, if it may be held.
    pub(super) fn input(self, text: &str) -> Option<String> {
        self.content.inputs.then(|| cut(text, self.most))
    }

    /// A message that may quote a text. Without texts it is the class of the failure alone.
    pub(super) fn message(self, text: &str, class: &str) -> String {
        if self.content.inputs && self.content.outputs {
            cut(text, self.most)
        } else {
            class.to_owned()
        }
    }

    /// A text that was received, if it may be held.
    pub(super) fn output(self, text: &str) -> Option<String> {
        self.content.outputs.then(|| cut(text, self.most))
    }
}

/// Cuts a text at a character, and says how much is missing.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{}… ({} bytes are left out)", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut("好好", 6), "好好");
        assert_eq!(cut("好好", 5), "好… (3 bytes are left out)");
    }
}
