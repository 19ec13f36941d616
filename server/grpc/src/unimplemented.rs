//! Tells callers where to find a service that this listener does not serve: the text of
//! UNIMPLEMENTED (12), which tonic leaves empty, and the list for reflection.

use std::collections::BTreeSet;

/// Each service of gimlet, with the role that has it and its listener.
const SERVICES: &[(&str, &str, &str)] = &[
    ("pb.LogicExt", "logic", CLIENTS_LISTENER),
    ("pb.BusinessExt", "business", CLIENTS_LISTENER),
    ("pb.UserExt", "business", CLIENTS_LISTENER),
    ("pb.LogicInt", "logic", INTERNAL_LISTENER),
    ("pb.ConnectInt", "connect", INTERNAL_LISTENER),
    ("pb.BusinessInt", "business", INTERNAL_LISTENER),
    ("pb.UserInt", "business", INTERNAL_LISTENER),
    ("gimlet.node.v1.LogicNode", "logic", INTERNAL_LISTENER),
    ("gimlet.node.v1.ConnectNode", "connect", INTERNAL_LISTENER),
    ("gimlet.node.v1.ApiNode", "logic", INTERNAL_LISTENER),
];
const CLIENTS_LISTENER: &str = "`listen.grpc`";
const INTERNAL_LISTENER: &str = "`listen.internal`";

/// The services of one listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServedServices(BTreeSet<&'static str>);

impl ServedServices {
    pub(super) fn add(&mut self, service: &'static str) {
        self.0.insert(service);
    }

    /// The services, for reflection to list.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// Explains why this listener does not serve the path.
    pub(super) fn explain(&self, path: &str) -> String {
        let name = path.trim_start_matches('/');
        let (service, method) = name.split_once('/').unwrap_or((name, ""));
        if self.0.contains(service) {
            return format!("`{service}` has no method `{method}`");
        }
        let known = SERVICES.iter().find(|(name, ..)| *name == service);
        if let Some((_, role, listener)) = known {
            return format!(
                "`{service}` is not served on this listener; call {listener} of a process with the \
                 role `{role}`"
            );
        }
        let here: Vec<_> = self.names().collect();
        let here = here.join(", ");
        format!("there is no service `{service}`; this listener serves {here}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unimplemented_call_says_where_the_service_is() {
        let mut served = ServedServices::default();
        served.add("pb.LogicExt");
        let explanation = |path| served.explain(path);
        assert_eq!(
            explanation("/pb.LogicInt/PushAll"),
            "`pb.LogicInt` is not served on this listener; call `listen.internal` of a process with \
             the role `logic`"
        );
        assert!(explanation("/pb.BusinessExt/SignIn").contains("`listen.grpc`"));
        assert_eq!(
            explanation("/pb.LogicExt/Send"),
            "`pb.LogicExt` has no method `Send`"
        );
        assert_eq!(
            explanation("/im.Chat/Send"),
            "there is no service `im.Chat`; this listener serves pb.LogicExt"
        );
        assert!(explanation("").starts_with("there is no service ``"));
    }

    /// A service that is added to the descriptions must be found in this table.
    #[test]
    fn every_described_service_has_a_place() {
        use prost::Message as _;
        let set = prost_types::FileDescriptorSet::decode(gimlet_proto::DESCRIPTOR_SET).unwrap();
        let described = set.file.iter().flat_map(|file| {
            let package = file.package();
            let services = file.service.iter();
            services.map(move |service| format!("{package}.{}", service.name()))
        });
        let described: BTreeSet<String> = described.collect();
        let placed = SERVICES.iter().map(|(name, ..)| (*name).to_owned());
        assert_eq!(described, placed.collect());
    }
}
