//! What is priced how, and what is refused: acts one by one. Jobs as a whole are in
//! `job_tests`, beside the fold that settles them.
//! What the conversions of a job come to is not in here.

use super::*;

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
    let job = Some(Standing { policy, revision: 1, steps: 1, ended: false });
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
