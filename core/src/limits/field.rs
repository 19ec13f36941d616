//! Declares structs of limits. The doc, default and bound of each limit are written once, at its
//! field.
//!
//! The server reads them to check its configuration and to generate its documentation. A limit that
//! cannot be configured is declared in the same way: only the server knows which limits have a
//! setting.

/// Values that a limit may have, in its own unit: a count, bytes, or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitBound {
    /// The smallest value.
    pub min: u64,
    /// The largest value; `u64::MAX` means that there is none.
    pub max: u64,
    /// Text that follows a refused value, instead of the range.
    pub advice: Option<&'static str>,
}

impl LimitBound {
    /// Bounds the values on both sides.
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Self {
        Self {
            min,
            max,
            advice: None,
        }
    }

    /// Bounds the values below only; `advice` follows a smaller value.
    #[must_use]
    pub const fn at_least(min: u64, advice: &'static str) -> Self {
        Self {
            min,
            max: u64::MAX,
            advice: Some(advice),
        }
    }

    /// Allows every duration except zero.
    #[must_use]
    pub const fn not_zero() -> Self {
        Self::range(1, u64::MAX)
    }

    /// Returns whether a value is within the bounds.
    #[must_use]
    pub const fn allows(&self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }
}

/// Description of a limit, taken from its field.
#[derive(Clone, Copy, Debug)]
pub struct LimitField {
    /// Doc comment of the field, with its line breaks.
    pub doc: &'static str,
    /// The values that it may have.
    pub bound: Option<LimitBound>,
}

/// Declares a struct of limits, its defaults, and a [`LimitField`] for each field under the field's
/// name: `/// Doc.` `name: Type = default, bound;`, the bound being optional.
macro_rules! declare_limits {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(, $bound:expr)?; )+
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        #[expect(non_upper_case_globals, reason = "each description has the name of its field")]
        impl $name {
            $(
                #[doc = concat!("Description of `", stringify!($field), "`.")]
                pub const $field: $crate::limits::LimitField = $crate::limits::LimitField {
                    doc: concat!($($doc, "\n"),+),
                    bound: $crate::limits::field::declare_limits!(@bound $($bound)?),
                };
            )+
        }
    };
    (@bound) => { None };
    (@bound $bound:expr) => { Some($bound) };
}

pub(crate) use declare_limits;
