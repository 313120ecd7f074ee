//! Acts that a processing server asks for over its session with the account server.
//!
//! Invariant: what is answered with a position is done once, at the price that both ends know; what is
//! refused, late or lost before it arrived is not done; who is no processing server does nothing. What
//! an act comes to is in `act_tests`.

use super::pair::{TestDevice, config, enrol, enrol_as, hub, now, talk_at};
use super::{Effect, Output, Reply, Role, Session};
use crate::counts::decide;
use crate::hub::{Acted, AskedAct, Hub};
use crate::store::MemoryStore;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use tallyroll_schema::event::balances::BalanceAsked;
use tallyroll_schema::event::counts::{ColorMode, Conversion, RateCard};
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::limits::ACTS_UNKNOWN_MAX;
use tallyroll_schema::limits::links::ACTS_UNDER_WAY_MAX;
use tallyroll_schema::wire::{ActAnswer, ActOutcome, ActRequest, Message};
use tallyroll_schema::{Act, Credits, Event, JobId, RequestId, ServerAct, SubjectId, UserAlias};

const SUBJECT: SubjectId = SubjectId([7; 16]);
const ALIAS: UserAlias = UserAlias([8; 16]);
const JOB: JobId = JobId([1; 8]);

/// An account server, a device at which a job began, and a processing server.
struct Three {
    hub: Hub<MemoryStore>,
    branch: TestDevice,
    office: TestDevice,
    at: u64,
}

/// A session of the office's, as its ends' drivers hold it.
struct Link {
    edge: Session,
    cloud: Session,
    /// Asked for, and waiting for a device.
    waiting: VecDeque<(ActRequest, Option<Duration>)>,
    answers: Vec<ActAnswer>,
}

fn three(granted: i64) -> Three {
    let mut hub = hub();
    let mut branch = enrol(&mut hub, "branch", 21);
    let office = enrol_as(&mut hub, "office", 22, true);
    let credits = Credits::from_thousandths(granted);
    hub.grant(now(3), SUBJECT, credits, "for a test".into()).expect("grants");
    hub.link(now(3), vec![(branch.id(), ALIAS, SUBJECT)]).expect("links");
    record(&mut branch, Act::Begin { job: JOB, user: "anna".into() });
    let (color, media) = (ColorMode::Monochrome, None);
    let user = "anna".into();
    record(&mut branch, Act::Capture { job: Some(JOB), user, pages: 1, color, media, page: None });
    let mut three = Three { hub, branch, office, at: 5 };
    three.sync();
    three
}

fn record(device: &mut TestDevice, act: Act) {
    let event = decide(&device.terms(JOB), act, JOB, Some(ALIAS)).expect("is decided");
    device.commit(now(4), &[(LogClass::Ledger, event)]).expect("commits");
}

fn mail(request: u8, destinations: u32) -> ServerAct {
    let (job, user, color) = (JOB, "anna".into(), ColorMode::Monochrome);
    let (media, revision, which_pages) = (None, None, None);
    let act = Act::Send { job, user, pages: 1, destinations, color, media, revision, which_pages };
    ServerAct { device: "branch".into(), request: Some(RequestId([request; 8])), act }
}

impl Three {
    fn sync(&mut self) {
        for device in [&mut self.branch, &mut self.office] {
            device.seal(now(self.at)).expect("seals");
            talk_at(device, &mut self.hub, self.at);
        }
    }

    fn link(&self) -> Link {
        let id = self.office.id();
        let (ours, theirs) = (self.office.opening(), self.hub.opening(id));
        let edge = config(Role::Device, id);
        let edge = Session::new(edge, ours.expect("reads"), Duration::ZERO);
        let cloud = config(Role::Cloud, id);
        let cloud = Session::new(cloud, theirs.expect("reads"), Duration::ZERO);
        Link { edge, cloud, waiting: VecDeque::new(), answers: Vec::new() }
    }

    /// Lets both ends talk until they are silent; `delivers` says whether answers arrive.
    fn run(&mut self, link: &mut Link, delivers: bool) {
        let (id, at) = (self.office.id(), now(self.at));
        let mut silent = false;
        while !core::mem::replace(&mut silent, true) {
            while let Some(output) = link.edge.poll_output() {
                silent = false;
                match output {
                    Output::Send { stream, message } => link.cloud.handle(stream, message),
                    Output::Perform(Effect::Acted(answer)) => link.answers.push(answer),
                    Output::Perform(effect) => {
                        link.edge.complete(self.office.perform(at, effect).expect("performs"));
                    }
                    Output::Close(error) => panic!("the edge closed: {error:?}"),
                }
            }
            while let Some(output) = link.cloud.poll_output() {
                silent = false;
                match output {
                    Output::Send { message: Message::Acted(_), .. } if !delivers => {}
                    Output::Send { stream, message } => link.edge.handle(stream, message),
                    Output::Perform(Effect::Act(asked)) => link.waiting.push_back((asked, None)),
                    Output::Perform(effect) => {
                        let replies = self.hub.perform(at, vec![(id, effect)]).expect("performs");
                        replies.into_iter().for_each(|reply| link.cloud.complete(reply));
                    }
                    Output::Close(error) => panic!("the cloud closed: {error:?}"),
                }
            }
            for _ in 0..link.waiting.len() {
                let Some((asked, mut since)) = link.waiting.pop_front() else { break };
                match self.answer(&asked, &mut since) {
                    Some(outcome) => {
                        let request = asked.request;
                        link.cloud.complete(Reply::Acted(ActAnswer { request, outcome }));
                        silent = false;
                    }
                    None => link.waiting.push_back((asked, since)),
                }
            }
        }
    }

    fn answer(&mut self, asked: &ActRequest, since: &mut Option<Duration>) -> Option<ActOutcome> {
        let ServerAct { device, request, act } = asked.read().expect("is an act");
        let device = self.hub.fleet().find(&device).expect("is enrolled");
        let by = Some((self.office.id(), asked.charge.clone()));
        let reached = BTreeSet::from([self.branch.id()]);
        let asked = AskedAct { device, act, request, by };
        let acted = self.hub.act(now(self.at), asked, &reached, *since);
        if let Ok(Acted::Waits { since: first }) = acted {
            *since = Some(first);
        }
        Acted::outcome(acted).expect("storage holds")
    }

    /// Asks in a session of its own.
    fn ask(&mut self, act: &ServerAct) -> ActOutcome {
        let (asked, _) = self.office.ask(now(self.at), act).expect("is priced");
        let mut link = self.link();
        self.run(&mut link, true);
        link.edge.ask_to_act(asked);
        self.run(&mut link, true);
        let answer = link.answers.pop().expect("is answered");
        self.office.answered(answer.request).expect("is noted");
        answer.outcome
    }

    fn charged(&self) -> i128 {
        self.hub.funds().get(&SUBJECT).copied().unwrap_or_default().charged
    }
}

fn refused(outcome: ActOutcome) -> String {
    let ActOutcome::Refused(why) = outcome else { panic!("{outcome:?}") };
    why
}

fn later(outcome: ActOutcome) -> String {
    let ActOutcome::Later(why) = outcome else { panic!("{outcome:?}") };
    why
}

#[test]
fn an_act_is_done_once_whoever_dies_before_the_answer() {
    let mut three = three(100_000);
    let (asked, before) = three.office.ask(now(6), &mail(1, 5)).expect("is priced");
    assert!(!before);
    let mut link = three.link();
    three.run(&mut link, true);
    link.edge.ask_to_act(asked);
    three.run(&mut link, false);
    assert_eq!((three.charged(), link.answers.len()), (2_500, 0), "the answer was lost");
    assert_eq!(three.office.asked().expect("reads")[0].request, RequestId([1; 8]));
    three.hub = three.hub.restart(now(7));

    let before = three.hub.last_commit();
    let (_, noted) = three.office.ask(now(8), &mail(1, 5)).expect("is priced");
    assert!(noted, "it may have been done");
    let again = three.ask(&mail(1, 5));
    assert!(matches!(again, ActOutcome::At(_)), "{again:?}");
    assert_eq!((three.charged(), three.hub.last_commit()), (2_500, before), "once");
    assert_eq!(three.office.asked().expect("reads"), []);
    assert!(refused(three.ask(&mail(1, 6))).contains("take a new one"));
}

/// The answer to a conversion was lost, then its job ended and the processing server was retired: asked again it
/// was refused, and whoever asked took it for not done.
#[test]
fn what_was_done_is_told_whatever_would_refuse_it_by_now() {
    let mut three = three(100_000);
    let (media, revision, from_revision, which_pages) = (None, None, None, None);
    let (user, conversions) = ("anna".into(), vec![Conversion::Resize]);
    let act = Act::Convert {
        job: JOB,
        user,
        pages: 1,
        conversions,
        media,
        revision,
        from_revision,
        which_pages,
    };
    let convert = ServerAct { act, ..mail(1, 1) };
    let first = three.ask(&convert);
    assert!(matches!(first, ActOutcome::At(_)), "{first:?}");
    record(&mut three.branch, Act::End { job: JOB });
    three.sync();
    let office = three.office.id();
    three.hub.retire(now(6), office, String::new()).expect("retires");
    assert_eq!(three.ask(&convert), first);
    let again = ServerAct { request: Some(RequestId([2; 8])), ..convert };
    refused(three.ask(&again));
}

#[test]
fn what_is_refused_is_not_done_and_told_in_the_same_words() {
    let mut three = three(2_000);
    let told =
        "1.500 credits needed beyond what its job holds, 1.000 left: nothing of this is done";
    assert_eq!(refused(three.ask(&mail(1, 5))), told);
    let elsewhere = ServerAct { act: Act::Discard { job: JobId([9; 8]) }, ..mail(2, 1) };
    three.at = 20;
    let (asked, _) = three.office.ask(now(20), &elsewhere).expect("is priced");
    let late = three.answer(&asked, &mut Some(Duration::from_secs(10))).expect("waits no longer");
    assert!(later(late).contains("once branch is synced"));
    assert_eq!(three.charged(), 0);
}

#[test]
fn only_a_processing_server_that_is_active_may_ask() {
    let mut three = three(100_000);
    let office = three.office.id();
    core::mem::swap(&mut three.office, &mut three.branch);
    let why = refused(three.ask(&mail(1, 5)));
    assert!(
        why.contains("branch is enrolled as a device") && why.contains("--processing"),
        "{why}"
    );
    core::mem::swap(&mut three.office, &mut three.branch);
    three.hub.retire(now(6), office, String::new()).expect("retires");
    let (asked, _) = three.office.ask(now(7), &mail(2, 5)).expect("is priced");
    let why = refused(three.answer(&asked, &mut None).expect("is answered"));
    assert!(why.contains("retired"), "{why}");
    assert_eq!(three.charged(), 0);
}

#[test]
fn both_ends_price_by_the_newest_card_or_nothing_is_done() {
    let mut three = three(100_000);
    let (asked, _) = three.office.ask(now(6), &mail(1, 5)).expect("is priced");
    let mut cheap = asked.clone();
    if let Some(charge) = &mut cheap.charge {
        charge.credits = Credits::ZERO;
    }
    let why = refused(three.answer(&cheap, &mut None).expect("is answered"));
    assert!(why.contains("0.000 credits by rate card 1 there") && why.contains("2.500"), "{why}");
    let free = ActRequest { charge: None, ..asked.clone() };
    refused(three.answer(&free, &mut None).expect("is answered"));

    let card = three.hub.card();
    let card = RateCard {
        version: card.version + 1,
        send_monochrome: Credits::from_thousandths(700),
        ..card
    };
    three.hub.publish(now(6), card).expect("publishes");
    let why = later(three.answer(&asked, &mut None).expect("is answered"));
    assert!(why.contains("rate card 2 is in force, and says 3.500"), "{why}");
    assert_eq!(three.charged(), 0);
    three.sync();
    let first = three.ask(&mail(1, 5));
    assert_eq!(three.charged(), 3_500, "and the card that says so stands in the charge");
    let card = three.hub.card();
    three.hub.publish(now(8), RateCard { version: card.version + 1, ..card }).expect("publishes");
    let again = three.answer(&asked, &mut None);
    assert_eq!(again, Some(first), "what was done is answered, whatever its price is by now");
}

#[test]
fn so_many_are_under_way_and_none_of_them_twice() {
    let mut three = three(100_000);
    let mut link = three.link();
    three.run(&mut link, true);
    let unknown =
        |request: u8| ServerAct { act: Act::Discard { job: JobId([9; 8]) }, ..mail(request, 1) };
    let most = u8::try_from(ACTS_UNDER_WAY_MAX).expect("is small");
    for request in (0..=most).chain([3]) {
        let (asked, _) = three.office.ask(now(6), &unknown(request)).expect("is priced");
        link.edge.ask_to_act(asked);
    }
    three.run(&mut link, true);
    assert_eq!(link.waiting.len(), ACTS_UNDER_WAY_MAX, "these wait for the job's device");
    let told: Vec<_> =
        link.answers.drain(..).map(|answer| (answer.request.0[0], later(answer.outcome))).collect();
    assert!(told[0].0 == most && told[0].1.contains("too many"), "{told:?}");
    assert!(told[1].0 == 3 && told[1].1.contains("too many"), "{told:?}");
    link.waiting.truncate(1);
    three.at = 20;
    three.run(&mut link, true);
    assert_eq!(link.answers.len(), 1);
    let (asked, _) = three.office.ask(now(20), &unknown(1)).expect("is priced");
    link.edge.ask_to_act(asked);
    three.run(&mut link, true);
    let told = later(link.answers.pop().expect("is answered").outcome);
    assert!(told.contains("under way"), "{told}");
}

#[test]
fn an_act_that_waits_for_a_recall_holds_nobody_up() {
    let mut three = three(3_000);
    let credits = Credits::from_thousandths(2_000);
    three.branch.request_lease(now(5), (ALIAS, None), credits, credits).expect("asks");
    three.sync();
    three.hub.answer_requests(now(5), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    three.sync();
    let mut link = three.link();
    three.run(&mut link, true);
    let (asked, _) = three.office.ask(now(6), &mail(1, 5)).expect("is priced");
    link.edge.ask_to_act(asked);
    three.at = 6;
    three.run(&mut link, true);
    assert_eq!((link.waiting.len(), link.answers.len()), (1, 0));
    let discard = ServerAct { act: Act::Discard { job: JOB }, ..mail(2, 1) };
    let (asked, _) = three.office.ask(now(6), &discard).expect("is priced");
    link.edge.ask_to_act(asked);
    three.run(&mut link, true);
    assert_eq!(link.answers.pop().expect("is answered").request, RequestId([2; 8]));

    three.branch.seal(now(7)).expect("seals");
    talk_at(&mut three.branch, &mut three.hub, 7);
    three.branch.return_lease(now(7), ALIAS, Credits::ZERO).expect("gives back");
    three.branch.seal(now(7)).expect("seals");
    talk_at(&mut three.branch, &mut three.hub, 7);
    three.run(&mut link, true);
    let answer = link.answers.pop().expect("is answered");
    assert!(matches!(answer.outcome, ActOutcome::At(_)), "{answer:?}");
    assert_eq!(three.charged(), 2_500);
}

#[test]
fn an_account_server_takes_acts_by_sessions_alone_also_after_a_restart() {
    let mut three = three(100_000);
    three.hub.set_account_server(true).expect("is laid down");
    three.hub = three.hub.restart(now(6));
    let ServerAct { act, request, .. } = mail(1, 5);
    let asked = AskedAct { device: three.branch.id(), act, request, by: None };
    let none = BTreeSet::new();
    let refused = three.hub.act(now(7), asked.clone(), &none, None).expect_err("is refused");
    assert!(refused.to_string().contains("tallyroll-edge act"), "{refused}");
    assert!(matches!(three.ask(&mail(2, 5)), ActOutcome::At(_)));
    three.hub.set_account_server(false).expect("is laid down");
    assert!(matches!(three.hub.act(now(8), asked, &none, None), Ok(Acted::At(_))));
}

/// It asks for both as a device may, and hears of its own logs and the public one, and nothing of anna.
#[test]
fn a_processing_server_is_lent_nothing_and_told_no_balances() {
    let mut three = three(100_000);
    three.hub.link(now(6), vec![(three.office.id(), ALIAS, SUBJECT)]).expect("links");
    let credits = Credits::from_thousandths(2_000);
    three.office.request_lease(now(6), (ALIAS, None), credits, credits).expect("asks");
    assert!(three.office.refuse_if_processing().is_err() && !three.branch.is_processing());
    let asks = Event::from(BalanceAsked { user: ALIAS });
    three.office.commit(now(6), &[(LogClass::Ledger, asks)]).expect("commits");
    three.sync();
    three.hub.answer_requests(now(6), &BTreeSet::new(), &mut |_| Ok(())).expect("answers");
    three.hub.tell_balances(now(6)).expect("tells");
    three.sync();
    assert_eq!(three.hub.leases(), []);
    assert_eq!(three.hub.unanswered(), [], "it is refused");
    assert_eq!(three.office.known_balance(ALIAS).expect("reads"), None);
}

#[test]
fn requests_without_an_answer_are_bounded_and_those_may_be_asked_again() {
    let mut three = three(100_000);
    let numbered = |number: usize| {
        let request = Some(RequestId((number as u64).to_be_bytes()));
        ServerAct { request, ..mail(0, 1) }
    };
    for number in 0..ACTS_UNKNOWN_MAX {
        three.office.ask(now(6), &numbered(number)).expect("is noted");
    }
    let full = three.office.ask(now(6), &numbered(ACTS_UNKNOWN_MAX)).expect_err("is one too many");
    assert!(full.to_string().contains("send those again first"), "{full}");
    assert!(three.office.ask(now(6), &numbered(7)).expect("is noted").1);
    three.office.answered(RequestId(7u64.to_be_bytes())).expect("is answered");
    three.office.ask(now(6), &numbered(ACTS_UNKNOWN_MAX)).expect("there is a place");
}
