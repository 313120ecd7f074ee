//! What people and other programs write: join URLs, acts as JSON, page logs and their formats, rate cards.
//!
//! Invariant: a dressed text follows its form, and one of its fields is hostile. Text that is not UTF-8
//! is read as far as its reader takes bytes.

use super::decoder::{Decoder, assert_reads_back};
use super::goldens;
use super::mutation::mutate;
use super::values::with_a_hostile_field;
use crate::sim::entropy::Entropy;
use serde_json::{Value, json};
use tallyroll_cloud::rates;
use tallyroll_edge::counts::lines::{Line, Lines};
use tallyroll_edge::counts::{Format, Pages, Reject};
use tallyroll_engine::counts::{Standing, Terms, card, decide};
use tallyroll_schema::event::counts::SettlementPolicy;
use tallyroll_schema::limits::JOB_STEPS_MAX;
use tallyroll_schema::{
    Act, Event, JobId, JoinUrl, Record, ServerAct, Timestamp, UserAlias, read_json_line,
};

/// The URL an administrator hands over.
pub(super) struct JoinUrlDecoder;

impl Decoder for JoinUrlDecoder {
    fn name(&self) -> &'static str {
        "join-url"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let places = [
            ("cloud.example:4433", "branch-1"),
            ("[2001:db8::1]:1", "branch-1?tls=443"),
            ("192.0.2.1:65535", "b"),
        ];
        let url = |(host, name): (&str, &str)| {
            url(host.as_bytes(), name.as_bytes(), "ab".repeat(32).as_bytes())
        };
        places.map(url).to_vec()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut parts =
            [b"cloud.example:4433".to_vec(), b"branch-1".to_vec(), "ab".repeat(32).into_bytes()];
        let hostile = entropy.index(3);
        parts[hostile] = mutate(entropy, &[parts[hostile].clone(), b"[::1]:0".to_vec()]);
        let [host, name, authority] = &parts;
        url(host, name, authority)
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(input);
        let url: JoinUrl = text.parse().map_err(|_| "no join URL".to_owned())?;
        assert_reads_back(&url, &url.to_string().parse());
        Ok(if url.host.contains(':') { "IPv6" } else { "a name" }.into())
    }
}

fn url(host: &[u8], name: &[u8], authority: &[u8]) -> Vec<u8> {
    [b"tallyroll://", host, b"/", name, b"#", authority].concat()
}

/// Acts and events as a client writes them.
pub(super) struct ActDecoder(Vec<Value>);

impl ActDecoder {
    pub(super) fn new() -> Self {
        let texts =
            goldens::texts("act", ".json").into_iter().chain(goldens::texts("event", ".json"));
        let mut acts: Vec<Value> =
            texts.map(|(_, text)| serde_json::from_str(&text).expect("is JSON")).collect();
        acts.push(json!({ "kind": "pages.captured", "user": "anna", "pages": 1 })); // no more than it must
        Self(acts)
    }
}

impl Decoder for ActDecoder {
    fn name(&self) -> &'static str {
        "act"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|act| act.to_string().into_bytes()).collect()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let act = &self.0[entropy.index(self.0.len())];
        with_a_hostile_field(entropy, act).to_string().into_bytes()
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let Ok(act) = read_json_line::<Act>(input) else {
            return match serde_json::from_slice::<Event>(input) {
                Ok(event) => recorded(&event),
                Err(why) => Err(without_text(&why.to_string())),
            };
        };
        let json = serde_json::to_string(&act).expect("is shown as JSON");
        assert_reads_back(&act, &read_json_line(json.as_bytes()));
        let (job, alias) = (act.job().unwrap_or(JobId([1; 8])), UserAlias([2; 16]));
        for terms in in_jobs(alias) {
            for by in [Some(alias), None] {
                let _either_is_fine =
                    decide(&terms, act.clone(), job, by).map(|event| recorded(&event));
            }
        }
        recorded(&decide(&Terms::default(), act, job, Some(alias)).map_err(|why| why.to_string())?)
    }
}

/// Jobs as they may stand when an act comes.
fn in_jobs(user: UserAlias) -> [Terms; 6] {
    let policy = SettlementPolicy::ServerSettles;
    let begun = Standing { policy, revision: 3, steps: 2, ended: false, user: Some(user) };
    let long = Standing { revision: JOB_STEPS_MAX, steps: JOB_STEPS_MAX as usize, ..begun };
    let [others, additive] = [
        Standing { user: Some(UserAlias([9; 16])), ..begun },
        Standing { policy: SettlementPolicy::Additive, user: None, ..begun },
    ];
    let ended = Standing { ended: true, ..begun };
    let over = Terms { over: true, ..Terms::default() };
    let [begun, long, others, additive, ended] = [begun, long, others, additive, ended]
        .map(|job| Terms { job: Some(job), ..Terms::default() });
    [begun, long, others, additive, ended, over]
}

/// What a processing server's software writes: an act, with the device whose job it is.
pub(super) struct ServerActDecoder(Vec<Value>);

impl ServerActDecoder {
    pub(super) fn new() -> Self {
        let texts = goldens::texts("act", ".json").into_iter();
        let acts = texts.map(|(_, text)| serde_json::from_str::<Value>(&text).expect("is JSON"));
        let at_device = |(at, mut act): (usize, Value)| {
            act["device"] = json!("branch-1");
            if at % 2 == 0 {
                act["request"] = json!("00000000000000b1");
            }
            act
        };
        Self(acts.enumerate().map(at_device).collect())
    }
}

impl Decoder for ServerActDecoder {
    fn name(&self) -> &'static str {
        "server-act"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|act| act.to_string().into_bytes()).collect()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let act = &self.0[entropy.index(self.0.len())];
        let act = with_a_hostile_field(entropy, act).to_string();
        if entropy.percent(10) {
            let twice = act.replacen('{', "{\"device\":[{\"a\":null,\"b\":[-1,0.5,true]}],", 1);
            return twice.into_bytes();
        }
        act.into_bytes()
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let act: ServerAct = read_json_line(input).map_err(|why| without_text(&why))?;
        let json = serde_json::to_string(&act).expect("is shown as JSON");
        assert_reads_back(&act, &read_json_line(json.as_bytes()));
        Ok(if act.request.is_some() { "with a request" } else { "without a request" }.into())
    }
}

/// What a reason says, without the text it is about.
fn without_text(why: &str) -> String {
    if why.contains("` comes twice; ") {
        return "a key comes twice".into();
    }
    match why.find(" is no ") {
        Some(at) => why[at..].chars().take_while(|letter| *letter != ',').collect(),
        None => why.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
    }
}

/// Writes an event as a record, and reads that.
fn recorded(event: &Event) -> Result<String, String> {
    let record = Record::encode(event, Timestamp::default()).map_err(|why| why.to_string())?;
    let (read, _) = Record::split(&record).expect("was just written");
    assert_reads_back(event, &read.event());
    Ok(event.name().into())
}

/// Lines as CUPS writes them, in its own format and in one of an administrator's.
pub(super) struct PageLogDecoder {
    formats: [Format; 2],
    lines: Vec<Vec<u8>>,
}

const STANDARD: &str = include_str!("../../../fixtures/page_log/page_log");
const CUSTOM: &str = include_str!("../../../fixtures/page_log/page_log.custom");
const CUSTOM_FORMAT: &str = include_str!("../../../fixtures/page_log/PageLogFormat.custom");

impl PageLogDecoder {
    pub(super) fn new() -> Self {
        let custom = Format::parse(CUSTOM_FORMAT).expect("is importable");
        let lines = STANDARD.lines().chain(CUSTOM.lines());
        let lines = lines.map(|line| line.as_bytes().to_vec()).collect();
        Self { formats: [Format::default(), custom], lines }
    }
}

impl Decoder for PageLogDecoder {
    fn name(&self) -> &'static str {
        "page-log"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.lines.clone()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let line = &self.lines[entropy.index(self.lines.len())];
        let custom = line.starts_with(b"[");
        let between = if custom { b'|' } else { b' ' };
        let mut fields: Vec<Vec<u8>> =
            line.split(|byte| *byte == between).map(<[u8]>::to_vec).collect();
        let hostile = entropy.index(fields.len());
        let of_another = self.lines[entropy.index(self.lines.len())].clone();
        fields[hostile] = mutate(entropy, &[fields[hostile].clone(), of_another]);
        fields.join(&between)
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let (mut lines, mut last) = (Lines::default(), Err("nothing".to_owned()));
        let mut take = |line: Line<'_>| {
            let mut read = self.formats.iter().map(|format| format.read(line.bytes));
            let entry =
                read.next().expect("two formats").or_else(|why| read.next().unwrap_or(Err(why)));
            last = match entry.map(|entry| entry.pages) {
                Ok(Pages::Total { .. }) => Ok("a total".into()),
                Ok(Pages::Page { .. }) => Ok("a page".into()),
                Err(why) => Err(reject_name(&why)),
            };
            Ok::<(), core::convert::Infallible>(())
        };
        let Ok(()) = lines.push(input, &mut take);
        let Ok(()) = lines.end(&mut take);
        last
    }
}

/// What an administrator may have set as CUPS's `PageLogFormat`.
pub(super) struct PageLogFormatDecoder;

const FIELDS: [&str; 14] = [
    "%p",
    "%u",
    "%j",
    "%T",
    "%P",
    "%C",
    "%{job-impressions-completed}",
    "%{media}",
    "%{sides}",
    "%{job-name}",
    "%{job-uuid}",
    "%{job-originating-user-name}",
    "%%",
    "%x",
];

impl Decoder for PageLogFormatDecoder {
    fn name(&self) -> &'static str {
        "page-log-format"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let standard = Format::default().to_string();
        let formats = [CUSTOM_FORMAT, &standard, "%p %u %j %T %{job-impressions-completed}"];
        formats.map(|format| format.as_bytes().to_vec()).to_vec()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut fields = vec!["%T", "%j", "%p", "%u", "%P %C"];
        for _ in 0..entropy.below(4) {
            let at = entropy.index(fields.len());
            let field = FIELDS[entropy.index(FIELDS.len())];
            match entropy.below(3) {
                0 => fields[at] = field,
                1 => fields.insert(at, field),
                _ => fields.swap(0, at),
            }
        }
        let between = ["|", " ", "", "\u{202e}"][entropy.index(4)];
        fields.join(between).into_bytes()
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(input);
        let format = Format::parse(&text).map_err(|why| why.to_string())?;
        assert_reads_back(
            &format.to_string(),
            &Format::parse(&format.to_string()).map(|again| again.to_string()),
        );
        for line in STANDARD.lines().chain(CUSTOM.lines()) {
            let _either_is_fine = format.read(line.as_bytes());
        }
        Ok("importable".into())
    }
}

/// The prices that an administrator publishes.
pub(super) struct RateCardDecoder;

const FINER: [(&str, [&str; 5]); 6] = [
    ("act", ["\"print\"", "\"conversion\"", "\"send\"", "\"capture\"", "\"fax\""]),
    ("unit", ["\"sheet\"", "\"impression\"", "\"page\"", "1", "\"\""]),
    ("color", ["\"color\"", "\"monochrome\"", "true", "[]", "\"auto\""]),
    ("media", ["\"iso_a3\"", "\"\"", "'''\n'''", "{}", "\"\\u202e\""]),
    ("conversion", ["\"resize\"", "\"ocr\"", "1979-05-27", "\"merge\"", "nan"]),
    ("price", ["0.3", "\"0.001\"", "-0.0", "1e3", "1_0.0005"]),
];

impl Decoder for RateCardDecoder {
    fn name(&self) -> &'static str {
        "rate-card"
    }
    fn seeds(&self) -> Vec<Vec<u8>> {
        let default = rates::write(&card::default_card());
        let finer = "[[price]]\nact = \"print\"\ncolor = \"color\"\nprice = 0.3\n";
        [format!("{default}{finer}"), default].map(String::into_bytes).to_vec()
    }
    fn dressed(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut text = rates::write(&card::default_card());
        if entropy.percent(20) {
            let plain: Vec<&str> = text.lines().filter(|line| line.contains(" = ")).collect();
            let line = plain[entropy.index(plain.len())].to_owned();
            let (name, _) = line.split_once(" = ").expect("a price has a name");
            let price = ["\"-1.000\"", "\"9999999999.000\"", "-3", "\"0.0001\""][entropy.index(4)];
            text = text.replace(&line, &format!("{name} = {price}"));
        }
        for _ in 0..entropy.between(1, 4) {
            text.push_str("[[price]]\n");
            for (name, values) in FINER {
                // Mostly what may stand there.
                let value = values[if entropy.percent(80) { 0 } else { entropy.index(5) }];
                if matches!(name, "act" | "price") || entropy.percent(30) {
                    text.push_str(&format!("{name} = {value}\n"));
                }
            }
        }
        text.into_bytes()
    }
    fn read(&self, input: &[u8]) -> Result<String, String> {
        let card = rates::read(input).map_err(|why| without_text(&why.what))?;
        assert_reads_back(&card, &rates::read(rates::write(&card).as_bytes()));
        Ok(if card.finer.is_some() { "finer prices" } else { "plain prices" }.into())
    }
}

/// Which reason it is, without the figures it is about.
fn reject_name(why: &Reject) -> String {
    match why {
        Reject::Number { what, .. } => format!("number of {what}"),
        other => format!("{other:?}").chars().take_while(char::is_ascii_alphabetic).collect(),
    }
}
