//! A page of Markdown, as far as the rules need it: its anchors, links and code spans, with line numbers.
//! Owns GitHub's way of making an anchor from a heading. Fenced blocks hold none of the three; code spans
//! hold no links; both end with their line, as all of ours do.
//! Whether a link leads anywhere is left to the rule on dead links.

use std::collections::BTreeMap;

use crate::tree::numbered;

/// What a page offers and what it points at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Anchors of the headings.
    pub(crate) anchors: Vec<String>,
    /// Targets of links, with their lines.
    pub(crate) links: Vec<(usize, String)>,
    /// What stands in `backticks`, with its line.
    pub(crate) spans: Vec<(usize, String)>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut fence: Option<&str> = None;
        for (number, line) in numbered(text) {
            let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
            if fence.is_some() || mark.is_some() {
                fence = match fence {
                    Some(open) if mark == Some(open) => None,
                    Some(open) => Some(open),
                    None => mark,
                };
                continue;
            }
            if let Some(heading) = heading(line) {
                let anchor = anchor(heading);
                let times = seen.entry(anchor.clone()).or_default();
                page.anchors.push(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
                *times += 1;
            }
            let (prose, spans) = split_code(line);
            page.spans.extend(spans.into_iter().map(|span| (number, span.to_owned())));
            page.links.extend(targets(&prose).into_iter().map(|target| (number, target)));
        }
        page
    }
}

/// `## The house` → `The house`
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' '))
        .then(|| text.trim().trim_end_matches('#').trim())
}

/// `The house: its rules` → `the-house-its-rules`
fn anchor(heading: &str) -> String {
    let mut shown = String::new();
    let mut rest = heading;
    // Of a link in a heading, only its text counts.
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    let kept = shown.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}

/// The line without its code spans, and the spans.
fn split_code(line: &str) -> (String, Vec<&str>) {
    let mut prose = String::new();
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let (before, ticked) = rest.split_at(start);
        let inside = ticked.trim_start_matches('`');
        let ticks = &ticked[..ticked.len() - inside.len()];
        let Some((span, after)) = inside.split_once(ticks) else {
            break;
        };
        prose.push_str(before);
        spans.push(span.trim());
        rest = after;
    }
    prose.push_str(rest);
    (prose, spans)
}

/// Where the links of a line without code lead: `[text](target "title")` and `[name]: target`.
fn targets(prose: &str) -> Vec<String> {
    let inline = prose.split("](").skip(1).map(before_closing);
    let definition = prose.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let definition = definition.map(|(_, target)| target.trim_start());
    inline
        .chain(definition)
        .filter_map(|target| target.split_whitespace().next())
        .map(|target| target.trim_start_matches('<').trim_end_matches('>').to_owned())
        .collect()
}

/// What stands before the parenthesis that closes a link; a target may hold pairs of its own.
fn before_closing(text: &str) -> &str {
    let mut open = 0;
    let end = text.find(|letter| {
        match letter {
            '(' => open += 1,
            ')' if open == 0 => return true,
            ')' => open -= 1,
            _ => {}
        }
        false
    });
    end.map_or("", |end| &text[..end])
}

#[test]
fn anchors_are_those_of_github() {
    let page = Page::read(
        "# Tallyroll\n## What it *is*: a roll\n## `./check`, [twice](a.md)\n#tag\n## Tallyroll ##\n",
    );
    assert_eq!(page.anchors, ["tallyroll", "what-it-is-a-roll", "check-twice", "tallyroll-1"]);
}

#[test]
fn links_and_spans_have_their_lines() {
    let text = "see [a](a.md) and [b](<b.md> \"B\"), `not [c](c.md)`, ``d`e``\n\n[f]: f.md\n![g](g(1).png)\n";
    let owned = |line, text: &str| (line, text.to_owned());
    let page = Page::read(text);
    assert_eq!(
        page.links,
        [owned(1, "a.md"), owned(1, "b.md"), owned(3, "f.md"), owned(4, "g(1).png")]
    );
    assert_eq!(page.spans, [owned(1, "not [c](c.md)"), owned(1, "d`e")]);
}

#[test]
fn fenced_blocks_hold_nothing() {
    let page = Page::read("```sh\n# no heading\n~~~\n[a](a.md) `b`\n```\n# Heading\n");
    assert_eq!(page, Page { anchors: vec!["heading".to_owned()], ..Page::default() });
}
