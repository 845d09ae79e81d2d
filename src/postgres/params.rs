//! Parameters of unnamed statements, which carry their types with them.

use std::fmt;

use tokio_postgres::types::{ToSql, Type};

/// A value and its type, as sent to the server.
pub type SentParam<'a> = (&'a (dyn ToSql + Sync), Type);

/// A value that knows its type at the server.
pub trait Param: ToSql + Sync {
    /// The type.
    const TYPE: Type;

    /// The value with its type.
    fn sent(&self) -> SentParam<'_>
    where
        Self: Sized,
    {
        (self, Self::TYPE)
    }
}

macro_rules! types {
    ($($rust:ty => $one:ident, $many:ident;)*) => {$(
        impl Param for $rust { const TYPE: Type = Type::$one; }
        impl Param for Option<$rust> { const TYPE: Type = Type::$one; }
        impl Param for Vec<$rust> { const TYPE: Type = Type::$many; }
        impl Param for Vec<Option<$rust>> { const TYPE: Type = Type::$many; }
    )*};
}

impl Param for &[i64] {
    const TYPE: Type = Type::INT8_ARRAY;
}

types! {
    bool => BOOL, BOOL_ARRAY;
    i32 => INT4, INT4_ARRAY;
    i64 => INT8, INT8_ARRAY;
    String => TEXT, TEXT_ARRAY;
    &str => TEXT, TEXT_ARRAY;
    Vec<u8> => BYTEA, BYTEA_ARRAY;
    &[u8] => BYTEA, BYTEA_ARRAY;
}

/// Text from outside in a form that a column can hold, and back: PostgreSQL cannot store a NUL. The last code point,
/// which Unicode reserves for such internal uses, with the digit 0 stands for a NUL, and with the digit 1 for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgText(pub String);

const MARK: char = '\u{10FFFF}';

/// Returns the text in the form of a column.
pub fn text(text: &str) -> String {
    if !text.contains(['\0', MARK]) {
        return text.to_owned();
    }
    text.replace(MARK, "\u{10FFFF}1").replace('\0', "\u{10FFFF}0")
}

impl From<String> for PgText {
    fn from(stored: String) -> Self {
        if !stored.contains(MARK) {
            return Self(stored);
        }
        let zeros = stored.replace("\u{10FFFF}0", "\0");
        Self(zeros.replace("\u{10FFFF}1", "\u{10FFFF}"))
    }
}

impl<'a> tokio_postgres::types::FromSql<'a> for PgText {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        String::from_sql(ty, raw).map(Self::from)
    }

    fn accepts(ty: &Type) -> bool {
        <String as tokio_postgres::types::FromSql>::accepts(ty)
    }
}

impl fmt::Display for PgText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
