//! Repeated sections of the configuration, for example `[[webhooks]]`: the settings of one item are
//! declared as those of a section are, and each item of the file has its own values.
//!
//! In a key an item is named by its number, from 0: `webhooks.0.url`, and `GIMLET_WEBHOOKS__0__URL` in
//! the environment.

use super::setting::SettingGroup;

/// Maximum number of items of a repeated section: a number in the environment makes all items before
/// it.
pub(super) const MAX_REPEATED_ITEMS: usize = 64;

/// A repeated section whose items are of type `T`.
pub(super) struct RepeatedSection<C: 'static, T: 'static> {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// The settings of one item; their keys have no section.
    pub(super) group: SettingGroup<T>,
    /// Returns its items.
    pub(super) items: fn(&C) -> &Vec<T>,
    /// Returns its items, for a change.
    pub(super) items_mut: fn(&mut C) -> &mut Vec<T>,
}

/// A setting of an item, as the documents describe it.
pub(super) struct ItemSetting {
    /// Its name in the section.
    pub(super) name: &'static str,
    /// Its meaning in one line.
    pub(super) meaning: String,
    /// Its default, as text.
    pub(super) default: String,
    /// `true` if a file writes its value without quotes.
    pub(super) is_bare: bool,
}

/// A repeated section, independent of the type of its items.
pub(super) trait ItemList<C>: Sync {
    /// Returns its name in the file.
    fn name(&self) -> &'static str;

    /// Returns its doc comment.
    fn doc(&self) -> &'static str;

    /// Returns the settings of an item, in the order of the file.
    fn settings(&self) -> Vec<ItemSetting>;

    /// Returns `true` if an item has this setting.
    fn has(&self, field: &str) -> bool;

    /// Returns `true` if the values of this setting must never be shown.
    fn is_secret(&self, field: &str) -> bool;

    /// Creates the items up to this number, with their defaults.
    fn reach(&self, config: &mut C, at: usize) -> Result<(), String>;

    /// Sets a value of an item, which is created if it is missing.
    fn set(&self, config: &mut C, at: usize, field: &str, text: &str) -> Result<(), String>;

    /// Returns the effective values, secrets masked: for each item the names and values.
    fn values(&self, config: &C) -> Vec<Vec<(&'static str, String)>>;

    /// Returns `true` if both configurations have the same items.
    fn same(&self, one: &C, other: &C) -> bool;

    /// Returns the refusals of values that are out of their bounds.
    fn refusals(&self, config: &C) -> Vec<String>;
}

impl<C, T: Default + PartialEq> ItemList<C> for RepeatedSection<C, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.group.doc
    }

    fn settings(&self) -> Vec<ItemSetting> {
        let defaults = T::default();
        let settings = self.group.settings.iter();
        settings
            .map(|setting| ItemSetting {
                name: setting.key,
                meaning: setting.meaning(),
                default: (setting.get)(&defaults),
                is_bare: setting.is_bare(),
            })
            .collect()
    }

    fn has(&self, field: &str) -> bool {
        self.group.settings.iter().any(|it| it.key == field)
    }

    fn is_secret(&self, field: &str) -> bool {
        let mut settings = self.group.settings.iter();
        settings.any(|it| it.key == field && it.is_secret())
    }

    fn reach(&self, config: &mut C, at: usize) -> Result<(), String> {
        if at >= MAX_REPEATED_ITEMS {
            return Err(format!(
                "[[{}]] may occur {MAX_REPEATED_ITEMS} times; number the items from 0",
                self.name
            ));
        }
        let items = (self.items_mut)(config);
        if items.len() <= at {
            items.resize_with(at + 1, T::default);
        }
        Ok(())
    }

    fn set(&self, config: &mut C, at: usize, field: &str, text: &str) -> Result<(), String> {
        self.reach(config, at)?;
        let setting = self.group.settings.iter().find(|it| it.key == field);
        let item = (self.items_mut)(config).get_mut(at);
        match (setting, item) {
            (Some(setting), Some(item)) => (setting.set)(item, text),
            _ => Err(format!("[[{}]] has no {field}", self.name)),
        }
    }

    fn values(&self, config: &C) -> Vec<Vec<(&'static str, String)>> {
        let of = |item: &T| {
            let settings = self.group.settings.iter();
            settings.map(|it| (it.key, (it.get)(item))).collect()
        };
        (self.items)(config).iter().map(of).collect()
    }

    fn same(&self, one: &C, other: &C) -> bool {
        (self.items)(one) == (self.items)(other)
    }

    fn refusals(&self, config: &C) -> Vec<String> {
        let mut refusals = Vec::new();
        for (at, item) in (self.items)(config).iter().enumerate() {
            let found = self.group.settings.iter().filter_map(|it| it.refusal(item));
            refusals.extend(found.map(|text| format!("{}.{at}.{text}", self.name)));
        }
        refusals
    }
}

/// Declares the settings of one item: `pub struct Item { … }`, with its settings as `settings!` has
/// them. The list of items is a field of `Config`, and a [`RepeatedSection`] names it.
macro_rules! repeated_settings {
    (
        $(#[doc = $group:literal])+
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+
            $field:ident: $type:ty as $codec:ident = $default:expr $(, $bound:expr)?; )+
        }
    ) => {
        $(#[doc = $group])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $name {
            pub(super) const GROUP: SettingGroup<Self> = SettingGroup {
                doc: concat!($($group, "\n"),+),
                settings: &[ $( ConfigKey {
                    key: stringify!($field),
                    doc: concat!($($doc, "\n"),+),
                    bound: settings!(@bound $($bound)?),
                    ..settings!(@access [] $field $codec)
                } ),+ ],
            };
        }
    };
}

pub(super) use repeated_settings;
