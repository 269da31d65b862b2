//! Floor 2: data structures. They know bytes and handles, never keys, types or the server.

pub mod bytes;
pub mod corrupt;
pub mod deque;
pub mod element;
pub mod field_table;
pub mod intset;
pub mod listpack;
pub mod member_table;
pub mod ordered_map;
pub mod quicklist;
pub mod sorted_set;
pub mod table;
pub mod word;
pub mod ziplist;
pub mod zipmap;
