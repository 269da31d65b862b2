//! The arguments of the searches, in all their forms.

use super::{position, unit_m};
use crate::base::numbers;
use crate::command::arg;
use crate::resp::Args;
use crate::server::error::{self, ReplyError};
use crate::value::ZsetRef;
use crate::value::geo::{Outline, Position, Shape, Sorting};

/// Which command is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS key longitude latitude radius unit ...
    Radius { may_store: bool },
    /// GEORADIUSBYMEMBER key member radius unit ...
    RadiusByMember { may_store: bool },
    /// GEOSEARCH key ...
    Search,
    /// GEOSEARCHSTORE destination key ...
    SearchStore,
}

impl Form {
    /// Where the source key stands.
    pub fn source_index(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    /// Where the options begin.
    fn options_index(self) -> usize {
        match self {
            Form::Radius { .. } => 6,
            Form::RadiusByMember { .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// Whether STORE key and STOREDIST key are options.
    fn may_store(self) -> bool {
        matches!(self, Form::Radius { may_store: true } | Form::RadiusByMember { may_store: true })
    }
}

/// A search as it was asked for.
pub(super) struct Request<'a> {
    centre: Option<Position>,
    from_member: bool,
    from_position: bool,
    outline: Option<Outline>,
    /// Metres of the unit.
    pub unit_m: f64,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_position: bool,
    pub sorting: Sorting,
    /// 0: all.
    pub count: usize,
    pub any: bool,
    /// Store the result here.
    pub target: Option<&'a [u8]>,
    /// Distances, not places, become the stored scores.
    pub store_distance: bool,
}

/// Reads the arguments; `zset` is what the source key holds, which FROMMEMBER looks into.
///
/// # Errors
/// In the order in which Redis finds them.
pub(super) fn parse<'a>(
    form: Form,
    args: Args<'a>,
    zset: Option<ZsetRef<'_>>,
) -> Result<Request<'a>, ReplyError> {
    let mut request = Request {
        centre: None,
        from_member: false,
        from_position: false,
        outline: None,
        unit_m: 1.0,
        with_distance: false,
        with_hash: false,
        with_position: false,
        sorting: Sorting::None,
        count: 0,
        any: false,
        target: (form == Form::SearchStore).then(|| args.at(1)),
        store_distance: false,
    };
    match form {
        Form::Radius { .. } => {
            request.centre = Some(position(args.at(2), args.at(3))?);
            request.set_circle(args.at(4), args.at(5))?;
        }
        Form::RadiusByMember { .. } if zset.is_some() => {
            request.set_member(zset, args.at(2))?;
            request.set_circle(args.at(3), args.at(4))?;
        }
        _ => {}
    }
    let mut rest = args.tail(form.options_index());
    while !rest.is_empty() {
        let taken = request.take_option(form, rest, zset)?;
        rest = rest.tail(taken);
    }
    request.check(form, args.at(0))?;
    Ok(request)
}

impl<'a> Request<'a> {
    /// What is searched, once the source key is known to exist.
    pub fn shape(&self) -> Option<Shape> {
        Some(Shape { centre: self.centre?, outline: self.outline?, unit_m: self.unit_m })
    }

    /// Reads one option. Returns the number of its arguments.
    fn take_option(
        &mut self,
        form: Form,
        rest: Args<'a>,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<usize, ReplyError> {
        let word = rest.at(0);
        if let Some(taken) = self.take_common(form, rest)? {
            return Ok(taken);
        }
        let (has_circle, has_box) = match self.outline {
            Some(Outline::Circle { .. }) => (true, false),
            Some(Outline::Rectangle { .. }) => (false, true),
            None => (false, false),
        };
        match (word, rest.len() - 1) {
            _ if !form.is_search() => Err(error::SYNTAX),
            (word, 1..) if arg::is(word, "frommember") && !self.from_position => {
                self.from_member = true;
                if zset.is_some() {
                    self.set_member(zset, rest.at(1))?;
                }
                Ok(2)
            }
            (word, 2..) if arg::is(word, "fromlonlat") && !self.from_member => {
                self.centre = Some(position(rest.at(1), rest.at(2))?);
                self.from_position = true;
                Ok(3)
            }
            (word, 2..) if arg::is(word, "byradius") && !has_box => {
                self.set_circle(rest.at(1), rest.at(2))?;
                Ok(3)
            }
            (word, 3..) if arg::is(word, "bybox") && !has_circle => {
                self.set_box(rest.at(1), rest.at(2), rest.at(3))?;
                Ok(4)
            }
            _ => Err(error::SYNTAX),
        }
    }

    /// Options of (nearly) all forms; `None`: it is none of them.
    fn take_common(&mut self, form: Form, rest: Args<'a>) -> Result<Option<usize>, ReplyError> {
        match (rest.at(0), rest.get(1)) {
            (word, _) if arg::is(word, "withdist") => self.with_distance = true,
            (word, _) if arg::is(word, "withhash") => self.with_hash = true,
            (word, _) if arg::is(word, "withcoord") => self.with_position = true,
            (word, _) if arg::is(word, "any") => self.any = true,
            (word, _) if arg::is(word, "asc") => self.sorting = Sorting::Ascending,
            (word, _) if arg::is(word, "desc") => self.sorting = Sorting::Descending,
            (word, _) if arg::is(word, "storedist") && form == Form::SearchStore => {
                self.store_distance = true;
            }
            (word, Some(count)) if arg::is(word, "count") => {
                let count = arg::integer(count)?;
                if count <= 0 {
                    return Err(ReplyError::err("COUNT must be > 0"));
                }
                self.count = count as usize;
                return Ok(Some(2));
            }
            (word, Some(key))
                if form.may_store() && (arg::is(word, "store") || arg::is(word, "storedist")) =>
            {
                self.target = Some(key);
                self.store_distance = arg::is(word, "storedist");
                return Ok(Some(2));
            }
            _ => return Ok(None),
        }
        Ok(Some(1))
    }

    fn set_member(&mut self, zset: Option<ZsetRef<'_>>, member: &[u8]) -> Result<(), ReplyError> {
        let score = zset.and_then(|zset| zset.score(member));
        let score = score.ok_or_else(|| ReplyError::err("could not decode requested zset member"))?;
        self.centre = Some(Position::of_score(score));
        Ok(())
    }

    fn set_circle(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), ReplyError> {
        let radius = numbers::parse_f64(radius).ok_or_else(|| ReplyError::err("need numeric radius"))?;
        if radius < 0.0 {
            return Err(ReplyError::err("radius cannot be negative"));
        }
        self.unit_m = unit_m(unit)?;
        self.outline = Some(Outline::Circle { radius });
        Ok(())
    }

    fn set_box(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Result<(), ReplyError> {
        let width = numbers::parse_f64(width).ok_or_else(|| ReplyError::err("need numeric width"))?;
        let height = numbers::parse_f64(height).ok_or_else(|| ReplyError::err("need numeric height"))?;
        if height < 0.0 || width < 0.0 {
            return Err(ReplyError::err("height or width cannot be negative"));
        }
        self.unit_m = unit_m(unit)?;
        self.outline = Some(Outline::Rectangle { width, height });
        Ok(())
    }

    /// What does not go together.
    fn check(&mut self, form: Form, name: &[u8]) -> Result<(), ReplyError> {
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_position) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(ReplyError::err(text));
        }
        let exactly_one = |of: &str| ReplyError::err([of.as_bytes(), name].concat());
        if form.is_search() && !(self.from_member || self.from_position) {
            return Err(exactly_one("exactly one of FROMMEMBER or FROMLONLAT can be specified for "));
        }
        if form.is_search() && self.outline.is_none() {
            return Err(exactly_one("exactly one of BYRADIUS and BYBOX can be specified for "));
        }
        if self.any && self.count == 0 {
            return Err(ReplyError::err("the ANY argument requires COUNT argument"));
        }
        // The first ones mean little without an order.
        if self.count > 0 && self.sorting == Sorting::None && !self.any {
            self.sorting = Sorting::Ascending;
        }
        Ok(())
    }
}
