//! What the machine could do at most: raw probes of what bounds each scenario, without any server in
//! front. Serves the scenarios, which print their figures as shares of these.

use serde::{Deserialize, Serialize};

/// What a probe measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What was done.
    pub name: String,
    /// How much of it.
    pub value: f64,
    /// Of what, such as `sends/s`.
    pub unit: String,
}

impl Limit {
    /// A measured limit.
    pub fn new(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
        }
    }
}
