//! The numerics profiles: how exactly a model computes where that costs time. Each gives the same bits on every instruction
//! set, with any number of threads and tokens at once.

use std::fmt;
use std::str::FromStr;

use crate::format::{StorageType, VocabMatrix};
use crate::head::HeadType;
use crate::numerics::kv_block::KvType;

/// A numerics profile. The ternary products are exact integers in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The output head's weights as they are stored, in f32 arithmetic, and keys and values in f32. What references are
    /// compared with.
    #[default]
    Exact,
    /// The output head in integers: blocks as they are stored, floats as 8-bit integers with a scale a row. Keys and values
    /// in f16.
    Fast,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 2] = [Profile::Exact, Profile::Fast];

    /// Its name, as options take it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Exact => "exact",
            Profile::Fast => "fast",
        }
    }

    /// How sessions keep keys and values.
    pub fn kv_type(self) -> KvType {
        match self {
            Profile::Exact => KvType::F32,
            Profile::Fast => KvType::F16,
        }
    }

    /// What it makes of an output head that is stored like this.
    pub fn head(self, stored: &VocabMatrix) -> HeadType {
        match (self, stored.storage()) {
            (Profile::Exact, _) => HeadType::Exact,
            (Profile::Fast, StorageType::Blocks(_)) => HeadType::Stored,
            (Profile::Fast, StorageType::Float(_)) => HeadType::Int8,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| UnknownProfile { found: name.chars().take(64).collect() })
    }
}

/// A profile, and what is wanted otherwise than it has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileOptions {
    /// The profile.
    pub profile: Profile,
    /// Another type of output head; only for [`Profile::Fast`].
    pub head: Option<HeadType>,
    /// Another type for keys and values; only for [`Profile::Fast`].
    pub kv_type: Option<KvType>,
}

/// A name that is no profile's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("numerics profile \"{found}\" is unknown; there are exact and fast")]
pub struct UnknownProfile {
    /// The name that was given, cut to 64 characters.
    pub found: String,
}
