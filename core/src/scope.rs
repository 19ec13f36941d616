//! Scopes: the rights that an API key of a backend can have.
//!
//! The one list of them is in this file. An entry point names the scope that each of its operations needs;
//! storages keep the names, so that a release can read the keys of another one.

use std::fmt;

/// Declares the scopes: an enum, their names and their descriptions.
macro_rules! scopes {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal,)+) => {
        /// A right of an API key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiScope {
            $($(#[doc = $about])+ $variant,)+
        }

        impl ApiScope {
            /// All scopes, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name, as keys and requests spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Returns the description: the operations that the scope allows.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+).trim(),)+ }
            }
        }
    };
}

scopes! {
    /// Everything, and the management of keys.
    Admin = "admin",
    /// Read the inboxes of users.
    MessagesRead = "messages:read",
    /// Send messages as a user, the backend or the system.
    MessagesSend = "messages:send",
    /// Send a message to every connection.
    BroadcastsSend = "broadcasts:send",
    /// Read the profiles of users.
    UsersRead = "users:read",
    /// Create, change and ban users.
    UsersWrite = "users:write",
    /// Issue and revoke the tokens of users; a program with it can act as any user.
    TokensWrite = "tokens:write",
    /// Look up devices and their connections.
    DevicesRead = "devices:read",
    /// Register devices and close their connections.
    DevicesWrite = "devices:write",
    /// Read the friends of users.
    FriendsRead = "friends:read",
    /// Request, accept and change friendships of users.
    FriendsWrite = "friends:write",
    /// Read groups and their members.
    GroupsRead = "groups:read",
    /// Create and change groups and their members.
    GroupsWrite = "groups:write",
    /// Read the messages of rooms.
    RoomsRead = "rooms:read",
    /// Send messages to rooms.
    RoomsWrite = "rooms:write",
    /// Read uploaded files and their data.
    FilesRead = "files:read",
    /// Upload and remove files.
    FilesWrite = "files:write",
    /// Read the state of webhooks and their undelivered events.
    WebhooksRead = "webhooks:read",
    /// Test webhooks and replay their events.
    WebhooksWrite = "webhooks:write",
    /// Read statistics.
    StatsRead = "stats:read",
}

/// Ending of the scopes that read, and of those that include them.
const READ_AND_WRITE: (&str, &str) = (":read", ":write");

impl ApiScope {
    /// Returns the scope of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }

    /// Returns the names of all scopes, for errors and documentation.
    #[must_use]
    pub fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|it| it.name()).collect();
        names.join(", ")
    }

    /// Returns the scope that includes this one: `users:write` for `users:read`.
    fn wider(self) -> Option<Self> {
        let (read, write) = READ_AND_WRITE;
        let area = self.name().strip_suffix(read)?;
        Self::named(&format!("{area}{write}"))
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ApiScopes(u32);

impl ApiScopes {
    /// The set of a key that may do everything.
    pub const ADMIN: Self = Self(ApiScope::Admin.bit());

    /// Returns whether a key with these scopes may do what needs `scope`. `admin` includes every
    /// scope, and a scope that writes includes the one that reads.
    #[must_use]
    pub fn allow(self, scope: ApiScope) -> bool {
        self.has(ApiScope::Admin)
            || self.has(scope)
            || scope.wider().is_some_and(|wider| self.has(wider))
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the scopes in the order of the list.
    pub fn iter(self) -> impl Iterator<Item = ApiScope> {
        let all = ApiScope::ALL.iter().copied();
        all.filter(move |scope| self.has(*scope))
    }

    /// Returns the names, separated by spaces: the stored form.
    #[must_use]
    pub fn text(self) -> String {
        let names: Vec<_> = self.iter().map(ApiScope::name).collect();
        names.join(" ")
    }

    /// Returns the names, separated by commas, for errors and the log.
    #[must_use]
    pub fn list(self) -> String {
        let names: Vec<_> = self.iter().map(ApiScope::name).collect();
        names.join(", ")
    }

    /// Reads the stored form. A name that this release does not know allows nothing.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        text.split(' ').filter_map(ApiScope::named).collect()
    }

    const fn has(self, scope: ApiScope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<ApiScope> for ApiScopes {
    fn from_iter<I: IntoIterator<Item = ApiScope>>(scopes: I) -> Self {
        let bits = scopes.into_iter().map(ApiScope::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

impl fmt::Debug for ApiScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiScopes({})", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> ApiScopes {
        ApiScopes::of_text(names)
    }

    #[test]
    fn a_scope_allows_itself_and_what_it_includes() {
        let users = set("users:write");
        assert!(users.allow(ApiScope::UsersWrite) && users.allow(ApiScope::UsersRead));
        assert!(!users.allow(ApiScope::GroupsRead) && !users.allow(ApiScope::Admin));
        assert!(!set("users:read").allow(ApiScope::UsersWrite));
        assert!(!set("messages:send").allow(ApiScope::MessagesRead));
        for scope in ApiScope::ALL {
            assert!(ApiScopes::ADMIN.allow(*scope), "{scope}");
            assert!(!ApiScopes::default().allow(*scope), "{scope}");
        }
    }

    #[test]
    fn the_stored_form_comes_back_and_unknown_names_allow_nothing() {
        let all: ApiScopes = ApiScope::ALL.iter().copied().collect();
        assert_eq!(set(&all.text()), all);
        assert_eq!(all.iter().count(), ApiScope::ALL.len());
        assert_eq!(set("users:read later:scope"), set("users:read"));
        assert!(set("").is_empty() && set("USERS:READ").is_empty());
        assert!(ApiScope::names().starts_with("admin, messages:read, "));
    }

    #[test]
    fn every_scope_has_a_name_of_its_own_and_a_description() {
        for (at, scope) in ApiScope::ALL.iter().enumerate() {
            assert_eq!(ApiScope::named(scope.name()), Some(*scope));
            assert_eq!(scope.bit(), 1 << at);
            assert!(scope.about().ends_with('.'), "{scope}");
        }
    }
}
