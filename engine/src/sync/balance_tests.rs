//! Balances told: mission 1's examples 1, 2, 6 and 10, to the figure in every step at both ends.
//!
//! Invariant: "server" is the balance at the cloud, "device" what is available as far as the device knows.
//! What the acts cost is in `act_tests`.

use super::pair::{TestDevice, enrol, hub, now, talk_at};
use crate::counts::decide;
use crate::hub::{Acted, AskedAct, Hub};
use crate::store::MemoryStore;
use std::collections::BTreeSet;
use tallyroll_schema::event::balances::SyncMode;
use tallyroll_schema::event::counts::{ColorMode, SettlementPolicy};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::{Act, Credits, JobId, SubjectId, UserAlias};

const SUBJECT: SubjectId = SubjectId([7; 16]);
const ALIAS: UserAlias = UserAlias([8; 16]);
const OTHER: SubjectId = SubjectId([9; 16]);

struct Play {
    hub: Hub<MemoryStore>,
    device: TestDevice,
    at: u64,
}

impl Play {
    /// A user with 100 logs in at a device.
    fn login(policy: SettlementPolicy, mode: SyncMode) -> Self {
        let mut hub = hub();
        hub.publish_settlement(now(1), policy).expect("publishes");
        hub.publish_sync_mode(now(1), mode).expect("publishes");
        let device = enrol(&mut hub, "one", 21);
        hub.grant(now(3), SUBJECT, Credits::from_thousandths(100_000), String::new())
            .expect("grants");
        hub.link(now(3), vec![(device.id(), ALIAS, SUBJECT)]).expect("links");
        let mut play = Self { hub, device, at: 4 };
        play.sync();
        assert_eq!(play.device.known_balance(ALIAS).expect("reads"), None);
        play.device.ask_balance(now(4), ALIAS).expect("asks");
        play.sync();
        play.shows(100_000, 100_000);
        play
    }

    /// What the device has is taken in, and what the cloud makes of it comes back, as long as there is
    /// anything.
    fn sync(&mut self) {
        for _ in 0..3 {
            self.at += 1;
            for user in self.device.balances_to_ask() {
                self.device.ask_balance(now(self.at), user).expect("asks");
            }
            self.device.seal(now(self.at)).expect("seals");
            talk_at(&mut self.device, &mut self.hub, self.at);
            self.hub.tell_balances(now(self.at)).expect("tells");
        }
        talk_at(&mut self.device, &mut self.hub, self.at);
    }

    /// At the device, which is not heard yet.
    fn record(&mut self, act: Act) {
        let job = act.job().expect("in a job");
        let event = decide(&self.device.terms(job), act, job, Some(ALIAS)).expect("is decided");
        self.device.commit(now(self.at), &[(LogClass::Ledger, event)]).expect("commits");
    }

    fn begin(&mut self, job: u8) {
        self.record(Act::Begin { job: JobId([job; 8]), user: "anna".into() });
    }

    fn scan(&mut self, job: u8, color: ColorMode) {
        let (job, user, media) = (Some(JobId([job; 8])), "anna".into(), None);
        self.record(Act::Capture { job, user, pages: 1, color, media, page: None });
    }

    fn end(&mut self, job: u8) {
        self.record(Act::End { job: JobId([job; 8]) });
    }

    /// At the cloud.
    fn mail(&mut self, job: u8, destinations: u32, color: ColorMode) {
        let (job, user, media) = (JobId([job; 8]), "anna".into(), None);
        let (revision, which_pages) = (None, None);
        self.serve(Act::Send {
            job,
            user,
            pages: 1,
            destinations,
            color,
            media,
            revision,
            which_pages,
        });
    }

    fn serve(&mut self, act: Act) {
        let (at, device) = (now(self.at), self.device.id());
        let asked = AskedAct { device, act, request: None, by: None };
        let acted = self.hub.act(at, asked, &BTreeSet::new(), None).expect("is done");
        assert!(matches!(acted, Acted::At(_)));
        self.hub.tell_balances(at).expect("tells");
    }

    #[track_caller]
    fn shows(&self, device: i128, server: i128) {
        let known = self.device.known_balance(ALIAS).expect("reads").expect("was told");
        let funds = self.hub.funds().get(&SUBJECT).copied().unwrap_or_default();
        let shown = (known.available.thousandths(), funds.granted - funds.charged);
        assert_eq!(shown, (device, server), "device and server; {known:?}");
    }

    fn is_flagged(&self) -> bool {
        self.device.known_balance(ALIAS).expect("reads").expect("was told").flag
    }
}

const MONO: ColorMode = ColorMode::Monochrome;

#[test]
fn example_1_mailed_to_five() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Wait);
    play.begin(1);
    play.scan(1, MONO);
    play.shows(99_000, 100_000);
    play.sync();
    play.shows(99_000, 100_000);
    play.mail(1, 5, MONO);
    play.shows(99_000, 97_500);
    play.sync();
    play.shows(99_000, 97_500); // the job runs
    play.end(1);
    play.shows(99_000, 97_500); // its end voids nothing at the device
    play.sync();
    play.shows(97_500, 97_500);
}

#[test]
fn a_word_that_waits_for_a_job_is_known_to_wait() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Wait);
    play.begin(1);
    play.scan(1, MONO);
    play.sync();
    play.mail(1, 5, MONO);
    assert!(!play.device.balance_waits(ALIAS));
    play.device.ask_balance(now(play.at), ALIAS).expect("asks");
    play.sync();
    play.shows(99_000, 97_500);
    assert!(play.device.balance_waits(ALIAS), "told, and not taken in");
    play.end(1);
    assert!(!play.device.balance_waits(ALIAS));
    play.shows(97_500, 97_500);
}

#[test]
fn example_2_the_sync_waits_for_the_second_job() {
    for mode in [SyncMode::Wait, SyncMode::Flag] {
        let mut play = Play::login(SettlementPolicy::ServerSettles, mode);
        play.begin(1);
        play.scan(1, MONO);
        play.sync();
        play.begin(2);
        play.sync();
        play.mail(1, 5, MONO);
        play.end(1);
        play.scan(2, ColorMode::Color);
        play.shows(98_000, 97_500);
        play.sync();
        play.shows(98_000, 97_500);
        assert_eq!(play.is_flagged(), mode == SyncMode::Flag, "example 10");
        let before = play.hub.last_commit();
        play.hub
            .grant(now(play.at), OTHER, Credits::from_thousandths(1), String::new())
            .expect("grants");
        play.hub.tell_balances(now(play.at)).expect("tells");
        let told = play.hub.last_commit().index - before.index;
        assert_eq!(told, 1, "a flag is set once, and nobody is told of others");
        play.mail(2, 1, ColorMode::Color);
        play.sync();
        play.shows(98_000, 96_500);
        assert_eq!(play.device.balances_to_ask(), [], "not in the middle of a job");
        play.end(2);
        let flagged = [ALIAS].into_iter().filter(|_| mode == SyncMode::Flag).collect::<Vec<_>>();
        assert_eq!(play.device.balances_to_ask(), flagged);
        play.sync();
        play.shows(96_500, 96_500);
        assert!(!play.is_flagged());
    }
}

/// What is charged provisionally by jobs that run is no news to their own device; that the server voided some is.
#[test]
fn the_flag_is_set_by_what_the_server_did_and_not_by_the_pages_of_the_job() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Flag);
    for job in [1, 2] {
        play.begin(job);
        play.scan(job, MONO);
    }
    play.sync();
    assert!(!play.is_flagged());
    play.serve(Act::Discard { job: JobId([1; 8]) });
    play.sync();
    assert!(play.is_flagged());
    play.end(1);
    play.end(2);
    play.shows(98_000, 100_000);
    play.sync();
    play.shows(100_000, 100_000);
    assert!(!play.is_flagged());
}

/// The word that came with an act, at the same moment, has it in it.
#[test]
fn what_the_server_did_and_told_at_once_sets_no_flag_in_the_next_job() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Flag);
    play.begin(1);
    play.scan(1, MONO);
    play.end(1);
    play.sync();
    play.mail(1, 5, MONO);
    play.sync();
    play.shows(97_500, 97_500);
    play.begin(2);
    play.scan(2, MONO);
    play.sync();
    assert!(!play.is_flagged());
}

/// The cloud had not heard of the second job when it told: the word comes in the middle of it.
#[test]
fn a_word_that_comes_in_the_middle_of_a_job_is_taken_in_at_its_end() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Wait);
    play.begin(1);
    play.scan(1, MONO);
    play.sync();
    play.mail(1, 5, MONO);
    play.end(1);
    play.device.seal(now(play.at)).expect("seals");
    talk_at(&mut play.device, &mut play.hub, play.at);
    play.hub.tell_balances(now(play.at)).expect("tells");
    play.begin(2);
    play.scan(2, ColorMode::Color);
    play.shows(98_000, 97_500);
    talk_at(&mut play.device, &mut play.hub, play.at);
    play.shows(98_000, 97_500);
    play.end(2);
    play.shows(96_500, 97_500); // as told, less the second scan
    play.sync();
    play.shows(97_500, 97_500); // which the cloud voided
}

#[test]
fn example_5_deleted() {
    for at_the_server in [false, true] {
        let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Wait);
        play.begin(1);
        play.scan(1, MONO);
        play.sync();
        let discard = Act::Discard { job: JobId([1; 8]) };
        if at_the_server {
            play.serve(discard)
        } else {
            play.record(discard)
        }
        play.end(1);
        play.sync();
        play.shows(100_000, 100_000);
    }
}

#[test]
fn example_6_additive() {
    let mut play = Play::login(SettlementPolicy::Additive, SyncMode::Wait);
    play.begin(1);
    play.scan(1, MONO);
    play.shows(99_000, 100_000);
    play.sync();
    play.shows(99_000, 99_000);
    play.mail(1, 5, MONO);
    play.shows(99_000, 96_500);
    play.end(1);
    play.sync();
    play.shows(96_500, 96_500);

    let mut play = Play::login(SettlementPolicy::Additive, SyncMode::Wait);
    play.begin(1);
    play.scan(1, MONO);
    play.sync();
    play.record(Act::Discard { job: JobId([1; 8]) });
    play.end(1);
    play.sync();
    play.shows(99_000, 99_000);
}

/// Example 11, as far as balances are told: 3 left, 10 pages, a top-up of 7 while the job is stopped.
#[test]
fn a_word_that_ends_a_stop_is_taken_in_at_once() {
    for mode in [SyncMode::Wait, SyncMode::Flag] {
        let mut play = Play::login(SettlementPolicy::ServerSettles, mode);
        play.begin(1);
        play.scan(1, MONO);
        play.sync();
        let top_up = |play: &mut Play| {
            let credits = Credits::from_thousandths(7_000);
            play.hub.grant(now(play.at), SUBJECT, credits, String::new()).expect("grants");
        };
        top_up(&mut play);
        play.sync();
        play.shows(99_000, 107_000); // it runs, and has no need of it
        let much = Credits::from_thousandths(1_000_000);
        play.device.request_lease(now(play.at), (ALIAS, None), much, much).expect("asks");
        play.sync();
        let hub = &mut play.hub;
        hub.answer_requests(now(play.at), &BTreeSet::new(), &mut |_| Ok(())).expect("refuses");
        play.sync();
        play.shows(99_000, 107_000);
        top_up(&mut play);
        play.sync();
        play.shows(113_000, 114_000);
        play.scan(1, MONO);
        play.shows(112_000, 114_000);
        let much = Credits::from_thousandths(1_000);
        play.device.request_lease(now(play.at), (ALIAS, None), much, much).expect("asks");
        play.sync();
        let hub = &mut play.hub;
        hub.answer_requests(now(play.at), &BTreeSet::new(), &mut |_| Ok(())).expect("lends");
        play.sync();
        play.shows(112_000, 114_000);
        top_up(&mut play);
        play.sync();
        play.shows(112_000, 121_000); // it goes on
        play.end(1);
        play.sync();
        play.shows(121_000, 121_000);
    }
}

/// Only who cannot go on has stopped: a renewal that is refused is no stop, and who spent since goes on.
#[test]
fn a_refused_renewal_is_no_stop() {
    for mode in [SyncMode::Wait, SyncMode::Flag] {
        let mut play = Play::login(SettlementPolicy::ServerSettles, mode);
        play.begin(1);
        play.scan(1, MONO);
        play.sync();
        let much = Credits::from_thousandths(100_000);
        let ask = |play: &mut Play, needed| {
            play.device.request_lease(now(play.at), (ALIAS, None), needed, much).expect("asks");
            play.sync();
            let hub = &mut play.hub;
            hub.answer_requests(now(play.at), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
            play.sync();
        };
        ask(&mut play, Credits::from_thousandths(99_000));
        let before = play.device.lease(ALIAS);
        ask(&mut play, Credits::ZERO);
        let lease = play.device.lease(ALIAS);
        assert!(lease.refused > 0 && lease.granted == before.granted, "{lease:?}");
        let credits = Credits::from_thousandths(7_000);
        play.hub.grant(now(play.at), SUBJECT, credits, String::new()).expect("grants");
        play.sync();
        play.shows(99_000, 107_000);
        assert_eq!(play.is_flagged(), mode == SyncMode::Flag);
    }
}

/// A stop ends with its job, and with what is done without a right.
#[test]
fn a_stop_ends_with_the_job_that_stopped() {
    type Goes = fn(&mut Play);
    let ends: [Goes; 3] = [
        |play| play.end(1),
        |play| {
            play.end(1);
            play.end(2);
            play.begin(3);
        },
        |play| play.scan(1, MONO),
    ];
    for (way, ends) in ends.into_iter().enumerate() {
        let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Flag);
        let stopped = |play: &Play| play.hub.counts().is_stopped(play.device.id(), ALIAS);
        play.begin(1);
        play.begin(2);
        play.scan(2, MONO);
        play.sync();
        let (much, job) = (Credits::from_thousandths(1_000_000), Some(JobId([1; 8])));
        play.device.request_lease(now(play.at), (ALIAS, job), much, much).expect("asks");
        play.sync();
        let hub = &mut play.hub;
        hub.answer_requests(now(play.at), &BTreeSet::new(), &mut |_| Ok(())).expect("refuses");
        play.sync();
        assert!(stopped(&play));
        ends(&mut play);
        play.sync();
        assert!(!stopped(&play), "way {way}");
    }
}

#[test]
fn who_was_told_all_is_told_nothing_more_and_a_restart_forgets_nothing() {
    let mut play = Play::login(SettlementPolicy::ServerSettles, SyncMode::Wait);
    let before = play.hub.last_commit();
    play.hub = play.hub.restart(now(9));
    play.sync();
    assert_eq!(play.hub.last_commit(), before);
    play.hub.grant(now(9), SUBJECT, Credits::from_thousandths(1), String::new()).expect("grants");
    play.hub = play.hub.restart(now(9));
    play.sync();
    play.shows(100_001, 100_001);
    let late = 30 * 3_600;
    play.hub
        .grant(now(late), SUBJECT, Credits::from_thousandths(1), String::new())
        .expect("grants");
    let before = play.hub.last_commit();
    play.hub.tell_balances(now(late)).expect("tells");
    assert_eq!(play.hub.last_commit(), before, "nobody was there since yesterday");
}
