//! Declares the settings. The name, doc, codec, default and bound of each are written once, at its
//! field.
//!
//! Everything else follows from the declaration: reading the file and the environment, the checks
//! of bounds, `gimlet config default`, `gimlet check-config`, and docs/configuration.md.

use std::fmt::Write as _;
use std::time::Duration;

use gimlet_core::limits::LimitBound;

use super::codec;

/// One setting.
pub(super) struct ConfigKey<C> {
    /// Its name in the file, with its section: `listen.tcp`.
    pub(super) key: &'static str,
    /// Doc comment of its field.
    pub(super) doc: &'static str,
    /// Name of its codec.
    pub(super) codec: &'static str,
    /// Reads it from text.
    pub(super) set: fn(&mut C, &str) -> Result<(), String>,
    /// Shows it, secrets masked.
    pub(super) get: fn(&C) -> String,
    /// Returns whether it has the same value in both.
    pub(super) same: fn(&C, &C) -> bool,
    /// The values that it may have.
    pub(super) bound: Option<LimitBound>,
}

/// Settings that are declared together, with the text that introduces them.
pub(super) struct SettingGroup<C: 'static> {
    /// Doc comment of their struct.
    pub(super) doc: &'static str,
    /// The settings.
    pub(super) settings: &'static [ConfigKey<C>],
}

impl<C> ConfigKey<C> {
    /// Splits the key into its section, which may be empty, and its name.
    pub(super) fn split(&self) -> (&'static str, &'static str) {
        self.key.rsplit_once('.').unwrap_or(("", self.key))
    }

    /// Returns whether its values must never be shown, not even a wrong one.
    pub(super) fn is_secret(&self) -> bool {
        matches!(
            self.codec,
            "secret" | "secrets" | "secret_url" | "verifier" | "api_keys"
        )
    }

    /// Returns whether a file writes its value without quotes.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.codec, "number" | "switch")
    }

    /// Returns the meaning of the setting as one line: its doc comment and the range of its values.
    pub(super) fn meaning(&self) -> String {
        let mut text = joined(self.doc);
        let Some(bound) = self.bound else {
            return text;
        };
        if bound.max < u64::MAX {
            let _ = write!(
                text,
                " From {} to {}.",
                self.show(bound.min),
                self.show(bound.max)
            );
        } else if self.codec == "duration" {
            text.push_str(" Not zero.");
        } else {
            let _ = write!(text, " At least {}.", self.show(bound.min));
        }
        text
    }

    /// Returns the refusal of its value, if that is out of bounds.
    pub(super) fn refusal(&self, config: &C) -> Option<String> {
        let bound = self.bound?;
        let value = self.measure(config)?;
        if bound.allows(value) {
            return None;
        }
        let LimitBound { min, max, advice } = bound;
        let key = self.key;
        Some(match advice {
            Some(advice) => format!("{key} = {value}{advice}"),
            None if self.codec != "duration" => {
                format!("{key} = {value} is out of range; write {min} … {max}")
            }
            None if bound == LimitBound::not_zero() => {
                format!("{key} may not be zero; leave it out for the default")
            }
            None => format!(
                "{key} is out of range; write {} … {}",
                self.show(min),
                self.show(max)
            ),
        })
    }

    /// Returns its value as a count, bytes or milliseconds, if it is one of these.
    pub(super) fn measure(&self, config: &C) -> Option<u64> {
        let text = (self.get)(config);
        match self.codec {
            "number" => text.parse().ok(),
            "bytes" => codec::bytes::parse(&text).ok(),
            "duration" => {
                let span = codec::duration::parse(&text).ok()?;
                u64::try_from(span.as_millis()).ok()
            }
            _ => None,
        }
    }

    /// Shows a count, bytes or milliseconds in the notation of its codec.
    pub(super) fn show(&self, number: u64) -> String {
        match self.codec {
            "bytes" => codec::bytes::show(&number),
            "duration" => codec::duration::show(&Duration::from_millis(number)),
            _ => number.to_string(),
        }
    }
}

/// Joins the lines of a doc comment.
pub(super) fn joined(doc: &str) -> String {
    let words: Vec<_> = doc.split_whitespace().collect();
    words.join(" ")
}

/// Declares a struct of settings: `pub struct Name [path.in.config] "section."`, then for each
/// setting `/// Doc.` `name: Type as codec = default, bound;`, the bound being optional. Fields of
/// a block `with` belong to the struct and are not settings.
macro_rules! settings {
    (
        $(#[doc = $group:literal])+
        pub struct $name:ident $path:tt $section:literal {
            $( $(#[doc = $doc:literal])+
            $field:ident: $type:ty as $codec:ident = $default:expr $(, $bound:expr)?; )+
            $( with { $( $(#[$meta:meta])+ $other:ident: $other_type:ty = $other_default:expr; )+ } )?
        }
    ) => {
        $(#[doc = $group])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            $( $( $(#[$meta])+ pub $other: $other_type, )+ )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: $default, )+
                    $( $( $other: $other_default, )+ )?
                }
            }
        }

        impl $name {
            const GROUP: SettingGroup<Config> = SettingGroup {
                doc: concat!($($group, "\n"),+),
                settings: &[ $( ConfigKey {
                    key: concat!($section, stringify!($field)),
                    doc: concat!($($doc, "\n"),+),
                    bound: settings!(@bound $($bound)?),
                    ..settings!(@access $path $field $codec)
                } ),+ ],
            };
        }
    };
    (@bound) => { None };
    (@bound $bound:expr) => { Some($bound) };
    (@access [$($path:ident).*] $field:ident $codec:ident) => {
        ConfigKey {
            key: "",
            doc: "",
            codec: stringify!($codec),
            set: |config, text| {
                config.$($path.)*$field = codec::$codec::parse(text)?;
                Ok(())
            },
            get: |config| codec::$codec::show(&config.$($path.)*$field),
            same: |one, other| one.$($path.)*$field == other.$($path.)*$field,
            bound: None,
        }
    };
}

/// Declares the limits of a struct of core as settings; core holds their docs, defaults and bounds:
/// `CONST "section." { name: codec; }`. Every limit is a setting or named in `not settings`, or
/// else the declaration does not compile.
macro_rules! settings_of_core {
    (
        $core:ident $path:tt
        $( $(#[doc = $group_doc:literal])+
        $group:ident $section:literal { $( $field:ident: $codec:ident; )+ } )+
        not settings { $( $fixed:ident )* }
    ) => {
        $(
            $(#[doc = $group_doc])+
            const $group: SettingGroup<Config> = SettingGroup {
                doc: concat!($($group_doc, "\n"),+),
                settings: &[ $( ConfigKey {
                    key: concat!($section, stringify!($field)),
                    doc: $core::$field.doc,
                    bound: $core::$field.bound,
                    ..settings!(@access $path $field $codec)
                } ),+ ],
            };
        )+

        const _: () = {
            const _EVERY_LIMIT_OF_CORE_IS_LISTED: fn(&$core) =
                |$core { $($( $field: _, )+)+ $( $fixed: _, )* }| ();
        };
    };
}

pub(super) use {settings, settings_of_core};
