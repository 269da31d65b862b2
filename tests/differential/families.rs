//! The commands, family by family. To add a command, add a row; the words are explained in `template.rs`
//! and, after `$`, in `generator.rs`.

use crate::compare::Check;

/// A template, how its replies are compared, and how often it comes up among those of its family.
pub struct Row {
    pub weight: u32,
    pub check: Check,
    pub text: &'static str,
    /// The first version of the reference that knows it.
    pub since: Version,
}

/// Major and minor version.
pub type Version = (u32, u32);

/// Rows of one type or theme.
pub struct Family {
    pub name: &'static str,
    /// Share of the whole mix.
    pub weight: u32,
    pub rows: &'static [Row],
}

const fn exact(weight: u32, text: &'static str) -> Row {
    Row { weight, check: Check::Exact, text, since: (7, 0) }
}

const fn row(weight: u32, check: Check, text: &'static str) -> Row {
    Row { weight, check, text, since: (7, 0) }
}

const fn newer(weight: u32, check: Check, text: &'static str) -> Row {
    Row { weight, check, text, since: (7, 2) }
}

/// Every family; the first ones are always in the mix.
pub const FAMILIES: &[Family] = &[
    Family { name: "key", weight: 12, rows: KEY },
    Family { name: "string", weight: 10, rows: STRING },
    Family { name: "config", weight: 1, rows: CONFIG },
    Family { name: "bit", weight: 5, rows: BIT },
    Family { name: "list", weight: 16, rows: LIST },
    Family { name: "hash", weight: 16, rows: HASH },
    Family { name: "set", weight: 16, rows: SET },
    Family { name: "zset", weight: 26, rows: ZSET },
    Family { name: "stream", weight: 26, rows: STREAM },
    Family { name: "hll", weight: 4, rows: HLL },
    Family { name: "geo", weight: 7, rows: GEO },
    Family { name: "sort", weight: 4, rows: SORT },
];

const PAIRS: Check = Check::Scan { pairs: true };
const MEMBERS: Check = Check::Scan { pairs: false };

const KEY: &[Row] = &[
    exact(8, "(DEL|UNLINK|TOUCH) $any+"),
    exact(4, "EXISTS $any+"),
    exact(6, "TYPE $any"),
    row(10, Check::Encoding, "OBJECT ENCODING $any"),
    exact(1, "OBJECT (FREQ|HELP2) $any"),
    exact(5, "(RENAME|RENAMENX) $any $any"),
    exact(8, "COPY $any $any [DB $db] [REPLACE]"),
    exact(2, "MOVE $any $db"),
    exact(2, "SELECT $db"),
    exact(1, "SWAPDB $db $db"),
    exact(4, "EXPIRE $any $ttl [(NX|XX|GT|LT|NX XX|GT LT)]"),
    exact(3, "PEXPIRE $any $ttlms [(NX|XX|GT|LT)]"),
    exact(3, "(EXPIREAT $any $at|PEXPIREAT $any $atms) [(NX|XX|GT|LT|ZZ)]"),
    exact(1, "(EXPIRE|PEXPIRE|EXPIREAT) $any $badttl"),
    // Not the greatest integer: EXPIRETIME overflows in Redis.
    exact(1, "PEXPIREAT $any (0|-1|abc|1.5|-9223372036854775808)"),
    exact(4, "PERSIST $any"),
    row(3, Check::Close(2), "(TTL|EXPIRETIME) $any"),
    row(3, Check::Close(3000), "(PTTL|PEXPIRETIME) $any"),
    row(2, Check::Unordered, "KEYS $keypattern"),
    row(
        2,
        MEMBERS,
        "SCAN 0 COUNT 1000000 [MATCH $keypattern] [TYPE (string|list|hash|set|zset|stream|none)]",
    ),
    exact(1, "SCAN (abc|0 COUNT 0|0 COUNT x|0 MATCH|0 TYPE|0 LIMIT 5)"),
    row(1, Check::Pick("KEYS *"), "RANDOMKEY"),
    exact(2, "DBSIZE"),
    exact(1, "RESTORE $any $restorettl $value [REPLACE] [ABSTTL] [IDLETIME $index] [FREQ $index]"),
    exact(1, "DUMP nokey"),
    exact(1, "(WATCH $any|UNWATCH)"),
    exact(1, "(PING|ECHO $value|NOSUCH $value|GET|DBSIZE x)"),
];

const STRING: &[Row] = &[
    exact(10, "SET $string $value [(NX|XX)] [GET] [(KEEPTTL|EX $ttl|PX $ttlms|EXAT $at|PXAT $atms)]"),
    exact(4, "(GET|GETDEL|STRLEN) $string"),
    exact(2, "GETEX $string [(PERSIST|EX $ttl|PX $ttlms|EXAT $at|PXAT $atms)]"),
    exact(2, "(GETSET|SETNX|APPEND) $string $value"),
    exact(2, "(SETEX $string $ttl $value|PSETEX $string $ttlms $value)"),
    exact(
        1,
        "(SETEX $string (0|-1|abc|9223372036854775807) $value|SET $string $value (EX 0|PX -1|EX abc|EXAT 0|EX 1 PX 1))",
    ),
    exact(3, "(INCR|DECR) $string"),
    exact(3, "(INCRBY|DECRBY) $string $index"),
    exact(2, "INCRBYFLOAT $string $delta"),
    exact(2, "(MGET|MGET) $any+"),
    exact(2, "(MSET|MSETNX) ($string $value)+"),
    exact(2, "(GETRANGE|SUBSTR) $string $index $index"),
    exact(2, "SETRANGE $string $offset $value"),
    exact(2, "LCS $string $string [(LEN|IDX|IDX MINMATCHLEN $index)] [WITHMATCHLEN]"),
    row(1, Check::Ignore, "OBJECT REFCOUNT $string"),
];

const BIT: &[Row] = &[
    exact(4, "SETBIT $bits $bit (0|1|0|1|2)"),
    exact(2, "GETBIT $bits $bit"),
    exact(3, "BITCOUNT $bits [$index $index [(BYTE|BIT)]]"),
    exact(3, "BITPOS $bits (0|1|2) [$index [$index [(BYTE|BIT)]]]"),
    exact(3, "BITOP (AND|OR|XOR|NOT|XAND) $bits $bits*"),
    exact(
        4,
        "BITFIELD $bits (GET $field $bitplace|SET $field $bitplace $index|INCRBY $field $bitplace $index|OVERFLOW (WRAP|SAT|FAIL|X))+",
    ),
    exact(1, "BITFIELD_RO $bits (GET $field $bitplace|SET $field $bitplace $index)+"),
];

/// Limits of encodings and of files, so that values are converted on the way.
const CONFIG: &[Row] = &[
    row(
        3,
        Check::Ignore,
        "CONFIG SET (hash-max-listpack-entries|zset-max-listpack-entries|set-max-listpack-entries) (0|1|2|4|8|16|128|512)",
    ),
    row(
        3,
        Check::Ignore,
        "CONFIG SET (hash-max-listpack-value|zset-max-listpack-value|set-max-listpack-value) (0|1|4|8|64|64)",
    ),
    exact(1, "CONFIG SET set-max-intset-entries (0|1|4|16|512)"),
    exact(2, "CONFIG SET list-max-listpack-size (-5|-2|-1|1|2|3|8|128|-2)"),
    exact(1, "CONFIG SET list-compress-depth (0|1|2|3|0)"),
    exact(1, "CONFIG SET stream-node-max-bytes (0|40|100|4096)"),
    exact(1, "CONFIG SET stream-node-max-entries (0|1|2|4|10|100)"),
    exact(1, "CONFIG SET hll-sparse-max-bytes (0|20|100|3000)"),
    exact(1, "CONFIG SET rdbcompression (yes|no)"),
];

const LIST: &[Row] = &[
    exact(10, "(LPUSH|RPUSH) $list $value+"),
    exact(2, "(LPUSH|RPUSH) $list $value^"),
    exact(3, "(LPUSHX|RPUSHX) $list $value+"),
    exact(7, "(LPOP|RPOP) $list [$count]"),
    exact(3, "LLEN $list"),
    exact(5, "LINDEX $list $index"),
    exact(6, "LRANGE $list $index $index"),
    exact(2, "LRANGE $list 0 -1"),
    exact(5, "LSET $list $lindex $value"),
    exact(5, "LINSERT $list (BEFORE|AFTER|BEFORE|AFTER|ELSE) $value $value"),
    exact(5, "LREM $list $index $value"),
    exact(4, "LTRIM $list $index $index"),
    exact(4, "LPOS $list $value [RANK $index] [COUNT $count] [MAXLEN $count]"),
    exact(3, "RPOPLPUSH $list $list"),
    exact(5, "LMOVE $list $list (LEFT|RIGHT|LEFT|RIGHT|UP) (LEFT|RIGHT)"),
    exact(4, "LMPOP #($list+) (LEFT|RIGHT) [COUNT $count]"),
    exact(2, "(BLPOP|BRPOP) $list+ 0.01"),
    exact(1, "BLMOVE $list $list (LEFT|RIGHT) (LEFT|RIGHT) 0.01"),
    exact(1, "BRPOPLPUSH $list $list 0.01"),
    exact(1, "BLMPOP 0.01 #($list+) (LEFT|RIGHT) [COUNT $count]"),
    exact(1, "(BLPOP|BRPOP) $list+ (abc|-1|nan|inf|1e400)"),
    exact(1, "LMPOP $index $list (LEFT|RIGHT) [COUNT $index]"),
];

const HASH: &[Row] = &[
    exact(10, "(HSET|HMSET) $hash ($member $value)+"),
    exact(2, "HSET $hash ($member $value)^"),
    exact(2, "HSETNX $hash $member $value"),
    exact(6, "(HGET|HEXISTS|HSTRLEN) $hash $member"),
    exact(3, "HMGET $hash $member+"),
    exact(5, "HDEL $hash $member+"),
    exact(2, "HLEN $hash"),
    row(4, Check::Pairs, "HGETALL $hash"),
    row(3, Check::Unordered, "(HKEYS|HVALS) $hash"),
    exact(4, "HINCRBY $hash $member $index"),
    exact(4, "HINCRBYFLOAT $hash $member $delta"),
    row(3, Check::Pick("HGETALL"), "HRANDFIELD $hash [$pickcount [(WITHVALUES|WITHX)]]"),
    row(2, PAIRS, "HSCAN $hash 0 COUNT 1000000 [MATCH $pattern]"),
    exact(1, "HSCAN $hash (abc|0 COUNT 0|0 COUNT x|0 MATCH|0 NOVALUES2)"),
    exact(1, "(HSET|HMSET) $hash $member+"),
];

const SET: &[Row] = &[
    exact(7, "SADD $set $member+"),
    exact(5, "SADD $set $intmember+"),
    exact(1, "SADD $set $member^"),
    exact(1, "SADD $set $intmember^"),
    exact(6, "SREM $set ($member|$intmember)+"),
    exact(3, "SCARD $set"),
    exact(3, "SISMEMBER $set $member"),
    exact(3, "SMISMEMBER $set ($member|$intmember)+"),
    exact(4, "SMOVE $set $set ($member|$intmember)"),
    row(3, Check::Unordered, "SMEMBERS $set"),
    row(4, Check::Unordered, "(SINTER|SUNION|SDIFF) $set+"),
    exact(4, "(SINTERSTORE|SUNIONSTORE|SDIFFSTORE) $set $set+"),
    exact(3, "SINTERCARD #($set+) [LIMIT $count]"),
    exact(1, "SINTERCARD $index $set [LIMIT $index]"),
    row(2, Check::Pick("SMEMBERS"), "SRANDMEMBER $set [$pickcount]"),
    row(3, Check::Pop("SMEMBERS"), "SPOP $set [$count]"),
    row(2, MEMBERS, "SSCAN $set 0 COUNT 1000000 [MATCH $pattern]"),
    exact(1, "SSCAN $set (abc|0 COUNT 0|0 COUNT x|0 MATCH)"),
];

const ZSET: &[Row] = &[
    exact(12, "ZADD $zset ($score $member)+"),
    exact(2, "ZADD $zset ($score $member)^"),
    exact(5, "ZADD $zset [(NX|XX|NX XX)] [(GT|LT|GT LT)] [CH] ($score $member)+"),
    row(3, Check::Float, "ZADD $zset [(NX|XX)] [(GT|LT)] INCR $score $member"),
    row(4, Check::Float, "ZINCRBY $zset $score $member"),
    exact(5, "ZREM $zset $member+"),
    exact(2, "ZCARD $zset"),
    row(4, Check::Float, "ZSCORE $zset $member"),
    row(2, Check::Float, "ZMSCORE $zset $member+"),
    exact(4, "(ZRANK|ZREVRANK) $zset $member"),
    newer(3, Check::Float, "(ZRANK|ZREVRANK) $zset $member (WITHSCORE|WITHSCORES)"),
    exact(3, "ZCOUNT $zset $zborder $zborder"),
    row(4, Check::Lexical, "ZLEXCOUNT $lex $lexborder $lexborder"),
    row(4, Check::Float, "ZRANGE $zset $index $index [REV] [WITHSCORES]"),
    row(4, Check::Float, "ZRANGE $zset $zborder $zborder BYSCORE [REV] [LIMIT $index $index] [WITHSCORES]"),
    row(4, Check::Lexical, "ZRANGE $lex $lexborder $lexborder BYLEX [REV] [LIMIT $index $index]"),
    row(2, Check::Float, "(ZRANGE|ZREVRANGE) $zset 0 -1 [WITHSCORES]"),
    row(2, Check::Float, "ZREVRANGE $zset $index $index [WITHSCORES]"),
    row(
        3,
        Check::Float,
        "(ZRANGEBYSCORE|ZREVRANGEBYSCORE) $zset $zborder $zborder [WITHSCORES] [LIMIT $index $index]",
    ),
    row(4, Check::Lexical, "(ZRANGEBYLEX|ZREVRANGEBYLEX) $lex $lexborder $lexborder [LIMIT $index $index]"),
    exact(1, "ZRANGE $zset $index $index (BYLEX|BYSCORE|LIMIT 1 2|BYLEX WITHSCORES|LIMIT 1|BADOPT)"),
    exact(4, "ZRANGESTORE $zset $zset ($index $index|$zborder $zborder BYSCORE) [REV] [LIMIT $index $index]"),
    row(2, Check::Lexical, "ZRANGESTORE $zset $lex $lexborder $lexborder BYLEX [REV] [LIMIT $index $index]"),
    exact(2, "ZREMRANGEBYRANK $zset $index $index"),
    exact(2, "ZREMRANGEBYSCORE $zset $zborder $zborder"),
    exact(4, "ZADD $lex (0 $member)+"),
    exact(1, "ZADD $lex (0 $member)^"),
    row(3, Check::Lexical, "ZREMRANGEBYLEX $lex $lexborder $lexborder"),
    row(4, Check::Float, "(ZPOPMIN|ZPOPMAX) $zset [$count]"),
    row(3, Check::Float, "ZMPOP #($zset+) (MIN|MAX) [COUNT $count]"),
    row(1, Check::Float, "(BZPOPMIN|BZPOPMAX) $zset+ 0.01"),
    row(1, Check::Float, "BZMPOP 0.01 #($zset+) (MIN|MAX) [COUNT $count]"),
    row(
        4,
        Check::Float,
        "(ZUNION|ZINTER) #($zorset+) [WEIGHTS $weights] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]",
    ),
    exact(5, "(ZUNIONSTORE|ZINTERSTORE) $zset #($zorset+) [WEIGHTS $weights] [AGGREGATE (SUM|MIN|MAX|AVG)]"),
    row(3, Check::Float, "ZDIFF #($zorset+) [WITHSCORES]"),
    exact(2, "ZDIFFSTORE $zset #($zorset+)"),
    exact(2, "ZINTERCARD #($zorset+) [LIMIT $count]"),
    row(3, Check::Pick("ZRANGE 0 -1 WITHSCORES"), "ZRANDMEMBER $zset [$pickcount [(WITHSCORES|WITHX)]]"),
    row(2, PAIRS, "ZSCAN $zset 0 COUNT 1000000 [MATCH $pattern]"),
    exact(1, "ZSCAN $zset (abc|0 COUNT 0|0 COUNT x|0 MATCH)"),
];

const STREAM: &[Row] = &[
    exact(16, "XADD $stream $addid ($member $value)+"),
    exact(
        3,
        "XADD $stream [NOMKSTREAM] [(MAXLEN|MINID) [(=|~)] ($count|$id) [LIMIT $count]] $addid ($member $value)+",
    ),
    exact(2, "XADD $stream $addid $member+"),
    row(1, Check::Repair, "XADD $stream [NOMKSTREAM] * ($member $value)+"),
    exact(2, "XLEN $stream"),
    exact(5, "(XRANGE|XREVRANGE) $stream $idborder $idborder [COUNT $count]"),
    exact(2, "(XRANGE $stream - +|XREVRANGE $stream + -)"),
    exact(5, "XDEL $stream $id+"),
    exact(3, "XTRIM $stream (MAXLEN|MINID) [(=|~)] ($count|$id) [LIMIT $count]"),
    exact(4, "XREAD [COUNT $count] STREAMS @($stream+) $readids"),
    exact(1, "XREAD [COUNT $count] BLOCK 10 STREAMS @($stream+) $readids"),
    exact(5, "XGROUP CREATE $stream $group $readid [MKSTREAM] [ENTRIESREAD $index]"),
    exact(3, "XGROUP SETID $stream $group $readid [ENTRIESREAD $index]"),
    exact(1, "XGROUP DESTROY $stream $group"),
    exact(2, "XGROUP (CREATECONSUMER|DELCONSUMER) $stream $group $consumer"),
    exact(1, "XGROUP NOSUCH $stream $group"),
    exact(10, "XREADGROUP GROUP $group $consumer [COUNT $count] [NOACK] STREAMS @($stream+) $groupids"),
    exact(1, "XREADGROUP GROUP $group $consumer BLOCK 10 STREAMS @($stream+) $groupids"),
    exact(6, "XACK $stream $group $id+"),
    row(3, Check::Pending, "XPENDING $stream $group"),
    row(
        4,
        Check::Pending,
        "XPENDING $stream $group [IDLE (0|100000000|abc)] $idborder $idborder $count [$consumer]",
    ),
    exact(
        5,
        "XCLAIM $stream $group $consumer (0|100000000|-1|abc) $id+ [(IDLE $index|TIME $index|RETRYCOUNT $index)] [FORCE] [JUSTID] [LASTID $id]",
    ),
    exact(4, "XAUTOCLAIM $stream $group $consumer (0|100000000|-1|abc) $idborder [COUNT $few] [JUSTID]"),
    newer(3, Check::Exact, "XSETID $stream $id [ENTRIESADDED $index] [MAXDELETEDID $id]"),
    row(3, Check::StreamInfo, "XINFO STREAM $stream [FULL [COUNT $index]]"),
    row(2, Check::StreamInfo, "XINFO GROUPS $stream"),
    row(2, Check::StreamInfo, "XINFO CONSUMERS $stream $group"),
    exact(1, "XINFO (NOSUCH|STREAM|GROUPS|CONSUMERS) $stream"),
];

const HLL: &[Row] = &[
    exact(8, "PFADD $hll $member*"),
    exact(2, "PFADD $hll $value^"),
    exact(4, "PFCOUNT $hll+"),
    exact(3, "PFMERGE $hll $hll*"),
    exact(3, "GET $hll"),
    exact(1, "PFDEBUG (GETREG|TODENSE) $hll"),
    exact(1, "STRLEN $hll"),
    exact(1, "SETRANGE $hll (0|3|4|5|8|15) (a|H|0)"),
];

const GEO: &[Row] = &[
    exact(10, "GEOADD $geo [(NX|XX|NX XX)] [CH] ($longitude $latitude $place)+"),
    exact(3, "GEODIST $geo $place $place [(m|km|mi|ft|x)]"),
    exact(2, "GEOHASH $geo $place*"),
    row(3, Check::Float, "GEOPOS $geo $place*"),
    row(
        6,
        Check::FloatUnordered,
        "GEOSEARCH $geo (FROMMEMBER $place|FROMLONLAT $longitude $latitude) (BYRADIUS $radius (m|km|mi|ft)|BYBOX $radius $radius (km|m)) [(ASC|DESC)] [WITHCOORD] [WITHDIST] [WITHHASH]",
    ),
    row(
        3,
        Check::FloatUnordered,
        "GEOSEARCH $geo (FROMMEMBER $place|FROMLONLAT $longitude $latitude) (BYRADIUS $radius (m|km)|BYBOX $radius $radius (km|m)) [(ASC|DESC)] COUNT $count [WITHDIST]",
    ),
    exact(
        3,
        "GEOSEARCHSTORE $geo $geo (FROMMEMBER $place|FROMLONLAT $longitude $latitude) (BYRADIUS $radius (m|km)|BYBOX $radius $radius (km|m)) [(ASC|DESC)] [COUNT $count] [STOREDIST]",
    ),
    row(
        2,
        Check::FloatUnordered,
        "(GEORADIUS|GEORADIUS_RO) $geo $longitude $latitude $radius (m|km) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT $count] [(ASC|DESC)]",
    ),
    row(
        2,
        Check::FloatUnordered,
        "(GEORADIUSBYMEMBER|GEORADIUSBYMEMBER_RO) $geo $place $radius (m|km) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT $count] [(ASC|DESC)]",
    ),
    exact(1, "GEORADIUS $geo $longitude $latitude $radius km [COUNT $count] (STORE|STOREDIST) $geo"),
    exact(1, "GEORADIUSBYMEMBER $geo $place $radius km [COUNT $count] (STORE|STOREDIST) $geo"),
    row(1, Check::Float, "ZRANGE $geo 0 -1 WITHSCORES"),
    exact(
        1,
        "GEOSEARCH $geo (FROMMEMBER $place|BYRADIUS $radius km|FROMMEMBER $place BYRADIUS $radius xx|FROMMEMBER $place BYRADIUS $radius km ANY|FROMMEMBER $place BYRADIUS $radius km COUNT 0)",
    ),
];

const SORT: &[Row] = &[
    exact(3, "(SORT|SORT_RO) $numbers [LIMIT $index $index] [(ASC|DESC)]"),
    row(3, Check::Collated, "(SORT|SORT_RO) $sortable ALPHA [LIMIT $index $index] [(ASC|DESC)]"),
    row(2, Check::UnlessSet, "SORT $list BY nosort [LIMIT $index $index] [GET #] [GET $getpattern]"),
    row(
        2,
        Check::UnlessSet,
        "SORT $zset BY nosort [LIMIT $index $index] [(ASC|DESC)] [GET #] [GET $getpattern]",
    ),
    exact(2, "SORT $numbers BY (w:*|o:*->f|nokey*) [GET #] [GET $getpattern] [(ASC|DESC)]"),
    // Nothing is stored by number: Redis may wrongly refuse to sort (see `explained.rs`).
    exact(2, "SORT $numbers BY nosort [GET #] [GET $getpattern] STORE $list"),
    exact(2, "SORT $sortable ALPHA [GET $getpattern] [LIMIT $index $index] STORE $list"),
    exact(1, "SORT $any (BADOPT|LIMIT 1|GET|ASC BY|STORE)"),
    exact(2, "SADD $numbers $intmember+"),
    exact(2, "RPUSH $numbers $score+"),
    exact(2, "SET w:$small $index"),
    exact(2, "HSET o:$small f $index"),
];
