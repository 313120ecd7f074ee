//! `FORMAT.md` says what the code says: its tables are made from the code.
//!
//! Owns the tables of event kinds, of nested bodies, of words; those of limits are
//! made in [`limits`].
//! Invariant: what stands between the page's `generated` marks is what is made
//! here; a blessing run writes it. The prose around them is a person's.

use super::files::{assert_golden, read};
use super::limits;
use super::samples::{BACKING, LAPSING, finer_price, samples};
use crate::event::counts::{Charge, PageRange, RateCard};
use crate::event::{alerts, balances, counts, leases, log, printing, uploads};
use crate::{Event, Writer};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;
use std::fmt::Write;

const PAGE: &str = "FORMAT.md";

#[test]
fn the_tables_are_those_of_the_code() {
    let mut page = read(PAGE).unwrap();
    for (name, table) in [
        ("event kinds", kinds_table()),
        ("nested bodies", nested_table()),
        ("words", words_table()),
        ("limits", limits::formats()),
        ("limits of links", limits::links()),
        ("limits of local clients", limits::local()),
        ("limits of files", limits::files()),
    ] {
        let (start, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end -->");
        let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no mark: {start}"));
        let (_, after) = rest.split_once(end).unwrap();
        page = format!("{before}{start}{table}{end}{after}");
    }
    assert_golden(&[(PAGE.into(), page)]);
}

/// The store is the engine's; its tables are drawn here, beside what lies in them.
#[test]
fn every_table_of_the_store_is_drawn() {
    let page = read(PAGE).unwrap();
    let code = read("../engine/src/store/redb.rs").unwrap();
    let drawn: Vec<&str> =
        code.split('"').filter(|text| text.get(2..3) == Some("-") && !text.contains(' ')).collect();
    assert!(drawn.len() >= 12, "the tables' names are no longer in that file: {drawn:?}");
    for name in drawn {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not in the page's table");
    }
}

pub(super) fn event_schema() -> Value {
    serde_json::to_value(schema_for!(Event)).unwrap()
}

/// The JSON Schema of a kind: of its body's fields and `kind`.
pub(super) fn body_schema(kind: &str) -> Value {
    let schema = event_schema();
    let variants = schema["oneOf"].as_array().unwrap().clone();
    variants.into_iter().find(|it| it["properties"]["kind"]["const"] == kind).unwrap()
}

fn kinds_table() -> String {
    let mut table =
        "| number | name | written by | says | fields by key |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (kind, name, writer) in Event::KINDS {
        let event = samples().into_iter().find(|event| event.kind() == *kind).unwrap();
        let writer = match writer {
            Writer::Device => "device",
            Writer::Cloud => "cloud",
            Writer::Both => "both",
        };
        let schema = body_schema(name);
        let says = first_line(&schema);
        let json = serde_json::to_string(&event).unwrap();
        let fields = fields(&event.encode_body(), &json, &schema);
        writeln!(table, "| `0x{kind:04x}` | `{name}` | {writer} | {says} | {fields} |").unwrap();
    }
    table
}

fn nested_table() -> String {
    let amount = crate::Credits::ZERO;
    let card = RateCard {
        version: 1,
        capture: amount,
        print_monochrome: amount,
        print_color: amount,
        conversion: amount,
        send_monochrome: amount,
        send_color: amount,
        save: amount,
        finer: Some(vec![finer_price()]),
    };
    let charge = Charge { credits: amount, card: 1, backing: Some(BACKING) };
    let rows = [
        nested_row("Charge", &charge),
        nested_row("Backing", &BACKING),
        nested_row(
            "LeaseHeld",
            &leases::LeaseHeld { device: crate::DeviceId([0; 16]), credits: amount },
        ),
        nested_row("Lapsing", &LAPSING),
        nested_row("RateCard", &card),
        nested_row("FinerPrice", &finer_price()),
        nested_row("PageRange", &PageRange { first: 1, last: 2 }),
    ];
    format!("| body | says | fields by key |\n| --- | --- | --- |\n{}", rows.concat())
}

fn nested_row<T: JsonSchema + serde::Serialize + minicbor::Encode<()>>(
    name: &str,
    value: &T,
) -> String {
    let schema = serde_json::to_value(schema_for!(T)).unwrap();
    let json = serde_json::to_string(value).unwrap();
    let fields = fields(&crate::cbor::to_cbor(value), &json, &schema);
    format!("| `{name}` | {} | {fields} |\n", first_line(&schema))
}

fn first_line(schema: &Value) -> String {
    schema["description"].as_str().unwrap().replace('\n', " ").replace('|', "\\|")
}

/// `0 job JobId · 1 media text?`: the body's keys beside the names of its JSON, in one order.
fn fields(body: &[u8], json: &str, schema: &Value) -> String {
    let names = json_names(json);
    let keys = cbor_keys(body);
    assert_eq!(names.len(), keys.len(), "a full sample: {json}");
    let field = |(key, name): (u32, &String)| {
        let optional = !schema["required"].as_array().unwrap().contains(&name.as_str().into());
        let type_name = type_name(&schema["properties"][name]);
        format!("{key} `{name}` {type_name}{}", if optional { "?" } else { "" })
    };
    keys.into_iter().zip(&names).map(field).collect::<Vec<_>>().join(" · ")
}

fn cbor_keys(body: &[u8]) -> Vec<u32> {
    let mut decoder = minicbor::Decoder::new(body);
    let count = decoder.map().unwrap().unwrap();
    (0..count)
        .map(|_| {
            let key = decoder.u32().unwrap();
            decoder.skip().unwrap();
            key
        })
        .collect()
}

/// The names of the outermost fields, as they stand, but for the kind.
fn json_names(json: &str) -> Vec<String> {
    let fields: serde_json::Map<String, Value> = serde_json::from_str(json).unwrap();
    let mut names: Vec<(usize, String)> = fields
        .keys()
        .filter(|name| *name != "kind")
        .map(|name| (json.find(&format!("\"{name}\":")).unwrap(), name.clone()))
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

fn type_name(schema: &Value) -> String {
    let named = |schema: &Value| schema["$ref"].as_str().map(|name| name.replace("#/$defs/", ""));
    if let Some(name) = named(schema) {
        return name;
    }
    if let Some(one) = schema["anyOf"].get(0).and_then(named) {
        return one;
    }
    let json_type = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match (json_type, schema["format"].as_str()) {
        (Some("array"), _) => format!("[{}]", type_name(&schema["items"])),
        (Some("string"), _) => "text".to_owned(),
        (Some("boolean"), _) => "bool".to_owned(),
        (_, Some(format)) => format.replace("uint", "u").replace("int", "i"),
        _ => panic!("a type without a name on paper: {schema}"),
    }
}

fn words_table() -> String {
    let rows = [
        words_row::<log::LogClass>(),
        words_row::<log::EpochReason>(),
        words_row::<counts::ColorMode>(),
        words_row::<counts::Sides>(),
        words_row::<counts::CountSource>(),
        words_row::<counts::Conversion>(),
        words_row::<counts::PricedAct>(),
        words_row::<counts::PricedUnit>(),
        words_row::<counts::SettlementPolicy>(),
        words_row::<leases::Right>(),
        words_row::<balances::SyncMode>(),
        words_row::<uploads::AttemptCause>(),
        words_row::<uploads::UploadFailure>(),
        words_row::<printing::DisableMode>(),
        words_row::<printing::PrintOutcome>(),
        words_row::<alerts::FaultClass>(),
        words_row::<alerts::Function>(),
    ];
    let table =
        format!("| words | says | number and word |\n| --- | --- | --- |\n{}", rows.concat());
    for name in word_types() {
        assert!(table.contains(&format!("| `{name}` |")), "{name} is missing in `words_table`");
    }
    table
}

/// The enumerations that events use, by their schema.
fn word_types() -> Vec<String> {
    let schema = serde_json::to_value(schema_for!(Event)).unwrap();
    let types = schema["$defs"].as_object().unwrap();
    let words = types.iter().filter(|(_, of)| of["oneOf"][0]["const"].is_string());
    words.map(|(name, _)| name.clone()).collect()
}

fn words_row<T>() -> String
where
    T: JsonSchema + serde::de::DeserializeOwned + minicbor::Encode<()>,
{
    let schema = serde_json::to_value(schema_for!(T)).unwrap();
    let words = schema["oneOf"].as_array().unwrap().iter().map(|of| {
        let value: T = serde_json::from_value(of["const"].clone()).unwrap();
        let number: u32 = minicbor::decode(&crate::cbor::to_cbor(&value)).unwrap();
        format!("{number} `{}`", of["const"].as_str().unwrap())
    });
    let words = words.collect::<Vec<_>>().join(" · ");
    format!("| `{}` | {} | {words} |\n", T::schema_name(), first_line(&schema))
}
