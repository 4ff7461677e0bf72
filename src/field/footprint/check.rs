//! Whether rings make a polygon: closed, with an area, and nowhere in contact with themselves or one another, so that inside
//! and outside are what everybody takes them for.

use super::{Fault, Rings};
use geo::line_intersection::line_intersection;
use geo::orient::{Direction, Orient};
use geo::{Area, BoundingRect, Contains, Coord, Line, LineIntersection, LineString, Polygon};

/// Of pairs of sides whose boxes meet: as many as a million would not have in a map of anything.
const MOST_PAIRS: usize = 20_000_000;

/// The polygon of these rings, the outer one first, which then runs against the clock and the holes with it.
pub fn polygon(rings: Rings) -> Result<Polygon<f64>, Fault> {
    let mut rings = rings.into_iter().map(ring).collect::<Result<Vec<_>, _>>()?.into_iter();
    let outer = rings.next().ok_or(Fault::Ring)?;
    let holes: Vec<_> = rings.collect();
    if outer.bounding_rect().is_none_or(|bounds| bounds.width() > 180.0) {
        return Err(Fault::Wide);
    }
    no_contact(&outer, &holes)?;
    all_within(&outer, &holes)?;
    Ok(Polygon::new(outer, holes).orient(Direction::Default))
}

/// Without positions that repeat the one before.
fn ring(mut positions: Vec<Coord<f64>>) -> Result<LineString<f64>, Fault> {
    if positions.len() < 4 || positions.first() != positions.last() {
        return Err(Fault::Ring);
    }
    positions.dedup();
    let ring = LineString(positions);
    let area = Polygon::new(ring.clone(), Vec::new()).unsigned_area();
    if ring.0.len() >= 4 && area > 0.0 { Ok(ring) } else { Err(Fault::Ring) }
}

/// A side, and the sides before and after it in its ring.
struct Side {
    line: Line<f64>,
    number: usize,
    next: usize,
}

fn no_contact(outer: &LineString<f64>, holes: &[LineString<f64>]) -> Result<(), Fault> {
    let mut sides = Vec::new();
    for ring in std::iter::once(outer).chain(holes) {
        let (first, count) = (sides.len(), ring.0.len() - 1);
        for (i, line) in ring.lines().enumerate() {
            sides.push(Side { line, number: first + i, next: first + (i + 1) % count });
        }
    }
    let left = |side: &Side| side.line.start.x.min(side.line.end.x);
    let right = |side: &Side| side.line.start.x.max(side.line.end.x);
    sides.sort_by(|a, b| left(a).total_cmp(&left(b)));
    let mut pairs = 0;
    for (i, side) in sides.iter().enumerate() {
        let reach = right(side);
        let (low, high) = (side.line.start.y.min(side.line.end.y), side.line.start.y.max(side.line.end.y));
        for other in sides[i + 1..].iter().take_while(|other| left(other) <= reach) {
            pairs += 1;
            if pairs > MOST_PAIRS {
                return Err(Fault::Intricate);
            }
            let apart =
                other.line.start.y.min(other.line.end.y) > high || other.line.start.y.max(other.line.end.y) < low;
            if !apart && meet(side, other) {
                return Err(Fault::Crossing);
            }
        }
    }
    Ok(())
}

/// Whether two sides meet elsewhere than where one ends and the next begins.
fn meet(a: &Side, b: &Side) -> bool {
    let joint = if a.next == b.number {
        Some(a.line.end)
    } else if b.next == a.number {
        Some(b.line.end)
    } else {
        None
    };
    match (line_intersection(a.line, b.line), joint) {
        (None, _) => false,
        (Some(LineIntersection::SinglePoint { intersection, .. }), Some(joint)) => intersection != joint,
        _ => true,
    }
}

/// Holes are inside of the outer ring, and none in another. They touch nothing, so one of their positions tells.
fn all_within(outer: &LineString<f64>, holes: &[LineString<f64>]) -> Result<(), Fault> {
    if holes.is_empty() {
        return Ok(());
    }
    let filled = |ring: &LineString<f64>| Polygon::new(ring.clone(), Vec::new());
    let whole = filled(outer);
    let filled: Vec<_> = holes.iter().map(filled).collect();
    let bounds: Vec<_> = holes.iter().map(BoundingRect::bounding_rect).collect();
    let mut looked = 0;
    for (i, hole) in holes.iter().enumerate() {
        let place = hole.0[0];
        looked += outer.0.len();
        let nested = |(j, other): (usize, &Polygon<f64>)| {
            i != j && bounds[j].is_some_and(|bounds| bounds.contains(&place)) && {
                looked += other.exterior().0.len();
                other.contains(&place)
            }
        };
        if !whole.contains(&place) || filled.iter().enumerate().any(nested) {
            return Err(Fault::Hole);
        }
        if looked > MOST_PAIRS {
            return Err(Fault::Intricate);
        }
    }
    Ok(())
}
