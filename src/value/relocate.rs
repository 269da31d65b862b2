//! Defragmentation of values: which steps each encoding takes.

use crate::sys::data_alloc::{Cursor, Mover, Relocate};
use crate::value::{HashValue, ListValue, SetValue, StreamValue, StringValue, Value, ZsetValue};

/// A value in one block: one step.
fn single(value: &mut impl Relocate, mover: &mut Mover) -> Option<Cursor> {
    value.relocate(mover);
    None
}

/// A boxed structure: the box moves with the first step.
fn boxed<'a, B: Relocate + std::ops::DerefMut>(
    value: &'a mut B,
    cursor: Cursor,
    mover: &mut Mover,
) -> &'a mut B::Target {
    if cursor == Cursor::default() {
        value.relocate(mover);
    }
    value
}

impl Value {
    /// One step: moves what lies in slabs that are to be emptied. Returns where to go on, `None`
    /// when all of the value was seen. Start with the default cursor.
    pub fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        match self {
            Value::String(StringValue::Int(_)) => None,
            Value::String(StringValue::Bytes(bytes)) => single(bytes, mover),
            Value::List(ListValue::Packed(listpack))
            | Value::Set(SetValue::Packed(listpack))
            | Value::Zset(ZsetValue::Packed(listpack))
            | Value::Hash(HashValue::Packed(listpack) | HashValue::PackedExpiry(listpack)) => {
                single(listpack, mover)
            }
            Value::Set(SetValue::Integers(intset)) => single(intset, mover),
            Value::List(ListValue::Linked(list)) => boxed(list, cursor, mover).relocate(cursor, mover),
            Value::Set(SetValue::Big(table)) => boxed(table, cursor, mover).relocate(cursor, mover),
            Value::Zset(ZsetValue::Big(set)) => boxed(set, cursor, mover).relocate(cursor, mover),
            Value::Stream(StreamValue::Log(stream)) => boxed(stream, cursor, mover).relocate(cursor, mover),
            Value::Hash(HashValue::Big(table)) => {
                let next = boxed(table, cursor, mover).relocate(cursor.position, mover);
                (next != 0).then(|| cursor.after(next))
            }
        }
    }
}
