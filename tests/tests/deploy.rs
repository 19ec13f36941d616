//! Settings in deploy/ and in the pages: every process of the compose files and of the Helm chart
//! gets a configuration that gimlet starts with, and every value that a page sets can be read.
//!
//! The files are read line by line, as far as they are used here: no YAML and no templates of Helm.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a file that is written otherwise should panic"
)]

use std::collections::BTreeMap;
use std::fs;

use gimlet_server::Config;
use gimlet_tests::source_code::{files_with, repository};

/// The environment of a process.
type ProcessEnvironment = BTreeMap<String, String>;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Fails unless gimlet would start with this environment.
fn assert_starts(process: &str, environment: &ProcessEnvironment) {
    assert!(environment.len() > 3, "{process}: {environment:?}");
    if let Err(error) = Config::load(None, environment.clone()) {
        panic!("{process}: {error}\n{environment:#?}");
    }
}

/// Returns a value for a variable that the operator must set.
fn set_by_the_operator(name: &str) -> &'static str {
    match name {
        "GIMLET_CLUSTER__SECRET" | "MYSQL_PASSWORD" => "secret",
        "GIMLET_BUSINESS__CODE_VERIFIER" => "fixed:135790",
        "GIMLET_STORAGE__MYSQL_URL" => "mysql://gimlet:secret@mysql:3306/gimlet",
        "GIMLET_STORAGE__REDIS_URL" => "redis://redis:6379/0",
        other => panic!("{other} has no value for this test"),
    }
}

/// Replaces `${NAME:-default}` and `${NAME:?error}`.
fn interpolated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (inside, after) = rest.split_once('}').unwrap();
    let (name, rule) = inside.split_once(':').unwrap();
    let value = match rule.strip_prefix('-') {
        Some(default) => default,
        None => set_by_the_operator(name),
    };
    format!("{before}{value}{}", interpolated(after))
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns the environments of the services of a compose file that run gimlet.
fn compose(path: &str) -> BTreeMap<String, ProcessEnvironment> {
    // Variables by service or, with & before it, by anchor; and single values by anchor.
    let mut blocks: BTreeMap<String, ProcessEnvironment> = BTreeMap::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    // The service that is read, and the block of variables with the column of its name.
    let (mut service, mut open) = (String::new(), None);
    for line in read(path).lines() {
        let (column, entry) = (indent(line), line.trim());
        let Some((key, value)) = entry.split_once(':').filter(|_| !entry.starts_with('#')) else {
            continue;
        };
        let value = value.trim();
        if open.as_ref().is_some_and(|(_, outer)| column <= *outer) {
            open = None;
        }
        if column == 2 && value.is_empty() {
            key.clone_into(&mut service);
        }
        if key == "environment" {
            open = Some((service.clone(), column));
        } else if column == 0 && value.starts_with('&') {
            open = Some((value.to_owned(), column));
        }
        let Some((block, _)) = open.clone() else {
            continue;
        };
        if key == "<<" {
            let merged = blocks.get(&value.replace('*', "&")).cloned();
            blocks.entry(block).or_default().extend(merged.unwrap());
        } else if key.starts_with("GIMLET_") {
            let mut value = value.to_owned();
            if let Some(alias) = value.strip_prefix('*') {
                value = values[alias].clone();
            } else if let Some(anchored) = value.strip_prefix('&') {
                let (anchor, anchored) = anchored.split_once(' ').unwrap();
                let (anchor, anchored) = (anchor.to_owned(), anchored.to_owned());
                values.insert(anchor, anchored.clone());
                value = anchored;
            }
            let value = interpolated(unquoted(&value));
            blocks
                .entry(block)
                .or_default()
                .insert(key.to_owned(), value);
        }
    }
    blocks.retain(|name, _| !name.starts_with('&'));
    blocks
}

#[test]
fn gimlet_starts_with_the_environment_of_every_compose_service() {
    let single = compose("deploy/compose.single.yaml");
    assert_eq!(single.keys().collect::<Vec<_>>(), ["gimlet"]);
    let cluster = compose("deploy/compose.yaml");
    assert_eq!(cluster.len(), 5, "{:?}", cluster.keys());
    for (service, environment) in single.iter().chain(&cluster) {
        assert_starts(service, environment);
    }
    for role in ["connect", "logic", "business"] {
        let has_role =
            |it: &ProcessEnvironment| it.get("GIMLET_ROLES").is_some_and(|it| it == role);
        assert!(
            cluster.values().any(has_role),
            "no service has the role {role}"
        );
    }
}

/// Returns the values of the chart by their dotted paths: `stop.grace`.
fn chart_values() -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in read("deploy/helm/gimlet/values.yaml").lines() {
        let entry = line.trim();
        let Some((key, value)) = entry.split_once(':').filter(|_| !entry.starts_with('#')) else {
            continue;
        };
        path.retain(|(column, _)| *column < indent(line));
        path.push((indent(line), key.to_owned()));
        let names: Vec<_> = path.iter().map(|(_, name)| name.as_str()).collect();
        values.insert(names.join("."), unquoted(value).to_owned());
    }
    values
}

/// Replaces the expressions of a template that occur in values of variables.
fn rendered(text: &str, role: &str, values: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = text.split_once("{{") else {
        return text.replace("$(POD_IP)", "10.0.0.1");
    };
    let (expression, after) = rest.split_once("}}").unwrap();
    let expression = expression.trim().trim_end_matches("| quote").trim();
    let value = match expression {
        "$role" => role.to_owned(),
        r#"include "gimlet.name" ."# => "gimlet".to_owned(),
        r#"include "gimlet.business" ."# => "gimlet-business-nodes:50000".to_owned(),
        // Inside `with .Values.business.publicUrl`.
        "." => "https://files.example.com".to_owned(),
        other => {
            let path = other.trim_start_matches("$top").strip_prefix(".Values.");
            let path = path.unwrap_or_else(|| panic!("{other} is not known to this test"));
            values[path].clone()
        }
    };
    rendered(&format!("{before}{value}{after}"), role, values)
}

/// Adds the variables of one template of the chart.
fn add_variables(
    environment: &mut ProcessEnvironment,
    template: &str,
    role: &str,
    values: &BTreeMap<String, String>,
) {
    for line in template.lines() {
        if let Some((_, rest)) = line.split_once("- {name: GIMLET_") {
            let (name, value) = rest.split_once(", value: ").unwrap();
            let value = value.trim_end().strip_suffix('}').unwrap();
            let value = rendered(value, role, values);
            environment.insert(format!("GIMLET_{name}"), unquoted(&value).to_owned());
        } else if let Some((_, rest)) = line.split_once(r#"include "gimlet.fromSecret" (list "#) {
            let name = rest.split('"').nth(1).unwrap();
            environment.insert(name.to_owned(), set_by_the_operator(name).to_owned());
        }
    }
}

#[test]
fn gimlet_starts_with_the_environment_of_every_role_of_the_chart() {
    let values = chart_values();
    for role in ["connect", "logic", "business"] {
        let mut environment = ProcessEnvironment::new();
        for template in ["_helpers.tpl".to_owned(), format!("{role}.yaml")] {
            let template = read(&format!("deploy/helm/gimlet/templates/{template}"));
            add_variables(&mut environment, &template, role, &values);
        }
        assert_eq!(environment["GIMLET_ROLES"], role);
        assert_eq!(environment["GIMLET_STOP__GRACE"], values["stop.grace"]);
        assert_starts(role, &environment);
    }
}

/// Seconds that flushing may take after the grace.
const FLUSH_SECS: u64 = 5;

#[test]
fn the_chart_gives_a_pod_the_time_that_its_stop_needs() {
    let values = chart_values();
    let secs = |path: &str| -> u64 { values[path].trim_end_matches('s').parse().unwrap() };
    let needed = secs("stop.preStopSeconds") + secs("stop.grace") + FLUSH_SECS;
    let given = secs("stop.terminationGracePeriodSeconds");
    assert!(
        given > needed,
        "{given} s are given, and {needed} s are needed"
    );
}

#[test]
fn the_ports_of_deploy_are_the_default_ports() {
    let listen = Config::default().listen;
    let ports: Vec<_> = listen.all().map(|(_, addr)| addr.port()).collect();
    let mut exposed = 0;
    let dockerfile = read("deploy/Dockerfile");
    let line = dockerfile.lines().find_map(|it| it.strip_prefix("EXPOSE "));
    for port in line.unwrap().split(' ') {
        exposed += 1;
        assert!(ports.contains(&port.parse().unwrap()), "EXPOSE {port}");
    }
    assert_eq!(exposed, ports.len(), "the Dockerfile exposes every port");
    let environments = ["deploy/compose.yaml", "deploy/compose.single.yaml"].map(compose);
    for environment in environments.iter().flat_map(BTreeMap::values) {
        for (name, addresses) in environment {
            if name.starts_with("GIMLET_LISTEN__") {
                for address in addresses.split(',') {
                    let (_, port) = address.rsplit_once(':').unwrap();
                    assert!(ports.contains(&port.parse().unwrap()), "{name}: {address}");
                }
            }
        }
    }
}

#[test]
fn every_value_that_a_page_or_a_unit_sets_can_be_read() {
    let mut count = 0;
    for file in files_with(&["md", "service", "mjs", "py"]) {
        let (path, text) = (&file.path, &file.text);
        if !path.starts_with("docs/") && !path.starts_with("deploy/") && path != "README.md" {
            continue;
        }
        for (at, _) in text.match_indices("GIMLET_") {
            let assignment = text[at..].split([' ', '\n', '`', ')']).next().unwrap();
            let Some((name, value)) = assignment.split_once('=') else {
                continue;
            };
            let is_name = name
                .chars()
                .all(|it| it == '_' || it.is_ascii_alphanumeric());
            // Those of tests and of the commands for operators are no configuration.
            let is_other = name.starts_with("GIMLET_TEST_")
                || ["GIMLET_URL", "GIMLET_API_KEY"].contains(&name);
            if !is_name || is_other || value.contains(['$', '…', '<']) {
                continue;
            }
            let value = value.trim_matches(['"', '\'', ';']);
            count += 1;
            let one = [(name.to_owned(), value.to_owned())];
            if let Err(error) = Config::read(None, one) {
                panic!("{path}: {assignment}: {error}");
            }
        }
    }
    assert!(count > 30, "the search for values is broken: {count}");
}
