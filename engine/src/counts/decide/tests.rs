//! What is priced how, and what is refused: acts one by one. Jobs as a whole are in
//! `job_tests`, beside the fold that settles them.
//! What the conversions of a job come to is not in here.

use super::*;
use tallyroll_schema::event::counts::CountSource;

const USER: Option<UserAlias> = Some(UserAlias([2; 16]));

fn price(act: Act) -> String {
    let event = decide(&Terms::default(), act, JobId([1; 8]), USER);
    match event.expect("is priced") {
        Event::PagesPrinted(event) => event.charge,
        Event::PagesCaptured(event) => event.charge,
        Event::PagesConverted(event) => event.charge,
        Event::DocumentSent(event) => event.charge,
        Event::DocumentSaved(event) => event.charge,
        other => panic!("no act: {other:?}"),
    }
    .credits
    .to_string()
}

fn send(pages: u32, destinations: u32, color: ColorMode) -> Act {
    let (job, user) = (JobId([1; 8]), "a".into());
    let (media, revision, which_pages) = (None, None, None);
    Act::Send { job, user, pages, destinations, color, media, revision, which_pages }
}

#[test]
fn prices_are_those_of_the_mission() {
    let (job, user) = (JobId([1; 8]), || "a".to_string());
    let color = ColorMode::Color;
    let capture =
        Act::Capture { job: None, user: user(), pages: 1, color, media: None, page: None };
    assert_eq!(price(capture), "1.000");
    let conversions = vec![Conversion::Resize, Conversion::ColorToMonochrome];
    let (media, revision, from_revision, which_pages) = (None, None, None, None);
    let convert = Act::Convert {
        job,
        user: user(),
        pages: 1,
        conversions,
        media,
        revision,
        from_revision,
        which_pages,
    };
    assert_eq!(price(convert), "1.000");
    assert_eq!(price(send(1, 5, ColorMode::Monochrome)), "2.500");
    assert_eq!(price(send(1, 3, ColorMode::Color)), "3.000");
    let (media, which_pages) = (None, None);
    let save = Act::Save { job, user: user(), pages: 7, media, revision, which_pages };
    assert_eq!(price(save), "0.000");
}

#[test]
fn an_act_of_nothing_is_refused() {
    let act = send(1, 0, ColorMode::Color);
    let refused = decide(&Terms::default(), act, JobId([1; 8]), USER);
    assert!(matches!(refused, Err(Error::Rejected(_))));
}

#[test]
fn an_act_beyond_counting_is_refused() {
    let decide = |act| decide(&Terms::default(), act, JobId([1; 8]), USER);
    decide(send(u32::MAX, 1, ColorMode::Color)).expect("is counted");
    for destinations in [2, u32::MAX] {
        let refused = decide(send(u32::MAX, destinations, ColorMode::Color));
        assert!(matches!(refused, Err(Error::Rejected(_))));
    }
}

/// It was sent, and the conversions that the client meant were never due.
#[test]
fn a_revision_that_nothing_made_is_neither_sent_nor_converted() {
    let policy = SettlementPolicy::ServerSettles;
    let job = Some(Standing { policy, revision: 1, steps: 1, ended: false, user: None });
    let terms = Terms { job, ..Terms::default() };
    let save = |revision| {
        let (job, user, media, which_pages) = (JobId([1; 8]), "a".into(), None, None);
        let act = Act::Save { job, user, pages: 1, media, revision, which_pages };
        decide(&terms, act, job, Some(UserAlias([2; 16])))
    };
    for made in [None, Some(0), Some(1)] {
        save(made).expect("is there");
    }
    let refused = save(Some(2)).expect_err("is not").to_string();
    assert_eq!(refused, "revision 2: nothing made that; the newest is 1");
    assert!(
        revisions(job, None, Some(1), 1).is_ok() && revisions(job, Some(5), Some(2), 1).is_err()
    );
}

/// Charged to who pressed the button, it would come free with what the owner sends.
#[test]
fn nobody_acts_in_a_job_that_another_user_began() {
    let policy = SettlementPolicy::ServerSettles;
    let begun_by = |user| {
        let job = Some(Standing { policy, revision: 0, steps: 0, ended: false, user });
        Terms { job, ..Terms::default() }
    };
    let job = JobId([1; 8]);
    let sent = |terms: &Terms| decide(terms, send(1, 1, ColorMode::Color), job, USER);
    for theirs in [USER, None] {
        sent(&begun_by(theirs)).expect("is theirs");
    }
    let others = begun_by(Some(UserAlias([77; 16])));
    let told = sent(&others).expect_err("is another's").to_string();
    assert!(told.contains("another user's"), "{told}");
    decide(&others, Act::End { job }, job, None).expect("is nobody's");
}

/// Each limit's last value is taken and the next one refused, with what to do.
#[test]
fn a_job_has_so_many_conversions_and_a_size_so_many_letters() {
    let policy = SettlementPolicy::ServerSettles;
    let most = JOB_STEPS_MAX;
    let at = |revision, steps: u32| {
        Some(Standing { policy, revision, steps: steps as usize, ended: false, user: None })
    };
    assert_eq!(revisions(None, Some(3), None, 1).expect("no job asks"), (Some(3), None));
    assert_eq!(revisions(at(4, 0), None, None, 1).expect("the next"), (Some(5), Some(4)));
    assert_eq!(revisions(at(1, 0), Some(1), None, 1).expect("made anew"), (Some(1), Some(0)));
    assert!(revisions(at(1, 0), Some(1), Some(1), 1).is_err(), "of itself");
    assert!(revisions(at(most - 1, most - 2), None, None, 2).is_ok());
    assert!(revisions(at(most - 1, most - 2), None, None, 3).is_err(), "too many kinds");
    let why = revisions(at(most, 0), None, None, 1).expect_err("too many revisions").to_string();
    assert_eq!(why, format!("a job has at most {most} conversions; begin another one"));

    let capture = |letters: usize| {
        let (user, color, media) = ("a".into(), ColorMode::Color, Some("m".repeat(letters)));
        let act = Act::Capture { job: None, user, pages: 1, color, media, page: None };
        decide(&Terms::default(), act, JobId([1; 8]), USER).map(drop)
    };
    capture(TEXT_BYTES_MAX).expect("fits");
    let why = capture(TEXT_BYTES_MAX + 1).expect_err("does not").to_string();
    assert_eq!(why, format!("media: at most {TEXT_BYTES_MAX} bytes"));
}

#[test]
fn pages_that_overlap_or_are_not_as_many_as_counted_are_refused() {
    let saved = |pages, ranges: &[(u32, u32)]| {
        let which = ranges.iter().map(|(first, last)| PageRange { first: *first, last: *last });
        check_pages(Some(&which.collect::<Vec<_>>()), pages).map_err(|why| why.to_string())
    };
    let refused = |pages| {
        Err(format!("which-pages: ranges that ascend, from page 1 on, {pages} pages in all"))
    };
    assert_eq!(saved(4, &[(1, 3), (7, 7)]), Ok(()));
    assert_eq!(saved(5, &[(1, 3), (7, 7)]), refused(5));
    assert_eq!(saved(4, &[(1, 3), (3, 3)]), refused(4));
    assert_eq!(saved(1, &[(0, 0)]), refused(1));
    assert_eq!(saved(0, &[(2, 1)]), refused(0));
    check_pages(None, 0).expect("none are the first none");
}

#[test]
fn a_page_on_each_side_makes_half_as_many_sheets() {
    let sheets = |sides| [1, 2, 3].map(|impressions| sheets_of(impressions, sides));
    assert_eq!(sheets(None), [1, 2, 3]);
    assert_eq!(sheets(Some(Sides::OneSided)), [1, 2, 3]);
    for sides in [Sides::TwoSidedLongEdge, Sides::TwoSidedShortEdge] {
        assert_eq!(sheets(Some(sides)), [1, 1, 2]);
    }
}

/// What the next act of a job meets follows from the acts before it.
#[test]
fn a_job_stands_as_its_events_left_it() {
    let policy = SettlementPolicy::Additive;
    let mut standing = None;
    let mut after = |act: Act| {
        let terms = Terms { policy, job: standing, ..Terms::default() };
        let event = decide(&terms, act, JobId([1; 8]), USER).expect("is decided");
        standing = Standing::after(standing, &event);
        standing
    };
    let (job, user) = (JobId([1; 8]), || "a".to_owned());
    let convert = |revision, from_revision, kinds: &[Conversion]| Act::Convert {
        job,
        user: user(),
        pages: 1,
        conversions: kinds.to_vec(),
        media: None,
        revision,
        from_revision,
        which_pages: None,
    };
    let begun = Some(Standing { policy, revision: 0, steps: 0, ended: false, user: USER });
    assert_eq!(after(Act::Begin { job, user: user() }), begun);
    let (resize, resolution) = (Conversion::Resize, Conversion::Resolution);
    let two = Some(Standing { policy, revision: 2, steps: 2, ended: false, user: USER });
    assert_eq!(after(convert(Some(2), Some(0), &[resize, resolution])), two);
    let one_anew = Some(Standing { policy, revision: 2, steps: 3, ended: false, user: USER });
    assert_eq!(after(convert(Some(1), Some(0), &[resize])), one_anew);
    assert_eq!(after(send(1, 1, ColorMode::Color)), one_anew);
    let ended = Some(Standing { policy, revision: 2, steps: 3, ended: true, user: USER });
    assert_eq!(after(Act::End { job }), ended);
}

#[test]
fn every_act_that_costs_has_its_charge_to_read_and_to_change() {
    use crate::counts::rights::{charge, charge_mut};
    let (job, user, color) = (JobId([1; 8]), || "a".to_owned(), ColorMode::Color);
    let (media, revision, which_pages) = (None, None, None);
    let capture =
        Act::Capture { job: None, user: user(), pages: 1, color, media: None, page: None };
    let save = Act::Save { job, user: user(), pages: 1, media, revision, which_pages };
    let convert = Act::Convert {
        job,
        user: user(),
        pages: 1,
        conversions: vec![Conversion::Resize],
        media: None,
        revision: None,
        from_revision: None,
        which_pages: None,
    };
    let print = Act::Print {
        job: None,
        user: user(),
        impressions: 1,
        sheets: None,
        color,
        sides: None,
        media: None,
        source: CountSource::Device,
        job_number: None,
        acted_at: None,
        spool_job: None,
        running_total: None,
        page: None,
    };
    for act in [capture, save, convert, send(1, 1, color), print] {
        let mut event = decide(&Terms::default(), act, job, USER).expect("is decided");
        let (whose, changed) = charge_mut(&mut event).expect("has a charge");
        assert_eq!(Some(whose), USER);
        changed.credits = Credits::from_thousandths(77);
        let (whose, read) = charge(&event).expect("has a charge");
        assert_eq!((Some(whose), read.credits.thousandths()), (USER, 77));
    }
    let mut ended = decide(&Terms::default(), Act::End { job }, job, USER).expect("is decided");
    assert!(charge(&ended).is_none() && charge_mut(&mut ended).is_none());
}
