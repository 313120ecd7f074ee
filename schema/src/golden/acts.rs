//! The JSON of acts, which clients write: its samples and its JSON Schema.
//!
//! Invariant: every kind of act has a full and a shortest form on file, and both
//! fit the schema that clients are given. What a device makes of an act is left
//! to the engine.

use super::files::{assert_golden, assert_no_others, read};
use super::samples::{JOB, WALL, which_pages};
use crate::Act;
use crate::event::counts::{ColorMode, Conversion, CountSource, Sides};

const FOLDER: &str = "golden/v1/act";
const JSON_SCHEMA: &str = "golden/act.schema.json";

fn acts() -> Vec<(&'static str, Act)> {
    let user = || "zoë@example.com".to_owned();
    let media = || Some("iso_a4_210x297mm".to_owned());
    vec![
        ("job.begun", Act::Begin { job: JOB, user: user() }),
        (
            "pages.printed",
            Act::Print {
                job: Some(JOB),
                user: user(),
                impressions: 12,
                sheets: Some(6),
                color: ColorMode::Color,
                sides: Some(Sides::TwoSidedLongEdge),
                media: Some("iso_a4_210x297mm".into()),
                source: CountSource::PageLog,
                job_number: Some(482),
                acted_at: Some(WALL),
                spool_job: Some(JOB),
                running_total: Some(36),
                page: Some(7),
            },
        ),
        (
            "pages.captured",
            Act::Capture {
                job: Some(JOB),
                user: user(),
                pages: 3,
                color: ColorMode::Monochrome,
                media: media(),
                page: Some(7),
            },
        ),
        (
            "pages.converted",
            Act::Convert {
                job: JOB,
                user: user(),
                pages: 3,
                conversions: vec![Conversion::Resize],
                media: media(),
                revision: Some(2),
                from_revision: Some(1),
                which_pages: which_pages(),
            },
        ),
        (
            "document.sent",
            Act::Send {
                job: JOB,
                user: user(),
                pages: 3,
                destinations: 2,
                color: ColorMode::Monochrome,
                media: media(),
                revision: Some(2),
                which_pages: which_pages(),
            },
        ),
        (
            "document.saved",
            Act::Save {
                job: JOB,
                user: user(),
                pages: 3,
                media: media(),
                revision: Some(2),
                which_pages: which_pages(),
            },
        ),
        ("balance.asked", Act::Ask { user: user() }),
        ("document.discarded", Act::Discard { job: JOB }),
        ("job.ended", Act::End { job: JOB }),
    ]
}

#[test]
fn golden_files_are_what_this_build_writes_and_reads() {
    let acts = acts();
    assert_eq!(acts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), Act::KINDS);
    let files: Vec<_> = acts
        .iter()
        .map(|(name, act)| {
            let json = serde_json::to_string_pretty(act).unwrap() + "\n";
            (format!("{FOLDER}/{name}.json"), json)
        })
        .collect();
    assert_golden(&files);
    assert_no_others(FOLDER, &files);
    for ((file, _), (_, act)) in files.iter().zip(&acts) {
        assert_eq!(serde_json::from_str::<Act>(&read(file).unwrap()).unwrap(), *act);
    }
}

#[test]
fn the_json_schema_is_current_and_holds_for_full_and_shortest_forms() {
    let schema = serde_json::to_value(schemars::schema_for!(Act)).unwrap();
    assert_golden(&[(JSON_SCHEMA.into(), serde_json::to_string_pretty(&schema).unwrap() + "\n")]);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (user, job) = ("ada", JOB);
    let shortest = [
        serde_json::json!({"kind": "job.begun", "user": user, "job": job}),
        serde_json::json!({"kind": "pages.printed", "user": user, "impressions": 1}),
        serde_json::json!({"kind": "pages.captured", "user": user, "pages": 1}),
        serde_json::json!(
            {"kind": "pages.converted", "job": job, "user": user, "pages": 1, "conversions": []}
        ),
        serde_json::json!(
            {"kind": "document.sent", "job": job, "user": user, "pages": 1, "destinations": 1}
        ),
        serde_json::json!({"kind": "document.saved", "job": job, "user": user, "pages": 1}),
        serde_json::json!({"kind": "balance.asked", "user": user}),
        serde_json::json!({"kind": "document.discarded", "job": job}),
        serde_json::json!({"kind": "job.ended", "job": job}),
    ];
    let full = acts().into_iter().map(|(_, act)| serde_json::to_value(act).unwrap());
    for mut json in full.chain(shortest) {
        serde_json::from_value::<Act>(json.clone()).unwrap();
        assert!(validator.is_valid(&json), "{json}");
        json["surprise"] = 1.into();
        assert!(!validator.is_valid(&json), "{json}");
        let error = serde_json::from_value::<Act>(json).unwrap_err().to_string();
        assert!(error.contains("unknown field `surprise`"), "{error}");
    }
}
