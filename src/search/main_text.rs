//! The main text of a page: its long blocks of text, without menus, lists of links and footers.
//!
//! A block is the text between two block tags. A block is kept if it is long and few of its characters are links, or
//! if it stands beside such a block. This rule is that of boilerpipe's article extractor, without its title and image
//! rules. Readers that build a tree of the page (the ports of readability.js) take 10 s and more for a hostile page of
//! 40 kB; this one reads each byte once.

use super::html::{HtmlPiece, HtmlPieces};

/// Elements that hold no article. Their text is used only if the rest of the page has no long block.
const ASIDE: [&str; 9] = [
    "nav", "footer", "aside", "header", "button", "select", "svg", "dialog", "menu",
];

/// Elements that hold the article, if a page has them.
const ARTICLE: [&str; 2] = ["article", "main"];

/// Tags inside a line. All other tags end a block.
const INLINE: [&str; 22] = [
    "a", "abbr", "b", "bdi", "cite", "code", "del", "em", "font", "i", "img", "ins", "kbd", "label", "mark",
    "q", "s", "small", "span", "strong", "sub", "sup",
];

/// Elements whose end also ends a link that was left open.
const ENDS_LINK: [&str; 6] = ["li", "td", "tr", "section", "article", "main"];

/// The width of a long block: about 12 words, or 30 Chinese characters.
const LONG: usize = 60;

/// The width of an article. A shorter one is a teaser, and the whole page is used.
const WHOLE_ARTICLE: usize = 400;

/// The most bytes of the result.
const MOST: usize = 64 << 10;

/// The text between two block tags.
#[derive(Debug, Default)]
struct TextBlock {
    text: String,
    width: usize,
    /// The width of the text inside links.
    linked: usize,
    in_article: bool,
    in_aside: bool,
}

/// Returns the main text, one block on each line, or `None` if the page has no long block. Character references are not
/// decoded.
pub(super) fn main_text(html: &str) -> Option<String> {
    let blocks = blocks(html);
    let all: Vec<&TextBlock> = blocks.iter().collect();
    let outside: Vec<&TextBlock> = blocks.iter().filter(|block| !block.in_aside).collect();
    let article: Vec<&TextBlock> = outside.iter().copied().filter(|block| block.in_article).collect();
    let chosen = [(article, WHOLE_ARTICLE), (outside, LONG), (all, LONG)];
    chosen.into_iter().find_map(|(blocks, least)| {
        let kept = kept(&blocks);
        let whole: usize = kept.iter().map(|block| block.width).sum();
        (whole >= least).then(|| joined(&kept))
    })
}

/// Splits a page into blocks with text.
fn blocks(html: &str) -> Vec<TextBlock> {
    let mut blocks = Vec::new();
    let mut block = TextBlock::default();
    let (mut aside, mut article, mut in_link): (Option<(String, usize)>, usize, bool) = (None, 0, false);
    for piece in HtmlPieces::of(html) {
        match piece {
            HtmlPiece::Text(text) => block.add(text, in_link),
            HtmlPiece::Open(name) if name == "a" => in_link = true,
            HtmlPiece::Close(name) if name == "a" => in_link = false,
            HtmlPiece::Open(name) | HtmlPiece::Close(name) if INLINE.contains(&name.as_str()) => {}
            HtmlPiece::Open(name) => {
                close(&mut block, &mut blocks, aside.is_some(), article > 0);
                article += usize::from(ARTICLE.contains(&name.as_str()));
                match &mut aside {
                    Some((known, depth)) if *known == name => *depth += 1,
                    None if ASIDE.contains(&name.as_str()) => aside = Some((name, 1)),
                    _ => {}
                }
            }
            HtmlPiece::Close(name) => {
                close(&mut block, &mut blocks, aside.is_some(), article > 0);
                // A link without an end must not reach over the rest of the page.
                in_link &= !ENDS_LINK.contains(&name.as_str());
                article -= usize::from(article > 0 && ARTICLE.contains(&name.as_str()));
                if let Some((known, depth)) = &mut aside
                    && *known == name
                {
                    *depth -= 1;
                    if *depth == 0 {
                        aside = None;
                    }
                }
            }
        }
    }
    close(&mut block, &mut blocks, aside.is_some(), article > 0);
    blocks
}

fn close(block: &mut TextBlock, blocks: &mut Vec<TextBlock>, in_aside: bool, in_article: bool) {
    let mut closed = std::mem::take(block);
    if closed.width > 0 {
        (closed.in_aside, closed.in_article) = (in_aside, in_article);
        blocks.push(closed);
    }
}

impl TextBlock {
    fn add(&mut self, text: &str, in_link: bool) {
        let width = width(text);
        self.width += width;
        self.linked += if in_link { width } else { 0 };
        self.text.push_str(text);
    }

    fn is_text(&self) -> bool {
        self.linked * 3 <= self.width
    }

    fn is_long(&self) -> bool {
        self.is_text() && self.width >= LONG
    }
}

/// Returns the long blocks, and the short ones beside them.
fn kept<'a>(blocks: &[&'a TextBlock]) -> Vec<&'a TextBlock> {
    let is_long = |place: Option<usize>| {
        let block = place.and_then(|place| blocks.get(place));
        block.is_some_and(|block| block.is_long())
    };
    let places = 0..blocks.len();
    let chosen = places.filter(|&place| {
        let beside = || is_long(place.checked_sub(1)) || is_long(place.checked_add(1));
        is_long(Some(place)) || (blocks[place].is_text() && beside())
    });
    chosen.map(|place| blocks[place]).collect()
}

fn joined(blocks: &[&TextBlock]) -> String {
    let mut out = String::new();
    for block in blocks {
        if out.len() > MOST {
            break;
        }
        for word in block.text.split_whitespace() {
            out.push_str(word);
            out.push(' ');
        }
        out.push('\n');
    }
    out
}

/// Returns the width of a text without its white space. A character outside ASCII counts twice, because a Chinese
/// character says as much as half a word.
fn width(text: &str) -> usize {
    let seen = text.chars().filter(|c| !c.is_whitespace());
    seen.map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_ONE: &str =
        "燕麦奶在2026年3月的一次试用里，十二个人中有九个人愿意继续用，其余三个人觉得步骤太多。";
    const LONG_TWO: &str =
        "The trial lasted fourteen days, and each of the twelve people wrote one note a day.";

    fn lines(html: &str) -> Vec<String> {
        let text = main_text(html).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn menus_links_and_footers_are_left_out() {
        let page = format!(
            "<html><head><title>t</title><style>p{{}}</style></head><body><nav><ul><li><a href=/>首页</a><li>{LONG_TWO}</ul></nav>\
             <div class=list><a href=1>{LONG_ONE}</a> <a href=2>{LONG_TWO}</a></div>\
             <h1>标题</h1><p>{LONG_ONE}</p><script>'{LONG_TWO}'</script><p>See <a href=x>the\n notes</a>. {LONG_TWO}</p>\
             <p>短句。</p><div>x</div><footer>{LONG_ONE}</footer></body></html>"
        );
        let expected = ["标题", LONG_ONE, &format!("See the notes. {LONG_TWO}"), "短句。"];
        assert_eq!(lines(&page), expected);
    }

    #[test]
    fn the_article_is_preferred_if_it_is_whole() {
        let article = format!("<p>{LONG_ONE}</p><p>{LONG_TWO}</p>").repeat(3);
        let page = format!("<p>{LONG_TWO}</p><article>{article}</article><p>{LONG_TWO}</p>");
        assert_eq!(lines(&page).len(), 6);
        let teaser = format!("<p>{LONG_TWO}</p><article>{LONG_ONE}</article>");
        assert_eq!(lines(&teaser), [LONG_TWO, LONG_ONE]);
    }

    #[test]
    fn a_page_of_asides_is_used_and_a_page_of_links_is_not() {
        assert_eq!(lines(&format!("<aside>{LONG_TWO}")), [LONG_TWO]);
        assert_eq!(main_text(&format!("<a href=x>{LONG_TWO}</a>").repeat(50)), None);
        assert_eq!(main_text("<p>short</p>"), None);
        assert_eq!(main_text(""), None);
    }

    #[test]
    fn hostile_pages_end_soon() {
        for part in [
            "<div>",
            "<div><p>x",
            "<table><tr><td>x",
            "<nav>",
            "<article><a>x",
            "</nav>",
            "<b>x",
        ] {
            drop(main_text(&part.repeat(200_000)));
        }
        let many = main_text(&format!("<p>{LONG_ONE}").repeat(20_000));
        assert!(many.is_some_and(|text| text.len() < 2 * MOST));
    }
}
