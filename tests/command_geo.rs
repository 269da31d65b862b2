//! Geo commands against an in-process server: replies, errors, stored sets, propagation.
//! Numbers are those that Redis 7.2 answers.

mod common;

use common::InProcess;

fn sicily() -> InProcess {
    let mut t = InProcess::new();
    let places = "13.361389 38.115556 Palermo 15.087269 37.502669 Catania";
    assert_eq!(t.call(&format!("GEOADD Sicily {places}")), ":2");
    t
}

#[test]
fn adding() {
    let mut t = sicily();
    t.transcript(
        r#"
        ZSCORE Sicily Palermo => $16 3479099956230698
        TYPE Sicily => +zset
        GEOADD Sicily 13.361389 38.115556 Palermo => :0
        GEOADD Sicily CH 13.361389 38.2 Palermo => :1
        GEOADD Sicily NX CH 13.361389 38.115556 Palermo 10 10 New => :1
        GEOADD Sicily XX CH 13.361389 38.115556 Palermo 10 10 Newer => :1
        ZCARD Sicily => :3
        GEOADD Sicily NX XX 1 1 a => -ERR syntax error
        GEOADD Sicily 1 1 a 2 => -ERR syntax error
        GEOADD Sicily CH CH CH => -ERR syntax error
        GEOADD Sicily x 1 a => -ERR value is not a valid float
        GEOADD Sicily 200 10 a => -ERR invalid longitude,latitude pair 200.000000,10.000000
        GEOADD Sicily 1 1 b 0 85.06 a => -ERR invalid longitude,latitude pair 0.000000,85.060000
        ZSCORE Sicily b => $-1
        SET s 1 => +OK
        GEOADD s 1 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEOADD nothing XX 1 1 a => :0
        EXISTS nothing => :0
        "#,
    );
    t.record_propagation();
    t.call("GEOADD g CH 13.361389 38.115556 p");
    t.call("GEOADD g CH 13.361389 38.115556 p");
    assert_eq!(t.propagated(), ["SELECT 0", "zadd g CH 3479099956230698 p"]);
}

#[test]
fn reading() {
    let mut t = sicily();
    t.transcript(
        r#"
        GEODIST Sicily Palermo Catania => $11 166274.1516
        GEODIST Sicily Palermo Catania KM => $8 166.2742
        GEODIST Sicily Palermo Catania mi => $8 103.3182
        GEODIST Sicily Palermo Catania ft => $11 545518.8700
        GEODIST Sicily Palermo Palermo => $6 0.0000
        GEODIST Sicily Palermo Nowhere => $-1
        GEODIST nothing Palermo Catania => $-1
        GEODIST Sicily Palermo Catania leagues => -ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST Sicily Palermo Catania m m => -ERR syntax error
        GEOHASH Sicily Palermo Nowhere Catania => *3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0
        GEOHASH nothing a => *1 $-1
        GEOHASH Sicily => *0
        GEOPOS Sicily Palermo Nowhere => *2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1
        GEOPOS nothing a => *1 *-1
        GEOPOS Sicily => *0
        "#,
    );
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("GEOPOS Sicily Palermo x"), "*2 *2 ,13.36138933897018433 ,38.11555639549629859 _");
    assert_eq!(t.call("GEODIST Sicily Palermo Catania"), "$11 166274.1516");
}

#[test]
fn searching() {
    let mut t = sicily();
    t.transcript(
        r#"
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC => *2 $7 Catania $7 Palermo
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km DESC => *2 $7 Palermo $7 Catania
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 => *1 $7 Catania
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 DESC => *1 $7 Palermo
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC COUNT 9 ANY => *2 $7 Catania $7 Palermo
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 100 400 km => *1 $7 Catania
        GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 1 m WITHDIST WITHHASH WITHCOORD => *1 *4 $7 Palermo $6 0.0000 :3479099956230698 *2 $20 13.36138933897018433 $20 38.11555639549629859
        GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 200 km WITHDIST ASC => *2 *2 $7 Palermo $6 0.0000 *2 $7 Catania $8 166.2742
        GEOSEARCH Sicily FROMLONLAT 0 0 BYRADIUS 1 m => *0
        GEOSEARCH nothing FROMMEMBER x BYRADIUS 1 m => *0
        GEORADIUS Sicily 15 37 200 km ASC => *2 $7 Catania $7 Palermo
        GEORADIUS_RO Sicily 15 37 200 km WITHDIST ASC => *2 *2 $7 Catania $7 56.4413 *2 $7 Palermo $8 190.4424
        GEORADIUSBYMEMBER Sicily Palermo 200 km COUNT 1 => *1 $7 Palermo
        GEORADIUSBYMEMBER_RO Sicily Palermo 100 km => *1 $7 Palermo
        GEORADIUSBYMEMBER nothing x 1 km => *0
        "#,
    );
}

#[test]
fn what_is_refused() {
    let mut t = sicily();
    t.transcript(
        r#"
        SET s 1 => +OK
        GEOSEARCH s FROMLONLAT 15 37 BYRADIUS x km => -WRONGTYPE Operation against a key holding the wrong kind of value
        GEOSEARCH Sicily FROMMEMBER Nowhere BYRADIUS 1 km => -ERR could not decode requested zset member
        GEORADIUSBYMEMBER Sicily Nowhere 1 km => -ERR could not decode requested zset member
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS x km => -ERR need numeric radius
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS -1 km => -ERR radius cannot be negative
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX x 1 km => -ERR need numeric width
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 x km => -ERR need numeric height
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 -1 km => -ERR height or width cannot be negative
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km COUNT 0 => -ERR COUNT must be > 0
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km COUNT x => -ERR value is not an integer or out of range
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km ANY => -ERR the ANY argument requires COUNT argument
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km STORE x => -ERR syntax error
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km STOREDIST => -ERR syntax error
        GEOSEARCH Sicily FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 1 km => -ERR syntax error
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km BYBOX 1 1 km => -ERR syntax error
        GEOSEARCH Sicily BYRADIUS 1 km ASC DESC => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
        geosearchstore d Sicily FROMLONLAT 15 37 ASC DESC => -ERR exactly one of BYRADIUS and BYBOX can be specified for geosearchstore
        GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 1 km WITHDIST => -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS Sicily 15 37 1 km STORE d WITHHASH => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS_RO Sicily 15 37 1 km STORE d => -ERR syntax error
        GEORADIUS Sicily 15 95 1 km => -ERR invalid longitude,latitude pair 15.000000,95.000000
        GEORADIUS nothing 15 95 1 km => -ERR invalid longitude,latitude pair 15.000000,95.000000
        GEORADIUS Sicily 15 37 1 => -ERR wrong number of arguments for 'georadius' command
        "#,
    );
}

#[test]
fn storing() {
    let mut t = sicily();
    t.transcript(
        r#"
        GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 200 km => :2
        ZRANGE d 0 -1 WITHSCORES => *4 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909
        OBJECT ENCODING d => $8 listpack
        GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 STOREDIST => :1
        ZRANGE d 0 -1 => *1 $7 Catania
        GEORADIUS Sicily 15 37 200 km STOREDIST d ASC => :2
        ZRANGE d 0 -1 => *2 $7 Catania $7 Palermo
        GEORADIUSBYMEMBER Sicily Palermo 1 m STORE d => :1
        ZCARD d => :1
        GEOSEARCHSTORE d Sicily FROMLONLAT 1 1 BYRADIUS 1 m => :0
        EXISTS d => :0
        SET d x => +OK
        GEOSEARCHSTORE d nothing FROMMEMBER x BYRADIUS 1 m => :0
        EXISTS d => :0
        GEORADIUS Sicily 15 37 200 km STORE Sicily COUNT 1 => :1
        ZRANGE Sicily 0 -1 => *1 $7 Catania
        "#,
    );
    let dirty = t.dirty();
    t.call("GEOADD many 1 1 a 1 1.1 b 1 1.2 c");
    t.call("GEORADIUS many 1 1 1000 km STORE copy");
    assert_eq!(t.dirty() - dirty, 6);
}

/// Members in 9 cells and outside, small and big sets: the same as without any cells.
#[test]
fn a_search_finds_what_lies_in_reach() {
    for count in [100usize, 3000] {
        let mut t = InProcess::new();
        let place = |number: usize| {
            let turn = number as f64 * 2.399_963;
            let reach = (number as f64 / count as f64).sqrt() * 3.0;
            (10.0 + reach * turn.cos() / 0.7, 45.0 + reach * turn.sin())
        };
        for number in 0..count {
            let (longitude, latitude) = place(number);
            t.call(&format!("GEOADD g {longitude} {latitude} {number}"));
        }
        for radius_km in [1, 10, 50, 120, 300, 1000] {
            let found = t.call(&format!("GEOSEARCH g FROMLONLAT 10 45 BYRADIUS {radius_km} km ASC"));
            t.call("GEOADD centre 10 45 centre");
            let mut near = 0;
            for number in 0..count {
                let score = t.call(&format!("ZSCORE g {number}"));
                let score = score.split(' ').nth(1).expect("the member is there");
                t.call(&format!("ZADD centre {score} other"));
                let distance = t.call("GEODIST centre centre other km");
                let distance: f64 =
                    distance.split(' ').nth(1).expect("both are there").parse().expect("a number");
                near += usize::from(distance <= f64::from(radius_km));
            }
            assert_eq!(found.split(' ').next(), Some(&*format!("*{near}")), "{radius_km} km of {count}");
        }
    }
}
