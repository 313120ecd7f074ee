//! Hostile values in the fields of acts and events, by way of their JSON.
//!
//! Invariant: one field is changed, at any depth, mostly to another value of its own type: numbers at
//! the edges of their width, amounts that overflow a sum, texts that are long, empty or oddly encoded.

use super::mutation::{EDGES, mutate};
use crate::sim::entropy::Entropy;
use serde_json::Value;

/// Amounts, times and places at their edges.
const TEXTS: [&str; 7] = [
    "9223372036854775.807",
    "-9223372036854775.808",
    "0.000",
    "-0.001",
    "0.0005",
    "4294967295-ffffffffffffffffffffffffffffffff",
    "",
];

/// The same, but for one field.
pub(super) fn with_a_hostile_field(entropy: &mut Entropy, of: &Value) -> Value {
    let mut changed = of.clone();
    match &mut changed {
        Value::Object(fields) if !fields.is_empty() => {
            let at = entropy.index(fields.len());
            let field = fields.values_mut().nth(at).expect("is there");
            *field = with_a_hostile_field(entropy, field);
        }
        Value::Array(items) if !items.is_empty() && entropy.percent(80) => {
            let at = entropy.index(items.len());
            items[at] = with_a_hostile_field(entropy, &items[at]);
        }
        value => *value = hostile(entropy, value),
    }
    changed
}

fn hostile(entropy: &mut Entropy, value: &Value) -> Value {
    match (value, entropy.below(10)) {
        (_, 0) => Value::Null,
        (_, 1) => (entropy.draw() as f64 / 1e9).into(),
        (_, 2) => Value::Array(vec![value.clone(); entropy.index(5)]),
        (_, 3) if entropy.percent(10) => {
            (0..entropy.below(200)).fold(value.clone(), |inner, _| Value::Array(vec![inner]))
        }
        (Value::Number(_), 4) => (entropy.draw() as i64).into(),
        (Value::Number(_), _) => {
            let edge = EDGES[entropy.index(EDGES.len())];
            edge.wrapping_sub(entropy.below(2)).into()
        }
        (Value::Bool(held), _) => (!held).into(),
        (Value::String(_), 4 | 5) => TEXTS[entropy.index(TEXTS.len())].into(),
        (held, _) => {
            let text = held.as_str().unwrap_or("zoë").as_bytes().to_vec();
            String::from_utf8_lossy(&mutate(entropy, &[text])).into()
        }
    }
}
