//! Curves: the change of a figure as one quantity grows. A curve runs a scenario, or the steps of
//! one, at one point after another, and writes data and a picture.
//!
//! Each point is checked like a run of its own, and a point with a finding fails the curve.

mod args;
mod connections;
mod data;
mod inbox;
mod memory;
mod runs;

use clap::ValueEnum as _;

use crate::LoadError;

pub use args::{CurveArgs, CurveName};
pub use data::{CurveColumn, CurveData, CurvePoint};

/// Runs a curve and writes its results.
///
/// # Errors
/// A point cannot be run, or has a finding.
pub async fn run(args: &CurveArgs) -> Result<(), LoadError> {
    let data = match args.name {
        CurveName::Connections => connections::run(args).await?,
        CurveName::Inbox => inbox::run(args).await?,
        CurveName::Group => runs::group(args).await?,
        CurveName::Rooms => runs::rooms(args).await?,
        CurveName::Nodes => runs::nodes(args).await?,
        CurveName::Memory => memory::run(args).await?,
    };
    let name = args.name.to_possible_value();
    let name = name.ok_or_else(|| LoadError::new("curve", "the curve has no name"))?;
    data.write(&args.dir, name.get_name())
}
