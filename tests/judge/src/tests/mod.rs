//! Each kind of defect is planted and must be found, and a correct run has no findings.

mod history;
mod push;
