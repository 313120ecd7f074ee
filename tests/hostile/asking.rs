//! Who may ask for acts by a session: every role and standing of who asks, with a job of every owner.
//!
//! Invariant shown here: only a processing server that is active is heard, and only about jobs of its own
//! tenant; nobody else's asking changes a row. The rule stands in [`may`] and nowhere else; the cells are
//! made from it. What an act comes to is tested beside the engine.

use super::matrix::{MINE, OTHER, Standing, THEIRS};
use tallyroll_engine::counts::decide;
use tallyroll_engine::device::Device;
use tallyroll_engine::hub::{Acted, AskedAct, Hub, Invitation, pin_hash};
use tallyroll_engine::keys::Signer;
use tallyroll_engine::sync::{Effect, Output, Reply};
use tallyroll_schema::enrol::JoinRequest;
use tallyroll_schema::event::log::LogClass;
use tallyroll_schema::wire::{
    ActAnswer, ActOutcome, ActRequest, Hello, Message, PROTOCOL_VERSION, SCHEMA_VERSION, StreamKind,
};
use tallyroll_schema::{
    Act, Credits, DeviceId, Hash, JobId, RequestId, ServerAct, SubjectId, UserAlias,
};
use tallyroll_tests::hostile::image::Image;
use tallyroll_tests::hostile::place::{Party, cloud_session, now, talk};
use tallyroll_tests::hostile::shared::Shared;

const JOB: JobId = JobId([1; 8]);
const ALIAS: UserAlias = UserAlias([8; 16]);

/// The rule; `of` is the device in whose job, by its name.
fn may(processing: bool, standing: Standing, of: &str) -> bool {
    processing && standing == Standing::Active && of == OTHER.name // nobody begins jobs at its own
}

fn enrol(party: Party, hub: &mut Hub<Shared>, processing: bool) -> Device<Image, Shared> {
    let (name, salt) = (party.name.to_owned(), Hash([5; 32]));
    let pin_hash = pin_hash(&salt, "ABCD-EFGH");
    let invitation = Invitation { name: name.clone(), pin_hash, salt, processing };
    hub.invite(now(1), invitation).unwrap();
    let signer = Signer::from_seed(&party.device);
    let request = JoinRequest {
        proof: signer.sign_enrolment(&name, &party.device),
        name,
        pin: "abcdefgh".into(),
        signing_key: signer.public_key(),
        agent: String::new(),
    };
    hub.join(now(2), &request, Hash(party.device), [party.device[0]; 16]).unwrap();
    let (journal, store) = (Image::default(), Shared::default());
    let mut device = party.open_device(hub.public_log(), party.device[0], journal, store).unwrap();
    let begin = Act::Begin { job: JOB, user: "anna".into() };
    let begun = decide(&device.terms(JOB), begin, JOB, Some(ALIAS)).unwrap();
    device.commit(now(10), &[(LogClass::Ledger, begun)]).unwrap();
    device.seal(now(400)).unwrap();
    talk(&mut device, hub);
    let subject = SubjectId([party.device[0]; 16]);
    hub.link(now(500), vec![(device.id(), ALIAS, subject)]).unwrap();
    hub.grant(now(500), subject, Credits::from_thousandths(9_000), String::new()).unwrap();
    device
}

fn discard(of: &str) -> ActRequest {
    let act = ServerAct { device: of.into(), request: None, act: Act::Discard { job: JOB } };
    ActRequest::new(RequestId([3; 8]), &act, None).unwrap()
}

/// Says HELLO and ACT as the device; returns what the cloud answers, if it does.
fn ask(hub: &mut Hub<Shared>, asker: DeviceId, of: &str) -> Option<ActOutcome> {
    hub.opening(asker).ok()?; // the rim begins no session then
    let mut session = cloud_session(hub, asker);
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        schema_min: 1,
        schema_max: SCHEMA_VERSION,
        tenant: MINE.tenant,
        device: asker,
        window: 1 << 20,
        agent: String::new(),
        accounts: None,
        names: None,
        enrolment: None,
    };
    session.handle(StreamKind::Control, Message::Hello(hello));
    session.handle(StreamKind::Control, Message::Act(discard(of)));
    let mut answered = None;
    while let Some(output) = session.poll_output() {
        match output {
            Output::Send { message: Message::Acted(answer), .. } => answered = Some(answer.outcome),
            Output::Send { .. } => {}
            Output::Perform(Effect::Act(asked)) => {
                let (request, outcome) = (asked.request, answer(hub, asker, &asked));
                session.complete(Reply::Acted(ActAnswer { request, outcome }));
            }
            Output::Perform(effect) => {
                let replies = hub.perform(now(600), vec![(asker, effect)]).unwrap();
                replies.into_iter().for_each(|reply| session.complete(reply));
            }
            Output::Close(_) => break,
        }
    }
    answered
}

fn answer(hub: &mut Hub<Shared>, asker: DeviceId, asked: &ActRequest) -> ActOutcome {
    let ServerAct { device, request, act } = asked.read().unwrap();
    let theirs = DeviceId::of_key(THEIRS.tenant, &Signer::from_seed(&THEIRS.device).public_key());
    // Theirs is named by its id, too, in case a name were all that keeps tenants apart.
    let device = hub.fleet().find(&device).unwrap_or(theirs);
    let asked = AskedAct { device, act, request, by: Some((asker, asked.charge.clone())) };
    let acted = hub.act(now(600), asked, &[device].into(), None);
    let waits = ActOutcome::Later("it waits".into());
    Acted::outcome(acted).unwrap().unwrap_or(waits)
}

#[test]
fn only_an_active_processing_server_acts_and_only_for_its_tenant() {
    let (mut allowed, mut denied) = (0, 0);
    for processing in [false, true] {
        for standing in [Standing::Active, Standing::Retired, Standing::Revoked, Standing::Stranger]
        {
            for of in [MINE.name, OTHER.name, THEIRS.name] {
                let store = Shared::default();
                let mut hub = MINE.open_hub(store.clone()).unwrap();
                let mut their_hub = THEIRS.open_hub(store).unwrap();
                let mine = enrol(MINE, &mut hub, processing).id();
                enrol(OTHER, &mut hub, false);
                let theirs = enrol(THEIRS, &mut their_hub, processing).id();
                match standing {
                    Standing::Retired => drop(hub.retire(now(501), mine, String::new()).unwrap()),
                    Standing::Revoked => drop(hub.revoke(now(501), mine, String::new()).unwrap()),
                    Standing::Active | Standing::Stranger => {}
                }
                let before = (hub.last_commit(), their_hub.last_commit());
                let asker = if standing == Standing::Stranger { theirs } else { mine };
                let answered = ask(&mut hub, asker, of);
                let cell = format!("processing {processing}, {standing:?}, a job of {of}");
                let done = matches!(answered, Some(ActOutcome::At(_)));
                assert_eq!(done, may(processing, standing, of), "{cell}: {answered:?}");
                let changed = (hub.last_commit(), their_hub.last_commit()) != before;
                assert_eq!(changed, done, "{cell}: what is refused is not recorded");
                *(if done { &mut allowed } else { &mut denied }) += 1;
            }
        }
    }
    assert_eq!((allowed, denied), (1, 23));
}
