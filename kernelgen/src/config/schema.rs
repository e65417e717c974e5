//! The TOML file as typed values, each with its place in the text. Nothing is checked here beyond types and
//! keys.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use toml::Spanned;

use super::shapes::Role;

/// The one key that is read before all others, so that a file of another version is not called misspelt.
#[derive(Deserialize)]
pub(super) struct VersionOnly {
    pub schema: Spanned<Integer>,
}

/// A model config.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    #[serde(rename = "schema")]
    _schema: IgnoredAny,
    pub name: Spanned<String>,
    pub title: Option<Spanned<String>>,
    pub source: Spanned<String>,
    pub activation: Spanned<String>,
    pub sub_norms: bool,
    pub tied: Spanned<bool>,
    pub dims: Table<Dims>,
    pub matrices: Table<Matrices>,
}

/// `[dims]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dims {
    pub layers: Spanned<Integer>,
    pub hidden: Spanned<Integer>,
    pub ffn: Spanned<Integer>,
    pub heads: Spanned<Integer>,
    pub kv_heads: Spanned<Integer>,
    pub head_dim: Spanned<Integer>,
    pub vocab: Spanned<Integer>,
    pub context: Option<Spanned<Integer>>,
}

/// `[matrices]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrices {
    q_proj: Spanned<Table<Shape>>,
    k_proj: Spanned<Table<Shape>>,
    v_proj: Spanned<Table<Shape>>,
    o_proj: Spanned<Table<Shape>>,
    gate_proj: Spanned<Table<Shape>>,
    up_proj: Spanned<Table<Shape>>,
    down_proj: Spanned<Table<Shape>>,
    embedding: Spanned<Table<Shape>>,
    lm_head: Option<Spanned<Table<Shape>>>,
}

impl Matrices {
    /// The shape given for a role; `None` only if there is no `lm_head`.
    pub fn get(&self, role: Role) -> Option<&Spanned<Table<Shape>>> {
        match role {
            Role::QProj => Some(&self.q_proj),
            Role::KProj => Some(&self.k_proj),
            Role::VProj => Some(&self.v_proj),
            Role::OProj => Some(&self.o_proj),
            Role::GateProj => Some(&self.gate_proj),
            Role::UpProj => Some(&self.up_proj),
            Role::DownProj => Some(&self.down_proj),
            Role::Embedding => Some(&self.embedding),
            Role::LmHead => self.lm_head.as_ref(),
        }
    }
}

/// `{ rows = M, cols = K }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub rows: Spanned<Integer>,
    pub cols: Spanned<Integer>,
}

/// A table and nothing else. By itself serde also fills a struct from an array of its values in order.
pub(super) struct Table<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }

        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

/// Any integer that the TOML reader can deliver, so that one out of range is reported in our words, beside
/// the other faults of the file.
#[derive(Clone, Copy)]
pub(super) struct Integer(pub i128);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value.into()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(value.into()))
            }

            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Integer, E> {
                Ok(Integer(value))
            }
        }

        deserializer.deserialize_i64(IntegerVisitor)
    }
}
