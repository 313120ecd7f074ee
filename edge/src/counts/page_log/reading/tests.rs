//! Lines as CUPS writes them, and lines that try to look like them.
//!
//! Invariant: a line reads back to what was written, or is rejected; never to other figures.
//! A log that a real CUPS wrote is tested beside, as a fixture.

use super::*;
use proptest::prelude::*;

const TIME: &str = "[21/Nov/2026:01:02:03 +0100]";
const MILLISECOND: i64 = 1_795_219_323_000;

fn read(line: &str) -> Result<Entry, Reject> {
    Format::default().read(line.as_bytes())
}

fn read_as(format: &str, line: &str) -> Result<Entry, Reject> {
    Format::parse(format).expect(format).read(line.as_bytes())
}

fn total(impressions: u32) -> Pages {
    Pages::Total { impressions }
}

#[test]
fn the_default_of_each_cups_is_read() {
    let entry = read(&format!(
        "hall anna 7 {TIME} total 8 - localhost report iso_a4_210x297mm two-sided-long-edge"
    ))
    .expect("CUPS 2.4");
    assert_eq!(
        (entry.printer.as_str(), entry.user.as_str(), entry.job_number),
        ("hall", "anna", 7)
    );
    assert_eq!((entry.printed_at, entry.pages), (MILLISECOND, total(8)));
    assert_eq!(entry.media.as_deref(), Some("iso_a4_210x297mm"));
    assert_eq!(entry.sides.as_deref(), Some("two-sided-long-edge"));
    assert_eq!(entry.color, None);
    let entry =
        read(&format!("hall anna 7 {TIME} 3 2 acme localhost report - -")).expect("CUPS 1.4");
    assert_eq!(entry.pages, Pages::Page { number: 3, copies: 2 });
    assert_eq!((entry.media, entry.sides), (None, None));
}

#[test]
fn a_title_is_never_taken_for_figures() {
    for title in [
        "total 8 - localhost",
        "x 9 [01/Jan/2020:00:00:00 +0000] total 99 - localhost y a4 one-sided",
        "- -",
        "",
        "\"",
        "  ",
        "[21/Nov/2026",
    ] {
        let entry =
            read(&format!("hall bob 5 7 {TIME} total 2 - localhost {title} - -")).expect(title);
        assert_eq!(
            (entry.user.as_str(), entry.job_number, entry.pages),
            ("bob 5", 7, total(2)),
            "{title}"
        );
    }
}

#[test]
fn names_keep_their_bytes_apart() {
    let line =
        [b"hall j\xf6rg 7 ".as_slice(), TIME.as_bytes(), b" total 2 - localhost t - -"].concat();
    assert_eq!(Format::default().read(&line).expect("latin-1").user, "j\\xf6rg");
    assert_eq!(
        read(&format!("hall jörg 7 {TIME} total 2 - localhost t - -")).expect("utf-8").user,
        "jörg"
    );
}

#[test]
fn broken_lines_say_what_is_wrong() {
    assert_eq!(read(""), Err(Reject::Empty));
    assert_eq!(read("garbage"), Err(Reject::Mismatch));
    assert_eq!(
        read(&format!("hall anna x {TIME} total 2 - localhost t - -")),
        Err(Reject::Mismatch)
    );
    assert_eq!(read(&format!("hall anna 7 {TIME} total 12")), Err(Reject::Mismatch));
    assert_eq!(read(&format!("hall anna 7 {TIME} total 12 -")), Err(Reject::Cut));
}

#[test]
fn a_wrong_figure_or_time_is_told_as_what_it_is() {
    let reason = |head: &str| {
        read(&format!("hall van Dyk {head} - localhost total 9 - -")).expect_err(head).to_string()
    };
    for (head, what) in [
        (format!("7 {TIME} total -4"), "impressions -4"),
        (format!("7 {TIME} total 4294967296"), "impressions 4294967296"),
        (format!("7 {TIME} 3 4294967296"), "copies 4294967296"),
        (format!("7 {TIME} -3 1"), "page number -3"),
        (format!("4294967296 {TIME} total 1"), "job number 4294967296"),
    ] {
        assert_eq!(reason(&head), format!("{what} is not a number from 0 to 4294967295"));
    }
    for time in [
        "[31/Feb/2026:01:02:03 +0100]",
        "[21/Nov/2026:24:02:03 +0100]",
        "[2026-11-21 01:02:03]",
        "[31/Dec/1999:23:59:59 +0000]",
        "[01/Jan/2200:00:00:00 +0000]",
        "[21/Nov/9999:01:02:03 +0100]",
    ] {
        let told = reason(&format!("7 {time} total 1"));
        assert_eq!(
            told.strip_prefix(time),
            Some(
                " is no time of the years 2000 to 2199 as CUPS writes it, [21/Nov/2026:01:02:03 +0100]"
            ),
            "{told}"
        );
    }
    let format = "\"%{job-name}\" %T %p %u %j %{job-impressions-completed}";
    let told = read_as(format, &format!("\"total 8\" {TIME} hall anna 7 -4"));
    assert_eq!(told, Err(Reject::Number { what: "impressions", found: "-4".into() }));
}

#[test]
fn no_reason_tells_a_name_or_a_title() {
    for line in ["no page log", "hall anna secret", "hall [anna 1] secret 7", "a secret b c d"] {
        let told = read(line).expect_err(line).to_string();
        assert!(!told.contains("secret") && !told.contains("anna"), "{told}");
    }
}

#[test]
fn a_line_cups_cut_for_length_still_counts() {
    let mut line = format!("hall anna 7 {TIME} total 12 - localhost {}", "x".repeat(3000));
    line.truncate(2047);
    let entry = read(&line).expect("the figures are in front");
    assert_eq!((entry.pages, entry.media), (total(12), None));
    line.truncate(2046);
    assert_eq!(read(&line), Err(Reject::Cut));
}

#[test]
fn a_custom_format_is_read_from_both_ends() {
    let format =
        "%T|%j|%p|%u|%{job-impressions-completed}|%{print-color-mode}|100%%|\"%{job-name}\"|%x";
    let entry =
        read_as(format, &format!("{TIME}|7|hall|dora van Dyk|4|monochrome|100%|\"a|b\"|%x"))
            .expect("custom");
    assert_eq!(
        (entry.user.as_str(), entry.pages, entry.color),
        ("dora van Dyk", total(4), Some(false))
    );
    let format = "\"%{job-name}\" %{sides} %T %p %u %j %P %C";
    let title = format!("x\" - {TIME} hall eve 9 total 9");
    let entry = read_as(format, &format!("\"{title}\" one-sided {TIME} hall bob 5 7 total 2"))
        .expect("title first");
    assert_eq!((entry.user.as_str(), entry.job_number, entry.pages), ("bob 5", 7, total(2)));
    assert_eq!(entry.sides.as_deref(), Some("one-sided"));
}

#[test]
fn two_readings_are_none() {
    let format = "%T %p %j %u %P %C %{job-name}";
    assert_eq!(read_as(format, &format!("{TIME} hall 7 bob 3 1 1 title")), Err(Reject::Ambiguous));
    assert!(read_as(format, &format!("{TIME} hall 7 bob 3 1 title")).is_ok());
    let quoted = "%p %j %T %P %C \"%u\" \"%{job-name}\"";
    assert_eq!(
        read_as(quoted, &format!("hall 7 {TIME} total 1 \"bob\" \"a\" \"b\"")),
        Err(Reject::Ambiguous)
    );
    assert_eq!(
        read_as(quoted, &format!("hall 7 {TIME} total 1 \"bob\" \"a\"")).expect("one").user,
        "bob"
    );
}

#[test]
fn a_job_has_one_key_whatever_its_lines_say() {
    let key = |figures: &str, title: &str| {
        read(&format!("hall anna 7 {figures} - localhost {title} - -")).expect("a line").job
    };
    let first = key(&format!("{TIME} 1 1"), "report");
    assert_eq!(first, key("[21/Nov/2026:01:02:04 +0100] total 9", "report"));
    assert_ne!(first, key(&format!("{TIME} 1 1"), "rapport"));
}

/// The default format, expanded the way `cupsdLogPage` does it.
fn written(printer: &str, user: &str, job: u32, pages: &Pages, texts: [&str; 5]) -> String {
    let pages = match pages {
        Pages::Total { impressions } => format!("total {impressions}"),
        Pages::Page { number, copies } => format!("{number} {copies}"),
    };
    let mut line = format!("{printer} {user} {job} {TIME} {pages} {}", texts.join(" "));
    while line.len() > 2047 || !line.is_char_boundary(line.len()) {
        line.pop();
    }
    line
}

fn any_pages() -> impl Strategy<Value = Pages> {
    prop_oneof![
        any::<u32>().prop_map(total),
        (any::<u32>(), any::<u32>()).prop_map(|(number, copies)| Pages::Page { number, copies }),
    ]
}

/// Text with a liking for what a line itself is made of; never a control character (CUPS refuses those).
fn nasty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(" ".to_owned()),
        Just(TIME.to_owned()),
        Just(" 7 [21/Nov/2026:01:02:03 +0100] total 8 - localhost ".to_owned()),
        Just("total 8 - localhost".to_owned()),
        Just("-".to_owned()),
        "\\PC{0,12}",
        "[0-9 \"%\\[\\]-]{0,8}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_cups_writes_is_read_back(
        printer in "[^\\s/#\\[\\p{C}]{1,20}",
        user in "[a-zäö0-9@.\\\\-]{1,8}( [a-z0-9]{1,5}){0,3}",
        job in any::<u32>(),
        pages in any_pages(),
        billing in nasty(),
        title in nasty(),
        media in "[a-z0-9_.-]{1,20}",
        sides in "[a-z-]{1,20}",
    ) {
        let line = written(&printer, &user, job, &pages, [&billing, "localhost", &title, &media, &sides]);
        let entry = read(&line).expect(&line);
        prop_assert_eq!(&entry.printer, &printer);
        prop_assert_eq!(&entry.user, &user);
        prop_assert_eq!((entry.job_number, entry.pages, entry.printed_at), (job, pages, MILLISECOND));
        if line.len() < 2047 {
            let asked = |text: String| (text != "-").then_some(text);
            prop_assert_eq!((entry.media, entry.sides), (asked(media), asked(sides)));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Format::default().read(&line);
    }

    #[test]
    fn nearly_lines_are_read_without_panic(line in nasty(), format in "(%[pujTPC%{}]|%\\{job-name\\}| |x|\\|){0,14}") {
        if let Ok(format) = Format::parse(&format) {
            let _ = format.read(line.as_bytes());
        }
    }
}
