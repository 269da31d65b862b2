//! The options of SET and GETEX, and the expiry times that commands are given.

use crate::command::arg;
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{self, ReplyError};

/// How an expiry argument is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryUnit {
    /// `EX`: seconds from now.
    Seconds,
    /// `PX`: milliseconds from now.
    Millis,
    /// `EXAT`: Unix seconds.
    UnixSeconds,
    /// `PXAT`: Unix milliseconds.
    UnixMillis,
}

impl ExpiryUnit {
    /// The unit an option names.
    pub fn of_option(word: &[u8]) -> Option<ExpiryUnit> {
        const OPTIONS: [(&str, ExpiryUnit); 4] = [
            ("ex", ExpiryUnit::Seconds),
            ("px", ExpiryUnit::Millis),
            ("exat", ExpiryUnit::UnixSeconds),
            ("pxat", ExpiryUnit::UnixMillis),
        ];
        OPTIONS.into_iter().find(|(name, _)| arg::is(word, name)).map(|(_, unit)| unit)
    }

    pub fn is_absolute(self) -> bool {
        matches!(self, ExpiryUnit::UnixSeconds | ExpiryUnit::UnixMillis)
    }
}

/// What becomes of the key's expiry; at most one of these may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime<'a> {
    /// Nothing was asked for.
    Default,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    Expire(ExpiryUnit, &'a [u8]),
}

/// `NX` or `XX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    IfMissing,
    IfPresent,
}

/// Options of SET.
#[derive(Clone, Copy, Debug)]
pub struct SetOptions<'a> {
    pub condition: Option<Condition>,
    pub lifetime: Lifetime<'a>,
    /// `GET`
    pub get: bool,
}

impl<'a> SetOptions<'a> {
    pub const NONE: SetOptions<'static> =
        SetOptions { condition: None, lifetime: Lifetime::Default, get: false };

    /// Reads the options behind `SET key value`.
    pub fn parse(mut rest: Args<'a>) -> Result<Self, ReplyError> {
        let mut options = SetOptions { condition: None, lifetime: Lifetime::Default, get: false };
        while let Some(word) = rest.get(0) {
            let mut taken = 1;
            if arg::is(word, "get") {
                options.get = true;
            } else if arg::is(word, "nx") {
                options.set_condition(Condition::IfMissing)?;
            } else if arg::is(word, "xx") {
                options.set_condition(Condition::IfPresent)?;
            } else if arg::is(word, "keepttl") {
                set_lifetime(&mut options.lifetime, Lifetime::Keep)?;
            } else {
                taken = take_expiry(&mut options.lifetime, rest)?;
            }
            rest = rest.tail(taken);
        }
        Ok(options)
    }

    fn set_condition(&mut self, condition: Condition) -> Result<(), ReplyError> {
        if self.condition.is_some_and(|earlier| earlier != condition) {
            return Err(error::SYNTAX);
        }
        self.condition = Some(condition);
        Ok(())
    }
}

/// Reads the options behind `GETEX key`.
pub fn parse_getex(mut rest: Args<'_>) -> Result<Lifetime<'_>, ReplyError> {
    let mut lifetime = Lifetime::Default;
    while let Some(word) = rest.get(0) {
        let mut taken = 1;
        if arg::is(word, "persist") {
            set_lifetime(&mut lifetime, Lifetime::Persist)?;
        } else {
            taken = take_expiry(&mut lifetime, rest)?;
        }
        rest = rest.tail(taken);
    }
    Ok(lifetime)
}

/// Takes an expiry option with its value; returns how many arguments that were.
fn take_expiry<'a>(lifetime: &mut Lifetime<'a>, rest: Args<'a>) -> Result<usize, ReplyError> {
    let unit = ExpiryUnit::of_option(rest.at(0)).ok_or(error::SYNTAX)?;
    let value = rest.get(1).ok_or(error::SYNTAX)?;
    set_lifetime(lifetime, Lifetime::Expire(unit, value))?;
    Ok(2)
}

/// The same option may come again (the last one counts), another one may not.
fn set_lifetime<'a>(lifetime: &mut Lifetime<'a>, wanted: Lifetime<'a>) -> Result<(), ReplyError> {
    let compatible = match (*lifetime, wanted) {
        (Lifetime::Default, _) => true,
        (Lifetime::Expire(earlier, _), Lifetime::Expire(unit, _)) => earlier == unit,
        (earlier, wanted) => earlier == wanted,
    };
    if !compatible {
        return Err(error::SYNTAX);
    }
    *lifetime = wanted;
    Ok(())
}

/// The Unix time in ms that an expiry option of SET or GETEX means. It must be positive.
pub fn expiry_ms(ctx: &Ctx<'_>, unit: ExpiryUnit, value: &[u8]) -> Result<i64, ReplyError> {
    let value = arg::integer(value)?;
    let base_ms = if unit.is_absolute() { 0 } else { ctx.now_ms() };
    let scale = match unit {
        ExpiryUnit::Seconds | ExpiryUnit::UnixSeconds => 1000,
        ExpiryUnit::Millis | ExpiryUnit::UnixMillis => 1,
    };
    let at = value.checked_mul(scale).and_then(|value| value.checked_add(base_ms));
    at.filter(|_| value > 0).ok_or_else(|| error::invalid_expire(&ctx.command_name()))
}

#[cfg(test)]
mod tests {
    use super::{Condition, ExpiryUnit, Lifetime, SetOptions, parse_getex};
    use crate::resp::OwnedArgs;

    fn owned(words: &[&str]) -> OwnedArgs {
        words.iter().map(|word| word.as_bytes()).collect()
    }

    #[test]
    fn options_of_set() {
        let args = owned(&["nx", "EX", "5", "get", "NX", "ex", "7"]);
        let options = SetOptions::parse(args.as_args()).expect("these go together");
        assert_eq!(options.condition, Some(Condition::IfMissing));
        assert!(options.get);
        assert_eq!(options.lifetime, Lifetime::Expire(ExpiryUnit::Seconds, b"7"));
        for bad in [
            &["nx", "xx"][..],
            &["ex"],
            &["ex", "1", "px", "1"],
            &["keepttl", "ex", "1"],
            &["pxat", "1", "keepttl"],
            &["persist"],
            &["what"],
        ] {
            assert!(SetOptions::parse(owned(bad).as_args()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_of_getex() {
        assert_eq!(parse_getex(owned(&["persist", "PERSIST"]).as_args()), Ok(Lifetime::Persist));
        for bad in [&["persist", "ex", "1"][..], &["keepttl"], &["nx"], &["get"], &["exat", "1", "pxat", "1"]]
        {
            assert!(parse_getex(owned(bad).as_args()).is_err(), "{bad:?}");
        }
    }
}
