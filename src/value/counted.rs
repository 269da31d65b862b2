//! What each collection says about its size in the same words, written once.

/// `len`, `is_empty` and `default` of an owned collection by what its view and `new` say, and
/// `is_empty` of the view.
macro_rules! counted {
    ($owned:ident, $seen:ident) => {
        impl $owned {
            /// Elements, members or pairs.
            #[inline]
            pub fn len(&self) -> usize {
                self.as_ref().len()
            }

            #[inline]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl Default for $owned {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $seen<'_> {
            #[inline]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

pub(super) use counted;
