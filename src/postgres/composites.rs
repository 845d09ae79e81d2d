//! Composite types of a schema. Each database gives them its own numbers, so a statement that carries types has to read
//! these first.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio_postgres::types::{Field, Kind, Oid, Type};

use super::Database;
use super::connection::Connection;
use super::fault::DatabaseFault;
use super::params::Param;

/// Composite types by name.
#[derive(Debug, Default)]
pub struct Composites {
    one: HashMap<String, Type>,
    many: HashMap<String, Type>,
}

const FIELDS: &str =
    "SELECT t.typname::text, t.oid, t.typarray, array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(a.atttypid ORDER BY a.attnum)
     FROM unnest($1) WITH ORDINALITY n(name, place)
     JOIN pg_type t ON t.oid = to_regtype(n.name)
     JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
     GROUP BY n.place, t.typname, t.oid, t.typarray ORDER BY n.place";

impl Composites {
    async fn read(connection: &mut Connection, names: &[&str]) -> Result<Self, DatabaseFault> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let rows = connection.rows(FIELDS, &[names.sent()]).await?;
        let mut found = Self::default();
        let mut by_number: HashMap<Oid, Type> = HashMap::new();
        for row in &rows {
            let (name, number, array): (String, Oid, Oid) = (row.get(0), row.get(1), row.get(2));
            let fields: Vec<(String, Oid)> = row
                .get::<_, Vec<String>>(3)
                .into_iter()
                .zip(row.get::<_, Vec<Oid>>(4))
                .collect();
            let field = |(field, number): (String, Oid)| {
                let of = Type::from_oid(number).or_else(|| by_number.get(&number).cloned());
                let of = of.ok_or_else(|| DatabaseFault::unknown_type(&format!("{name}.{field}")))?;
                Ok(Field::new(field, of))
            };
            let fields = fields
                .into_iter()
                .map(field)
                .collect::<Result<_, DatabaseFault>>()?;
            let one = Type::new(name.clone(), number, Kind::Composite(fields), String::new());
            let many = Type::new(format!("_{name}"), array, Kind::Array(one.clone()), String::new());
            by_number.insert(number, one.clone());
            by_number.insert(array, many.clone());
            found.one.insert(name.clone(), one);
            found.many.insert(name, many);
        }
        Ok(found)
    }

    /// Returns the type of this name.
    pub fn one(&self, name: &str) -> Result<Type, DatabaseFault> {
        self.one
            .get(name)
            .cloned()
            .ok_or_else(|| DatabaseFault::unknown_type(name))
    }

    /// Returns the array type of this name.
    pub fn many(&self, name: &str) -> Result<Type, DatabaseFault> {
        self.many
            .get(name)
            .cloned()
            .ok_or_else(|| DatabaseFault::unknown_type(name))
    }
}

impl Database {
    /// Returns the types of these names; a type stands behind the types of its fields. They are read from the database
    /// once.
    pub async fn composites(
        &self,
        connection: &mut Connection,
        names: &[&str],
    ) -> Result<Arc<Composites>, DatabaseFault> {
        let known = self
            .composites
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let read = Arc::new(Composites::read(connection, names).await?);
        *self.composites.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Drops the known types, so that the next use reads them again. Another database, with other numbers, has replaced
    /// the old one.
    pub fn forget_composites(&self) {
        *self.composites.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
